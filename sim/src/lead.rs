//! Leading a signature, as `node/src/lead_sign.rs` does: find out what earlier attempts left,
//! choose S, propose, take part, tell everyone.

use crate::cluster::{Arrival, Cluster, Stop};
use crate::drive::Failed;
use crate::journal::RequestKey;
use crate::member::request_key;
use crate::member::set;
use crate::node::{Call, SessionKey};
use crate::packet::{Body, No, Proposal, Recovered};
use crate::recover::{believed, combine};
use prost::Message as _;
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::{Attempt, Claims, NodeName, Reason, Refusal, SignerSet};
use tally_signer::admit::{self, Permit};
use tally_signer::claims::{Placer, claim};
use tally_signer::freeze::unless_frozen;
use tally_signer::recovery::{Next, Report, next};
use tally_signer::result::{SignResult, check, complete_step};
use tally_signer::session::{Members, Trouble};
use tally_signer::sign_session::Start;

/// Attempts in one call.
const ATTEMPTS_MAX: u32 = 3;

/// One call that a node leads.
pub(crate) struct Lead {
    arrival: Arrival,
    permit: Permit,
    request: RequestKey,
    excluded: BTreeSet<NodeName>,
    last: Option<Refusal>,
    away: Option<Refusal>,
    fresh: bool,
    tried: u32,
    phase: Phase,
    /// Where on the limit's line there may be room.
    pub(crate) placer: Placer,
}

enum Phase {
    /// Between two steps.
    Idle,
    /// Everyone is asked what they did.
    Asking { rpc: u64, waiting: BTreeSet<NodeName>, reports: Vec<Report> },
    /// The members of S are asked to take part.
    Proposing { rpc: u64, waiting: BTreeSet<NodeName>, plan: Plan, agreed: Vec<NodeName>, refused: Vec<(NodeName, No)> },
    /// The session runs.
    Signing,
}

/// Who has made a result: what exists elsewhere is kept whatever is frozen here.
#[derive(Clone, Copy)]
enum Whose {
    Ours,
    Theirs,
}

#[derive(Clone)]
struct Plan {
    session: SessionKey,
    attempt: Attempt,
    abandonments: Vec<Statement>,
    members: Members,
    signers: SignerSet,
    claims: Option<Claims>,
}

impl Lead {
    /// What it leads.
    pub(crate) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Whether it waits for answers.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.phase, Phase::Asking { .. } | Phase::Proposing { .. })
    }
}

impl Cluster {
    /// A client asks this node for a signature.
    pub(crate) fn sign(&mut self, arrival: Arrival) {
        let (at, call) = (&arrival.at.clone(), arrival.call);
        if !self.is_up(at) {
            return;
        }
        let opened = admit::open(&self.world.bundle, arrival.envelope.clone()).expect("clients are honest");
        let request = request_key(&opened);
        if !self.live(at).guards.insert(request.clone()) {
            return self.answered(arrival, Err(Reason::Contention.into()));
        }
        let admitted = match self.completed(at, &opened) {
            Ok(Some(bytes)) => Ok(Err(bytes)),
            Ok(None) => self.admitted(at, &opened, Origin::Client(opened.intent().client.clone())).map(Ok),
            Err(refusal) => Err(refusal.into()),
        };
        let permit = match admitted {
            Ok(Ok(permit)) => permit,
            Err(Stop::Crashed) => return,
            Ok(Err(bytes)) => {
                self.free(at, &request);
                return self.answered(arrival, Ok(bytes));
            }
            Err(Stop::Refused(refusal)) => {
                self.free(at, &request);
                return self.answered(arrival, Err(refusal));
            }
        };
        if permit.subject().record().party(at).is_none() {
            self.free(at, &request);
            return self.answered(arrival, Err(Reason::Signers.into()));
        }
        let fresh = self.nodes[at].journal.attempts(&request).is_empty();
        let placer = Placer::new(permit.charges());
        let lead = Lead {
            arrival,
            permit,
            request,
            excluded: BTreeSet::new(),
            last: None,
            away: None,
            fresh,
            tried: 0,
            phase: Phase::Idle,
            placer,
        };
        self.live(at).leading.insert(call, lead);
        self.lead_on(at, call);
    }

    pub(crate) fn lead(&mut self, at: &NodeName, call: Call) -> &mut Lead {
        self.live(at).leading.get_mut(&call).expect("a call that is led")
    }

    /// The next attempt, or the end of trying.
    fn lead_on(&mut self, at: &NodeName, call: Call) {
        let key = self.lead(at, call).permit.subject().intent().key.clone();
        if let Err(frozen) = self.nodes[at].journal.freezes().check(&key) {
            return self.finish(at, call, Err(frozen));
        }
        let lead = self.lead(at, call);
        lead.away = None;
        if lead.tried >= ATTEMPTS_MAX {
            let refusal = lead.last.clone().unwrap_or_else(|| Reason::SessionAborted.into());
            return self.finish(at, call, Err(refusal));
        }
        if lead.fresh {
            return self.assemble(at, call, Attempt(1), Vec::new());
        }
        let subject = lead.permit.subject().clone();
        let reports = match self.own_reports(at, subject.opened()) {
            Ok(reports) => reports,
            Err(stop) => return self.lead_stopped(at, call, stop),
        };
        let rpc = self.fresh_id();
        let others: BTreeSet<_> = subject.record().participants.iter().filter(|p| *p != at).cloned().collect();
        self.lead(at, call).phase = Phase::Asking { rpc, waiting: others.clone(), reports };
        let envelope = Arc::new(subject.opened().envelope().clone());
        for peer in &others {
            self.send(at, peer, Body::Recover { rpc, envelope: envelope.clone() });
        }
    }

    pub(crate) fn recovered(&mut self, at: &NodeName, from: &NodeName, rpc: u64, answer: Result<Recovered, Refusal>) {
        let roster = self.world.bundle.roster().clone();
        let asking = |lead: &Lead| matches!(&lead.phase, Phase::Asking { rpc: r, waiting, .. } if *r == rpc && waiting.contains(from));
        let live = self.live(at);
        let Some((&call, lead)) = live.leading.iter_mut().find(|(_, lead)| asking(lead)) else { return };
        let subject = lead.permit.subject().clone();
        let Phase::Asking { waiting, reports, .. } = &mut lead.phase else { return };
        waiting.remove(from);
        if let Ok(Recovered { result, reports: theirs }) = answer {
            if !result.is_empty() && check(&result, &subject, &roster).is_ok() {
                return self.adopt(at, call, &result);
            }
            reports.extend(theirs.into_iter().filter(|r| believed(&subject, &roster, from, r)));
        }
        if waiting.is_empty() {
            self.decide(at, call);
        }
    }

    /// All have answered who will.
    fn decide(&mut self, at: &NodeName, call: Call) {
        let lead = self.lead(at, call);
        let Phase::Asking { reports, .. } = std::mem::replace(&mut lead.phase, Phase::Idle) else { return };
        let permit = lead.permit.clone();
        let anew = self.cheat.as_ref().is_some_and(|c| c.node == *at && c.starts_anew());
        match next(&reports) {
            Next::Combine { vote, .. } if anew => {
                self.assemble(at, call, Attempt(vote.attempt.0 + 1), Vec::new());
            }
            Next::InDoubt { attempt, missing } => {
                let names: Vec<_> = missing.iter().map(NodeName::as_str).collect();
                let refusal =
                    Refusal::new(Reason::InDoubt).with("attempt", attempt.0.to_string()).with("node", names.join(","));
                self.finish(at, call, Err(refusal));
            }
            Next::Combine { vote, certificate, partials } => {
                match combine(permit.subject(), &vote, certificate, &partials) {
                    Ok(result) => self.keep(at, call, &result, Whose::Ours),
                    Err(refusal) => self.finish(at, call, Err(refusal)),
                }
            }
            Next::Start { attempt, abandonments } => self.assemble(at, call, attempt, abandonments),
        }
    }

    /// Finds t - 1 others that will take part.
    fn assemble(&mut self, at: &NodeName, call: Call, attempt: Attempt, abandonments: Vec<Statement>) {
        let lead = self.lead(at, call);
        let (subject, excluded) = (lead.permit.subject().clone(), lead.excluded.clone());
        let record = subject.record();
        let journal = &self.nodes[at].journal;
        let mut peers: Vec<NodeName> = record
            .participants
            .iter()
            .filter(|p| *p != at && !excluded.contains(*p) && !journal.banned(&record.name, record.epoch, p))
            .cloned()
            .collect();
        let cheat = self.cheat.as_ref().map(|c| c.node.clone());
        while peers.len() > usize::from(record.threshold.t()) - 1 {
            let out = self.rng.random_range(0..peers.len());
            // A cheat is what a run with one is about.
            if cheat.as_ref() != Some(&peers[out]) {
                peers.swap_remove(out);
            }
        }
        if peers.len() + 1 < usize::from(record.threshold.t()) {
            let refusal = self.lead(at, call).away.clone().filter(|r| r.reason != Reason::Signers);
            let refusal = refusal.unwrap_or_else(|| Reason::Signers.into());
            return self.finish(at, call, Err(refusal));
        }
        let claims = match self.place(at, call) {
            Ok(claims) => claims,
            // What found no room now may have had it before: others may know of an attempt, or of the result.
            Err(_) if self.lead(at, call).fresh => {
                self.lead(at, call).fresh = false;
                return self.lead_on(at, call);
            }
            Err(no_room) => return self.finish(at, call, Err(no_room.into())),
        };
        let (members, signers) = set(record, at, &peers);
        let plan = Plan { session: self.fresh_id(), attempt, abandonments, members, signers, claims };
        let rpc = self.fresh_id();
        let proposal = Arc::new(Proposal {
            session: plan.session,
            envelope: subject.opened().envelope().clone(),
            attempt,
            signers: plan.signers.clone(),
            abandonments: plan.abandonments.clone(),
            claims: plan.claims.as_ref().map(Claims::to_bytes).unwrap_or_default(),
            bundle: self.world.bundle.digest(),
            said: self.lead(at, call).permit.approvals().to_vec(),
        });
        let waiting = peers.iter().cloned().collect();
        self.lead(at, call).phase = Phase::Proposing { rpc, waiting, plan, agreed: Vec::new(), refused: Vec::new() };
        for peer in &peers {
            self.send(at, peer, Body::Propose { rpc, proposal: proposal.clone() });
        }
    }

    pub(crate) fn proposed(&mut self, at: &NodeName, from: &NodeName, rpc: u64, answer: Result<Vec<u8>, No>) {
        let proposing = |lead: &Lead| matches!(&lead.phase, Phase::Proposing { rpc: r, waiting, .. } if *r == rpc && waiting.contains(from));
        let live = self.live(at);
        let Some((&call, lead)) = live.leading.iter_mut().find(|(_, lead)| proposing(lead)) else { return };
        let Phase::Proposing { waiting, agreed, refused, .. } = &mut lead.phase else { return };
        waiting.remove(from);
        match answer {
            Ok(result) if result.is_empty() => agreed.push(from.clone()),
            Ok(result) => return self.adopt(at, call, &result),
            Err(no) => refused.push((from.clone(), no)),
        }
        if waiting.is_empty() {
            self.proposed_to_all(at, call);
        }
    }

    fn proposed_to_all(&mut self, at: &NodeName, call: Call) {
        let lead = self.lead(at, call);
        let phase = std::mem::replace(&mut lead.phase, Phase::Signing);
        let Phase::Proposing { plan, agreed, refused, .. } = phase else { return };
        if refused.is_empty() {
            return self.sign_with(at, call, plan);
        }
        for peer in &agreed {
            self.send(at, peer, Body::Session { key: plan.session, bytes: Trouble::dismissal() });
        }
        let lead = self.lead(at, call);
        let mut met = false;
        for (peer, No { refusal, in_the_way }) in refused {
            met |= !in_the_way.is_empty();
            lead.placer.met(&in_the_way);
            match refusal.reason {
                Reason::Contention if !in_the_way.is_empty() => {}
                Reason::InDoubt => {
                    lead.fresh = false;
                    lead.tried += 1;
                    return self.lead_on(at, call);
                }
                Reason::Signers | Reason::Storage | Reason::PeerBanned | Reason::Bug => {
                    lead.excluded.insert(peer);
                    lead.away = Some(refusal);
                }
                _ => return self.finish(at, call, Err(refusal)),
            }
        }
        if met {
            lead.last = Some(Reason::Contention.into());
            lead.tried += 1;
            return self.lead_on(at, call);
        }
        self.assemble(at, call, plan.attempt, plan.abandonments);
    }

    fn sign_with(&mut self, at: &NodeName, call: Call, plan: Plan) {
        let permit = self.lead(at, call).permit.clone();
        if let Err(stop) = self.check_pending(at, &permit, plan.session, &plan.members) {
            return self.lead_stopped(at, call, stop);
        }
        let claimed = match claim(permit, plan.claims, self.clock(at)) {
            Ok(claimed) => claimed,
            Err(why) => return self.finish(at, call, Err(why.into())),
        };
        let held = self.live(at).key(&claimed.permit().subject().intent().key).expect("the key that was admitted");
        let start = Start {
            claimed,
            share: held.share.expect("a leader holds a share"),
            boot: self.live(at).boot.clone(),
            bundle: self.world.bundle.clone(),
            members: plan.members,
            signers: plan.signers,
            attempt: plan.attempt,
            leader: at.clone(),
        };
        self.begin(at, plan.session, start, Some(call));
    }

    pub(crate) fn lead_done(&mut self, at: &NodeName, call: Call, result: &SignResult) {
        self.tell(at, call, result);
        self.finish(at, call, Ok(result.encode_to_vec()));
    }

    pub(crate) fn lead_failed(&mut self, at: &NodeName, call: Call, failed: Failed) {
        let lead = self.lead(at, call);
        lead.fresh = false;
        lead.excluded.extend(failed.left_out);
        lead.last = Some(failed.refusal);
        lead.tried += 1;
        self.lead_on(at, call);
    }

    /// Whoever has not answered counts as away.
    pub(crate) fn lead_patience(&mut self, at: &NodeName, call: Call) {
        match &mut self.lead(at, call).phase {
            Phase::Asking { .. } => self.decide(at, call),
            Phase::Proposing { waiting, refused, .. } => {
                let silent = std::mem::take(waiting);
                refused.extend(silent.into_iter().map(|n| (n, Refusal::from(Reason::Signers).into())));
                self.proposed_to_all(at, call);
            }
            Phase::Idle | Phase::Signing => {}
        }
    }

    /// Believes a result that a peer has, after checking it, and keeps it.
    fn adopt(&mut self, at: &NodeName, call: Call, bytes: &[u8]) {
        let subject = self.lead(at, call).permit.subject().clone();
        match check(bytes, &subject, self.world.bundle.roster()) {
            Ok(result) => self.keep(at, call, &result, Whose::Theirs),
            Err(refusal) => self.finish(at, call, Err(refusal)),
        }
    }

    fn keep(&mut self, at: &NodeName, call: Call, result: &SignResult, whose: Whose) {
        let subject = self.lead(at, call).permit.subject().clone();
        let now = self.now;
        let step = complete_step(&subject, result, &self.live(at).boot, now);
        let step = match whose {
            Whose::Ours => unless_frozen(step, &subject.intent().key),
            Whose::Theirs => step,
        };
        match self.commit(at, step) {
            Ok(()) => self.lead_done(at, call, result),
            Err(stop) => self.lead_stopped(at, call, stop),
        }
    }

    fn tell(&mut self, at: &NodeName, call: Call, result: &SignResult) {
        let envelope = Arc::new(self.lead(at, call).permit.subject().opened().envelope().clone());
        for peer in self.world.names.clone().iter().filter(|n| *n != at) {
            self.send(at, peer, Body::Complete { envelope: envelope.clone(), result: result.encode_to_vec() });
        }
    }

    fn lead_stopped(&mut self, at: &NodeName, call: Call, stop: Stop) {
        if let Stop::Refused(refusal) = stop {
            self.finish(at, call, Err(refusal));
        }
    }

    fn finish(&mut self, at: &NodeName, call: Call, answer: Result<Vec<u8>, Refusal>) {
        let lead = self.live(at).leading.remove(&call).expect("a call that ends");
        self.free(at, &lead.request);
        self.answered(lead.arrival, answer);
    }
}
