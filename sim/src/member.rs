//! Taking part in what another node leads, as `node/src/participate.rs` does, and what both sides share: decisions that
//! are written down, and what a node did for a request.

use crate::cluster::{Cluster, Stop};
use crate::drive::check_id;
use crate::journal::RequestKey;
use crate::limits::claims_in;
use crate::node::{Held, SessionKey};
use crate::packet::{Body, No, Packet, Proposal, Recovered};
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::key::KeyRecord;
use tally_domain::ports::store::{AttemptRow, AttemptState, ClaimRequest, RequestState, Step, Write};
use tally_domain::vote::{Abandonment, Certificate, VoteBody};
use tally_domain::{Attempt, NodeName, PartyIndex, Reason, Refusal, Scheme, SignerSet};
use tally_signer::admit::{self, Opened, Permit, Subject};
use tally_signer::boot::BootIdentity;
use tally_signer::claims::{InTheWay, claim};
use tally_signer::recovery::{End, Report, proves_dead};
use tally_signer::result::{check, complete_step};
use tally_signer::session::Members;
use tally_signer::sign_session::{Start, abandon_step};

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

/// What a proposal leads to.
enum Joined {
    /// The request is done already.
    Done(Vec<u8>),
    /// Other requests' claims are in the way.
    Met(Vec<InTheWay>),
    /// This node takes part.
    Start(Box<Start>),
}

/// The request that an intent names.
pub(crate) fn request_key(opened: &Opened) -> RequestKey {
    (opened.intent().tenant.clone(), opened.intent().request_id)
}

impl Cluster {
    /// Answers a proposal, and takes part if the answer is yes.
    pub(crate) fn propose(&mut self, at: &NodeName, leader: &NodeName, rpc: u64, proposal: &Proposal) {
        let (answer, start) = match self.consider(at, leader, proposal) {
            Err(Stop::Crashed) => return,
            Err(Stop::Refused(refusal)) => (Err(refusal.into()), None),
            Ok(Joined::Met(in_the_way)) => (Err(No { refusal: Reason::Contention.into(), in_the_way }), None),
            Ok(Joined::Done(bytes)) => (Ok(bytes), None),
            Ok(Joined::Start(start)) => (Ok(Vec::new()), Some(start)),
        };
        self.send(at, leader, Body::Proposed { rpc, answer });
        if let Some(start) = start {
            self.begin(at, proposal.session, *start, None);
        }
    }

    fn consider(&mut self, at: &NodeName, leader: &NodeName, proposal: &Proposal) -> Result<Joined, Stop> {
        if proposal.bundle != self.world.bundle.digest() {
            return Err(Reason::BundleMismatch.into());
        }
        let opened = admit::open(&self.world.bundle, proposal.envelope.clone())?.with_said(proposal.said.clone());
        if let Some(bytes) = self.completed(at, &opened)? {
            return Ok(Joined::Done(bytes));
        }
        let request = request_key(&opened);
        if !self.live(at).guards.insert(request.clone()) {
            return Err(Reason::Contention.into());
        }
        let joined = self.join(at, leader, proposal, &opened);
        if let Err(Stop::Refused(_)) | Ok(Joined::Met(_)) = joined {
            self.free(at, &request);
        }
        joined
    }

    fn join(&mut self, at: &NodeName, leader: &NodeName, proposal: &Proposal, opened: &Opened) -> Result<Joined, Stop> {
        let origin = Origin::Peer(leader.clone());
        let permit = self.admitted(at, opened, origin.clone())?;
        let held = self.live(at).key(&opened.intent().key).ok_or(Reason::KeyNotFound)?;
        let joined = self.members(at, leader, &held, &proposal.signers).and_then(|members| {
            Ok((members, claim(permit, claims_in(&proposal.claims)?, self.clock(at)).map_err(Refusal::from)?))
        });
        let (members, claimed) = match joined {
            Ok(joined) => joined,
            Err(refusal) => return Err(self.refused(at, opened, &origin, refusal)),
        };
        let found = self.in_the_way(at, opened, claimed.claims())?;
        if !found.is_empty() {
            return Ok(Joined::Met(found));
        }
        self.fit_attempt(at, claimed.permit().subject(), proposal)?;
        self.check_pending(at, claimed.permit(), proposal.session, &members)?;
        self.adopt_said(at, opened, claimed.permit().approvals())?;
        Ok(Joined::Start(Box::new(Start {
            claimed,
            share: held.share.ok_or(Reason::Signers)?,
            boot: self.live(at).boot.clone(),
            bundle: self.world.bundle.clone(),
            members,
            signers: proposal.signers.clone(),
            attempt: proposal.attempt,
            leader: leader.clone(),
        })))
    }

    /// Decides here, and writes it down with the claim of the request id.
    pub(crate) fn admitted(&mut self, at: &NodeName, opened: &Opened, from: Origin) -> Result<Permit, Stop> {
        let held = self.live(at).key(&opened.intent().key);
        let key = held.as_ref().map(|h| (&*h.record, h.state));
        let outcome = self.with_said(at, opened, &from).and_then(|opened| {
            let known = self.nodes[at].journal.freezes();
            let charges = |subject: &Subject| self.world.charges(subject);
            admit::admit_sign(opened, key, known, &self.world.bundle, self.clock(at), charges)
        });
        let verdict = outcome.as_ref().map(Permit::rule);
        let leaves = self.decision_leaves(at, opened, &from, verdict);
        let mut step = Step { writes: vec![self.claim(opened)], leaves };
        let waits = matches!(&outcome, Err(refusal) if refusal.reason == Reason::ApprovalsRequired)
            && matches!(from, Origin::Client(_));
        match &outcome {
            Err(_) if waits => self.wait(&mut step, at, opened),
            Err(refusal) => {
                let (tenant, request) = request_key(opened);
                let reason = refusal.reason.as_str().into();
                step.writes.push(Write::Refuse { tenant, request, reason, at: self.now });
            }
            Ok(_) => {}
        }
        match self.commit(at, step) {
            Ok(()) => {
                if waits {
                    self.tell_said(at, opened);
                }
                Ok(outcome?)
            }
            Err(Stop::Refused(refusal)) => {
                let leaves = self.decision_leaves(at, opened, &from, Err(&refusal));
                self.commit(at, Step { writes: Vec::new(), leaves })?;
                Err(refusal.into())
            }
            Err(Stop::Crashed) => Err(Stop::Crashed),
        }
    }

    pub(crate) fn claim(&self, opened: &Opened) -> Write {
        let intent = opened.intent();
        Write::ClaimRequest(ClaimRequest {
            tenant: intent.tenant.clone(),
            request: intent.request_id,
            intent_digest: opened.digest(),
            client: intent.client.clone(),
            key: intent.key.clone(),
            action: intent.action,
            at: self.now,
        })
    }

    pub(crate) fn decision_leaves(
        &mut self,
        at: &NodeName,
        opened: &Opened,
        from: &Origin,
        outcome: Result<&str, &Refusal>,
    ) -> Vec<Vec<u8>> {
        let (now, bundle) = (self.now, self.world.bundle.digest());
        let (tenant, request_id) = request_key(opened);
        let boot = &self.live(at).boot;
        let decided = What::Decided {
            tenant,
            request_id,
            intent_digest: opened.digest(),
            verdict: admit::verdict(outcome),
            bundle,
            summary: String::new(),
            limits: Vec::new(),
        };
        vec![received(boot, opened, from, now), boot.leaf(now, decided)]
    }

    fn members(
        &mut self,
        at: &NodeName,
        leader: &NodeName,
        held: &Held,
        signers: &SignerSet,
    ) -> Result<Members, Refusal> {
        let record = &held.record;
        let me = record.party(at).filter(|p| signers.contains(*p)).ok_or(Reason::ParameterRange)?;
        record.party(leader).filter(|p| signers.contains(*p)).ok_or(Reason::ParameterRange)?;
        let names: BTreeMap<_, _> = signers.iter().filter_map(|p| Some((p, record.node(p)?.clone()))).collect();
        let journal = &self.nodes[at].journal;
        if names.values().any(|n| journal.banned(&record.name, record.epoch, n)) {
            return Err(Reason::PeerBanned.into());
        }
        Ok(Members::new(me, names))
    }

    fn fit_attempt(&self, at: &NodeName, subject: &Subject, proposal: &Proposal) -> Result<(), Refusal> {
        let rows = self.nodes[at].journal.attempts(&request_key(subject.opened()));
        if proposal.attempt.0 == 0 || rows.iter().any(|r| r.attempt >= proposal.attempt) {
            return Err(Reason::InDoubt.into());
        }
        let voted: Vec<(Attempt, Vec<NodeName>)> = rows
            .iter()
            .filter(|r| !matches!(r.state, AttemptState::Abandoned(_)))
            .map(|row| (row.attempt, own_vote(row).expect("a vote").signers))
            .collect();
        let roster = self.world.bundle.roster();
        if proves_dead(&voted, proposal.attempt, subject, &proposal.abandonments, roster) {
            Ok(())
        } else {
            Err(Reason::InDoubt.into())
        }
    }

    /// The mark that peers' messages are about to be checked (S-3.16).
    pub(crate) fn check_pending(
        &mut self,
        at: &NodeName,
        permit: &Permit,
        session: SessionKey,
        members: &Members,
    ) -> Result<(), Stop> {
        let record = permit.subject().record();
        if record.scheme != Scheme::EcdsaSecp256k1 {
            return Ok(());
        }
        let pending = Write::CheckPending {
            session: check_id(session),
            key: record.name.clone(),
            epoch: record.epoch,
            peers: members.names().into_iter().filter(|n| n != at).collect(),
        };
        self.commit(at, Step { writes: vec![pending], leaves: Vec::new() })
    }

    /// Answers what this node did for a request, after giving up what it has not released.
    pub(crate) fn recover(&mut self, at: &NodeName, from: &NodeName, rpc: u64, envelope: &Envelope) {
        let answer = match self.remember(at, envelope) {
            Ok(recovered) => Ok(recovered),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Crashed) => return,
        };
        self.send(at, from, Body::Recovered { rpc, answer });
    }

    fn remember(&mut self, at: &NodeName, envelope: &Envelope) -> Result<Recovered, Stop> {
        let opened = admit::open(&self.world.bundle, envelope.clone())?;
        if self.live(at).guards.contains(&request_key(&opened)) {
            return Err(Reason::Contention.into());
        }
        if let Some(result) = self.completed(at, &opened)? {
            return Ok(Recovered { result, reports: Vec::new() });
        }
        // What was released before a freeze may never have arrived: it does not leave now.
        self.nodes[at].journal.freezes().check(&opened.intent().key)?;
        Ok(Recovered { result: Vec::new(), reports: self.own_reports(at, &opened)? })
    }

    /// The stored result, if the request is done here.
    pub(crate) fn completed(&self, at: &NodeName, opened: &Opened) -> Result<Option<Vec<u8>>, Refusal> {
        match self.nodes[at].journal.request(&request_key(opened)) {
            Some((claim, _)) if claim.intent_digest != opened.digest() => Err(Reason::RequestIdConflict.into()),
            Some((_, RequestState::Completed(bytes))) => Ok(Some(bytes.clone())),
            _ => Ok(None),
        }
    }

    /// Own attempts as reports; those that were voted for and not released are given up first, durably.
    pub(crate) fn own_reports(&mut self, at: &NodeName, opened: &Opened) -> Result<Vec<Report>, Stop> {
        let key = request_key(opened);
        for row in self.nodes[at].journal.attempts(&key) {
            if let AttemptState::Voted(_) = row.state {
                let promise = Abandonment { tenant: key.0.clone(), request_id: key.1, attempt: row.attempt };
                let now = self.now;
                let step = abandon_step(&promise, &self.live(at).boot, now);
                self.commit(at, step)?;
            }
        }
        let rows = self.nodes[at].journal.attempts(&key);
        Ok(rows.iter().filter_map(|row| own_report(at, row)).collect())
    }

    /// Keeps a finished request that another node tells of, if it checks.
    pub(crate) fn complete(&mut self, at: &NodeName, from: &NodeName, envelope: Arc<Envelope>, result: Vec<u8>) {
        let Ok(opened) = admit::open(&self.world.bundle, (*envelope).clone()) else { return };
        if self.live(at).guards.contains(&request_key(&opened)) {
            let body = Body::Complete { envelope, result };
            self.parked.push(Packet { from: from.clone(), to: at.clone(), body });
            return;
        }
        let held = self.live(at).key(&opened.intent().key);
        let key = held.as_ref().map(|h| (&*h.record, h.state));
        let (Ok(None), Ok(subject)) = (self.completed(at, &opened), admit::subject(opened.clone(), key)) else {
            return;
        };
        let Ok(result) = check(&result, &subject, self.world.bundle.roster()) else { return };
        let boot = self.live(at).boot.clone();
        let done = complete_step(&subject, &result, &boot, self.now);
        let origin = Origin::Peer(from.clone());
        let mut step =
            Step { writes: vec![self.claim(&opened)], leaves: vec![received(&boot, &opened, &origin, self.now)] };
        step.writes.extend(done.writes);
        step.leaves.extend(done.leaves);
        // Whoever told it does not wait for an answer.
        let _ = self.commit(at, step);
    }
}

fn received(boot: &BootIdentity, opened: &Opened, from: &Origin, now: tally_domain::UnixMillis) -> Vec<u8> {
    let (envelope, digest) = (opened.envelope().clone(), opened.digest());
    boot.leaf(now, What::IntentReceived { envelope, from: from.clone(), digest })
}

fn own_vote(row: &AttemptRow) -> Option<VoteBody> {
    row.vote_body.as_deref().map(|bytes| VoteBody::from_bytes(bytes).expect("an own vote"))
}

fn own_report(me: &NodeName, row: &AttemptRow) -> Option<Report> {
    let vote = own_vote(row)?;
    let end = match &row.state {
        AttemptState::Voted(_) => return None,
        AttemptState::Released { partial, certificate } => End::Released {
            partial: partial.clone(),
            certificate: Certificate::decode(certificate.as_slice()).expect("an own certificate"),
        },
        AttemptState::Abandoned(bytes) => End::Abandoned(Statement::decode(bytes.as_slice()).expect("an own promise")),
    };
    Some(Report { node: me.clone(), vote, end })
}

/// S as the leader and the peers that it has chosen make it.
pub(crate) fn set(record: &KeyRecord, me: &NodeName, peers: &[NodeName]) -> (Members, SignerSet) {
    let names: BTreeMap<PartyIndex, NodeName> =
        peers.iter().chain([me]).map(|n| (record.party(n).expect("a participant"), n.clone())).collect();
    let parties: Vec<_> = names.keys().copied().collect();
    let signers = SignerSet::new(record.threshold, &parties).expect("t participants");
    (Members::new(record.party(me).expect("a participant"), names), signers)
}
