//! What an evil leader proposes, to whom.

use super::claims::{Lied, at, lied};
use super::{Lie, Table};
use crate::cluster::{Arrival, Cluster};
use crate::member::set;
use crate::node::{Held, SessionKey};
use crate::packet::{Body, No, Proposal};
use crate::persons::DESK;
use std::collections::BTreeSet;
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::{Freeze, Unfreeze, UnfreezeCertificate};
use tally_domain::ports::store::{AttemptState, Step};
use tally_domain::vote::Abandonment;
use tally_domain::{Attempt, Digest, FreezeId, NodeName, PartyIndex, Scope, SignerSet};
use tally_signer::admit;
use tally_signer::claims::claim;
use tally_signer::freeze::Freezes;
use tally_signer::session::Trouble;
use tally_signer::sign_session::Start;

/// What it proposes, before it changes it for one or the other.
struct Plan {
    session: SessionKey,
    envelope: Envelope,
    peers: Vec<NodeName>,
    held: Held,
    attempt: Attempt,
    signers: SignerSet,
    promises: Vec<Statement>,
    lied: Option<Lied>,
    said: Vec<Envelope>,
}

impl Plan {
    /// A signer that is not asked to sign.
    fn outside(&self, at: &NodeName) -> &NodeName {
        let signers = &self.held.record.participants;
        signers.iter().find(|p| *p != at && !self.peers.contains(p)).expect("n is above t")
    }
}

impl Cluster {
    /// A client has called the evil leader.
    pub(crate) fn play(&mut self, arrival: &Arrival) {
        let at = &arrival.at;
        let opened = admit::open(&self.world.bundle, arrival.envelope.clone()).expect("clients are honest");
        self.tell_tales(at, &opened.intent().key.clone());
        let held = self.live(at).key(&opened.intent().key).expect("the leader has the key");
        let others: Vec<NodeName> = held.record.participants.iter().filter(|p| *p != at).cloned().collect();
        let few = usize::from(held.record.threshold.t()) - 1;
        let (first, last) = (others[..few].to_vec(), others[others.len() - few..].to_vec());
        let own = arrival.envelope.clone();
        let sessions = match self.how() {
            Lie::TwoSets => vec![(first, own.clone()), (last, own)],
            Lie::TwoSessions => vec![(first.clone(), own.clone()), (first, own)],
            Lie::IntentTwins => vec![(first, own), (last, self.evil().spare[1].clone())],
            _ => vec![(first, own)],
        };
        for (nth, (peers, envelope)) in sessions.into_iter().enumerate() {
            self.lay(arrival, nth, peers, envelope, held.clone());
        }
        self.evil().free += arrival_units(&arrival.envelope) * 2;
    }

    /// Begins one session: proposes it.
    fn lay(&mut self, arrival: &Arrival, nth: usize, peers: Vec<NodeName>, envelope: Envelope, held: Held) {
        let (at, lie, now) = (&arrival.at, self.how(), self.clock(&arrival.at));
        let bundle = self.world.bundle.clone();
        let mut opened = admit::open(&bundle, envelope.clone()).expect("clients are honest");
        if opened.intent().client.as_str() == DESK {
            opened = opened.with_said(self.evil().said.clone());
        }
        // A disk that it will need when it behaves again.
        let taken = Step { writes: vec![self.claim(&opened)], leaves: Vec::new() };
        let _ = self.nodes.get_mut(at).expect("a node").journal.commit(taken);
        let key = (&*held.record, held.state);
        let subject = admit::subject(opened.clone(), Some(key)).expect("an honest intent");
        let charges = self.world.charges(&subject).expect("room on an empty line");
        let evil = self.evil.as_ref().expect("an evil leader that plays");
        let lied = charges.first().map(|charge| lied(lie, charge, evil.free, &evil.seen, now, nth));
        let charged = lied.as_ref().map(|l| l.charges.clone()).unwrap_or_default();
        let permit = admit::admit_sign(opened, Some(key), &Freezes::default(), &bundle, now, |_| Ok(charged));
        let claims = lied.as_ref().and_then(|l| l.claims.clone());
        let issued_at = claims.as_ref().map_or(now, tally_domain::Claims::issued_at);
        let claimed = claim(permit.expect("permitted"), claims, issued_at).expect("it believes itself");
        let said = claimed.permit().approvals().to_vec();
        let (members, signers) = set(&held.record, at, &peers);
        let (attempt, promises) = self.attempt(at, &envelope, &peers);
        let session = self.fresh_id();
        let boot = self.live(at).boot.clone();
        let share = held.share.clone().expect("a signer");
        let start = Start {
            claimed,
            share,
            boot,
            bundle,
            members: members.clone(),
            signers: signers.clone(),
            attempt,
            leader: at.clone(),
        };
        let table = Table {
            arrival: arrival.clone(),
            start: Some(start),
            machine: None,
            members,
            waiting: peers.iter().cloned().collect(),
            early: Vec::new(),
            questions: 0,
            held_back: Vec::new(),
            votes: Vec::new(),
            strange_votes: Vec::new(),
        };
        self.evil().tables.insert(session, table);
        let plan = Plan { session, envelope, peers, held, attempt, signers, promises, lied, said };
        self.propose_lies(at, &plan);
    }

    fn propose_lies(&mut self, at: &NodeName, plan: &Plan) {
        let mut out = Vec::new();
        for (i, peer) in plan.peers.iter().enumerate() {
            let rpc = self.fresh_id();
            self.evil().rpcs.insert(rpc, plan.session);
            let proposal = Arc::new(self.proposal(at, peer, i, plan));
            out.push((peer.clone(), Body::Propose { rpc, proposal }));
        }
        let outside = plan.outside(at).clone();
        let first: Vec<_> = match self.how() {
            Lie::VoteOfMember => plan.peers.iter().map(|peer| (peer, 0)).collect(),
            Lie::IntentToVoter | Lie::BundleInVote | Lie::VoteForOtherSigners | Lie::VoteForNoClaims => {
                vec![(&outside, 0)]
            }
            Lie::ClaimsDifferForVoters => vec![(&outside, 1)],
            Lie::ClaimsInFourPlaces => (0..4).map(|nth| (&outside, nth)).collect(),
            _ => Vec::new(),
        };
        if !first.is_empty() {
            let table = self.evil().tables.get_mut(&plan.session).expect("a table that is laid");
            (table.questions, table.held_back) = (first.len(), out);
            first.into_iter().for_each(|(voter, nth)| self.ask_before(plan.session, voter, nth));
            return;
        }
        out.into_iter().for_each(|(to, body)| self.post(at, &to, body));
    }

    /// The proposal as this member gets it.
    fn proposal(&mut self, at: &NodeName, to: &NodeName, i: usize, plan: &Plan) -> Proposal {
        let lie = self.how();
        let mut proposal = Proposal {
            session: plan.session,
            envelope: plan.envelope.clone(),
            attempt: plan.attempt,
            signers: plan.signers.clone(),
            abandonments: plan.promises.clone(),
            claims: plan.lied.as_ref().map(|l| l.wire.clone()).unwrap_or_default(),
            bundle: self.world.bundle.digest(),
            said: plan.said.clone(),
        };
        let record = plan.held.record.clone();
        let signers = |names: &[&NodeName]| {
            let parties: Vec<PartyIndex> = names.iter().map(|n| record.party(n).expect("a signer")).collect();
            SignerSet::new(record.threshold, &parties).expect("as many as are needed")
        };
        let outside = plan.outside(at);
        let all_but = |left_out: &NodeName| {
            let stay = plan.peers.iter().chain([at, outside]).filter(|n| *n != left_out);
            signers(&stay.collect::<Vec<_>>())
        };
        match lie {
            Lie::IntentToMember if i == 0 => proposal.envelope = self.evil().spare[0].clone(),
            Lie::IntentForged => proposal.envelope.signatures[0].signature[0] ^= 1,
            Lie::SignersWithoutLeader => proposal.signers = all_but(at),
            Lie::SignersWithoutMember => proposal.signers = all_but(to),
            Lie::SignersDiffer if i == 1 => proposal.signers = all_but(&plan.peers[0]),
            Lie::SaidToMembers => proposal.said = self.evil().shown.clone(),
            Lie::BundleStale => proposal.bundle = Digest::of(b"an older one"),
            Lie::ClaimsDifferForMembers if i == 1 => {
                let lied = plan.lied.as_ref().expect("a limit");
                let now = self.clock(at);
                let elsewhere = lied.claims.as_ref().expect("claims").lines()[0].intervals()[0].to();
                proposal.claims = at_place(&lied.charges[0], elsewhere, now);
            }
            _ => {}
        }
        proposal
    }

    /// Which try it says that this is, and whose promises it shows.
    fn attempt(&mut self, at: &NodeName, envelope: &Envelope, peers: &[NodeName]) -> (Attempt, Vec<Statement>) {
        let request = |envelope: &Envelope| {
            let intent = tally_domain::Intent::read_unverified(envelope).expect("an honest intent");
            (intent.tenant, intent.request_id)
        };
        let (tenant, request_id) = request(envelope);
        let promise = Abandonment { tenant, request_id, attempt: Attempt(1) };
        let boot = self.live(at).boot.clone();
        let own = promise.sign(boot.key(), boot.cert());
        let spare = request(&self.evil().spare[0]);
        let given_up = |this: &Self, of: &_| {
            let rows = this.nodes[&peers[0]].journal.attempts(of);
            let promise = rows.into_iter().find_map(|row| match row.state {
                AttemptState::Abandoned(bytes) => Some(bytes),
                AttemptState::Voted(_) | AttemptState::Released { .. } => None,
            });
            prost::Message::decode(promise.expect("a promise of an attempt that was let hang").as_slice())
        };
        match self.how() {
            Lie::AttemptZero => (Attempt(0), Vec::new()),
            Lie::AttemptFarAhead => (Attempt(900), Vec::new()),
            Lie::PromiseOmitted => (Attempt(2), Vec::new()),
            Lie::PromiseForged => {
                let boot_cert = Some(self.live(&peers[0]).boot.cert().clone());
                (Attempt(2), vec![Statement { boot_cert, ..own }])
            }
            Lie::PromiseOfAnotherRequest => (Attempt(2), vec![given_up(self, &spare).expect("a statement")]),
            Lie::PromiseBroken => (Attempt(2), vec![own]),
            Lie::VotesOfAnotherAttempt => {
                let of = (promise.tenant, promise.request_id);
                (Attempt(2), vec![given_up(self, &of).expect("a statement")])
            }
            _ => (Attempt(1), Vec::new()),
        }
    }

    /// A member has answered a proposal.
    pub(super) fn proposal_answered(&mut self, from: &NodeName, rpc: u64, answer: Result<Vec<u8>, No>) {
        let Some(session) = self.evil().rpcs.remove(&rpc) else { return };
        let at = self.evil().node.clone();
        match answer {
            Ok(_) => {
                self.heard_from(from, None);
                let Some(table) = self.evil().tables.get_mut(&session) else { return };
                table.waiting.remove(from);
                if table.waiting.is_empty() {
                    self.open_session(session);
                }
            }
            Err(No { refusal, .. }) => {
                self.heard_from(from, Some(refusal.clone()));
                let Some(table) = self.evil().tables.remove(&session) else { return };
                for peer in table.members.names().iter().filter(|n| **n != at && *n != from) {
                    self.post(&at, peer, Body::Session { key: session, bytes: Trouble::dismissal() });
                }
                self.conclude(table.arrival.call, Err(refusal));
            }
        }
    }

    /// What it says of freezes before it leads.
    fn tell_tales(&mut self, at: &NodeName, key: &tally_domain::KeyName) {
        let boot = self.live(at).boot.clone();
        let cluster = boot.cluster.clone();
        let others: BTreeSet<NodeName> = self.world.names.iter().filter(|n| *n != at).cloned().collect();
        let lie = self.how();
        let body = match lie {
            Lie::LiftByOne | Lie::LiftForged => {
                let lifts =
                    self.nodes[at].journal.freezes().in_force().map(tally_signer::freeze::Frozen::name).collect();
                let own = Unfreeze { cluster, intent: Digest::of(b"nobody's"), lifts }.sign(boot.key(), boot.cert());
                let in_the_name = |n: &NodeName| Statement {
                    boot_cert: self.nodes[n].live.as_ref().map(|live| live.boot.cert().clone()),
                    ..own.clone()
                };
                let statements = match lie {
                    Lie::LiftByOne => vec![own.clone(); 2],
                    _ => others.iter().map(in_the_name).collect(),
                };
                Body::Lift { certificate: Arc::new(UnfreezeCertificate { statements }) }
            }
            Lie::FreezeForged => {
                let (scope, id) = (Scope::Key(key.clone()), FreezeId([7; 16]));
                let freeze = Freeze { cluster, scope, id, intent: Digest::of(b"nobody's"), time: self.now };
                let victim = others.first().expect("others");
                let boot_cert = self.nodes[victim].live.as_ref().map(|live| live.boot.cert().clone());
                let statement = Statement { boot_cert, ..freeze.sign(boot.key(), boot.cert()) };
                Body::Freeze { statement: Arc::new(statement) }
            }
            _ => return,
        };
        others.iter().for_each(|to| self.post(at, to, body.clone()));
    }
}

fn at_place(charge: &tally_domain::Charge, from: u128, now: tally_domain::UnixMillis) -> Vec<u8> {
    at(charge, from, now).to_bytes()
}

fn arrival_units(envelope: &Envelope) -> u128 {
    let intent = tally_domain::Intent::read_unverified(envelope).expect("an honest intent");
    intent.content.len() as u128
}
