//! One log from its first leaf to its last: each leaf by itself, and against what the same node wrote before it.

mod bundles;
mod frozen;
mod home;
mod keks;
mod keys;
mod said;
mod tokens;

pub(super) use frozen::Word;

use super::bundles::Bundles;
use super::finding::{Finding, Problem};
use super::ledger::{Completion, Fact, How, Request};
use super::signature::MadeWith;
use super::warning::{Oddity, Warning};
use super::{Approvers, Basis, FINDINGS_MAX, PermitLine, RefusalLine, Report, signature};
use crate::checkpoint::{self, Checkpoint};
use crate::event::{Event, Verdict, What};
use crate::merkle::{Frontier, leaf_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tally_domain::boot::{BootCert, Statement};
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::roster::Roster;
use tally_domain::vote::{Abandonment, Certificate, VOTE_TYPE, VoteBody};
use tally_domain::{Attempt, Digest, Incarnation, Intent, KeyName, NodeName, UnixMillis};

/// Leaves say when their step was made, and stand in the order in which steps became durable: of two that wait for the disk
/// together either may be the first. A disk takes less than this, or the node says that it has none.
const DISORDER_MS: u64 = 1_000;

/// What one log says, and what is wrong with it by itself.
pub(super) struct Walk<'a> {
    roster: &'a Roster,
    approvers: &'a [&'a dyn Approvers],
    said: said::Trace,
    known: &'a Bundles,
    /// What the log contains.
    pub(super) report: Report,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// What must hold across leaves and logs, and where it stands.
    pub(super) facts: Vec<Seen>,
    /// Time of the last leaf that was read.
    pub(super) time: UnixMillis,
    /// What it says of freezes and of bundles.
    pub(super) freezes: frozen::Trace,
    pub(super) bundles: bundles::Trace,
    leaf: u64,
    incarnation: Option<Incarnation>,
    intents: BTreeMap<Digest, Result<Intent, Problem>>,
    /// Request, intent and bundle of every permit.
    permits: BTreeSet<(Request, Digest, Digest)>,
    votes: BTreeMap<(Request, Attempt), Rc<VoteBody>>,
    /// What a quorum has certified of this node's own work.
    cleared: BTreeMap<Request, Digest>,
    signatures: BTreeSet<Request>,
    keys: BTreeSet<KeyName>,
    keks: keks::Keks,
}

/// A fact with the leaf that says it.
pub(super) struct Seen {
    pub(super) leaf: u64,
    pub(super) time: UnixMillis,
    pub(super) fact: Fact,
}

/// A leaf about the signature of a request.
struct Completed<'e> {
    request: Request,
    intent_digest: Digest,
    completion: &'e Completion,
}

impl<'a> Walk<'a> {
    /// Walks over all leaves, then holds the checkpoint against them.
    pub(super) fn over(basis: Basis<'a>, node: &NodeName, entries: &[Vec<u8>], note: &str) -> Self {
        let mut frontier = Frontier::new();
        entries.iter().for_each(|leaf| frontier.append(leaf_hash(leaf)));
        let report = Report {
            node: node.clone(),
            entries: frontier.size(),
            root: frontier.root(),
            intents: 0,
            permits: Vec::new(),
            refusals: Vec::new(),
            releases: 0,
            signatures: 0,
            keys: 0,
            wraps: 0,
            tokens: 0,
            warnings: Vec::new(),
        };
        let mut this = Self {
            roster: basis.roster,
            approvers: basis.approvers,
            said: said::Trace::default(),
            known: basis.bundles,
            report,
            findings: Vec::new(),
            facts: Vec::new(),
            time: UnixMillis(0),
            freezes: frozen::Trace::default(),
            bundles: bundles::Trace::default(),
            leaf: 0,
            incarnation: None,
            intents: BTreeMap::new(),
            permits: BTreeSet::new(),
            votes: BTreeMap::new(),
            cleared: BTreeMap::new(),
            signatures: BTreeSet::new(),
            keys: BTreeSet::new(),
            keks: keks::Keks::default(),
        };
        this.checkpoint(node, note);
        for entry in entries {
            match Event::from_leaf(entry) {
                Ok(event) => this.event(event),
                Err(bad) => this.find(bad),
            }
            this.leaf += 1;
        }
        this.report.signatures = this.signatures.len() as u64;
        this.report.keys = this.keys.len() as u64;
        this
    }

    fn checkpoint(&mut self, node: &NodeName, note: &str) {
        let Some(in_roster) = self.roster.node(node) else { return self.find_in_log(Problem::UnknownNode) };
        let origin = checkpoint::origin(&self.roster.cluster, node);
        match Checkpoint::open(note, &origin, &origin, &in_roster.identity) {
            Err(bad) => self.find_in_log(Problem::Checkpoint(bad)),
            Ok(c) if c.size != self.report.entries => {
                self.find_in_log(Problem::Size { checkpoint: c.size, entries: self.report.entries });
            }
            Ok(c) if c.root != self.report.root => {
                self.find_in_log(Problem::Root { checkpoint: c.root, found: self.report.root });
            }
            Ok(_) => {}
        }
    }

    fn find(&mut self, problem: impl Into<Problem>) {
        self.push(Some(self.leaf), problem.into());
    }

    fn find_in_log(&mut self, problem: Problem) {
        self.push(None, problem);
    }

    fn push(&mut self, leaf: Option<u64>, problem: Problem) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { node: self.report.node.clone(), leaf, problem });
        }
    }

    fn warn(&mut self, what: Oddity) {
        self.report.warnings.push(Warning { node: self.report.node.clone(), leaf: self.leaf, what });
    }

    fn fact(&mut self, fact: Fact) {
        self.facts.push(Seen { leaf: self.leaf, time: self.time, fact });
    }

    fn event(&mut self, event: Event) {
        if event.node != self.report.node {
            return self.find(Problem::OtherNode { said: event.node });
        }
        if let What::Boot { boot_cert, .. } = &event.what {
            self.boot(boot_cert, event.incarnation);
        } else if self.incarnation != Some(event.incarnation) {
            self.find(Problem::NotBooted { said: event.incarnation });
        } else if event.time.plus(DISORDER_MS) < self.time {
            self.warn(Oddity::ClockWentBack { ms: self.time.0 - event.time.0 });
        }
        self.time = event.time;
        let checked = match event.what {
            What::SessionFailed { .. } => Ok(()),
            What::Boot { bundle, .. } => self.booted_under(bundle),
            What::IntentReceived { envelope, digest, .. } => self.intent(&envelope, digest),
            What::Decided { tenant, request_id, intent_digest, verdict, bundle, summary, .. } => {
                self.decided((tenant, request_id), intent_digest, verdict, bundle, summary)
            }
            What::Voted { vote } => self.voted(&vote),
            What::Released { tenant, request_id, attempt, certificate, partial_digest } => {
                self.released((tenant, request_id), attempt, &certificate, partial_digest)
            }
            What::Certified { certificate } => self.certified(&certificate),
            What::Abandoned { statement } => self.abandoned(&statement),
            What::Completed { tenant, request_id, intent_digest, key, path, signature, public_key, to_sign } => {
                let completion = Completion { key, path, signature, public_key, to_sign };
                self.completed(Completed { request: (tenant, request_id), intent_digest, completion: &completion })
            }
            What::KeyPending { record } => self.key_pending(&record),
            What::KeyActive { certificate } => self.key_active(&certificate),
            What::HsmKeyPending { record } => self.hsm_key_pending(&record),
            What::HsmKeyActive { certificate } => self.hsm_key_active(&certificate),
            What::KekMade(made) => self.kek_made(made),
            What::KekChanged(changed) => self.kek_changed(changed),
            What::Wrapped(wrapped) => self.wrapped(wrapped),
            What::DomainChanged(changed) => self.domain_changed(changed),
            What::TokensUsed(used) => self.tokens_used(used),
            What::Frozen { statement } => self.frozen(&statement),
            What::Unfreezing { statement } => self.unfreezing(&statement),
            What::Unfrozen { certificate } => self.unfrozen(&certificate),
            What::Waiting(waiting) => self.waiting(&waiting),
            What::Said { approval } => self.said(&approval),
            What::Cancelled { cancellation } => self.cancelled(&cancellation),
            What::Bundle(event) => self.bundle(&event),
            What::Banned { key, peer, .. } => {
                self.warn(Oddity::Banned { peer, key });
                Ok(())
            }
        };
        if let Err(problem) = checked {
            self.find(problem);
        }
    }

    fn boot(&mut self, boot_cert: &Envelope, now: Incarnation) {
        match BootCert::open(boot_cert, self.roster) {
            Err(bad) => self.find(Problem::BootCert(bad)),
            Ok(cert) if cert.node != self.report.node || cert.incarnation != now => self.find(Problem::OtherBoot),
            Ok(_) => {}
        }
        if let Some(before) = self.incarnation.filter(|before| *before >= now) {
            self.find(Problem::BootNotNewer { before, now });
        }
        self.incarnation = Some(now);
    }

    /// An intent that came in proves nothing yet, and may be anyone's; it is judged when it is permitted.
    fn intent(&mut self, envelope: &Envelope, digest: Digest) -> Result<(), Problem> {
        self.report.intents += 1;
        if content_digest(envelope) != digest {
            return Err(Problem::IntentDigest);
        }
        let believed = self.believe(envelope);
        // The digest is not over the signatures: of several envelopes with it, one good one is enough.
        if believed.is_ok() || !self.intents.contains_key(&digest) {
            self.intents.insert(digest, believed);
        }
        Ok(())
    }

    fn believe(&self, envelope: &Envelope) -> Result<Intent, Problem> {
        let client = Intent::claimed_client(envelope)?;
        let known = self.roster.client(&client).ok_or(Problem::UnknownClient { client: client.clone() })?;
        let intent = Intent::open(envelope, &known.intent_key)?;
        if intent.tenant == known.tenant { Ok(intent) } else { Err(Problem::OtherTenant { client }) }
    }

    fn decided(
        &mut self,
        (tenant, request_id): Request,
        intent_digest: Digest,
        verdict: Verdict,
        bundle: Digest,
        summary: String,
    ) -> Result<(), Problem> {
        let leaf = self.leaf;
        self.is_active(request_id, bundle)?;
        match verdict {
            Verdict::Refused { reason, rule, condition } => {
                let line = RefusalLine { leaf, tenant, request_id, reason, rule, condition, summary };
                self.report.refusals.push(line);
                Ok(())
            }
            Verdict::Permitted { rule } => {
                let intent = self.intents.get(&intent_digest);
                let intent = intent.ok_or(Problem::PermitWithoutIntent { request: request_id })?.as_ref();
                let intent = intent.map_err(Problem::clone)?;
                if (&intent.tenant, intent.request_id) != (&tenant, request_id) {
                    return Err(Problem::IntentMismatch { request: request_id, field: "request_id" });
                }
                self.said.permitted((tenant.clone(), request_id), &rule, bundle);
                self.permits.insert(((tenant.clone(), request_id), intent_digest, bundle));
                self.report.permits.push(PermitLine { leaf, tenant, request_id, rule, summary });
                Ok(())
            }
        }
    }

    fn voted(&mut self, vote: &Statement) -> Result<(), Problem> {
        let (cert, bytes) = vote.open(VOTE_TYPE, self.roster).map_err(Problem::Vote)?;
        let body = Rc::new(VoteBody::from_bytes(bytes).map_err(Problem::Vote)?);
        if cert.node != self.report.node || Some(cert.incarnation) != self.incarnation {
            return Err(Problem::OtherVoter { voter: cert.node });
        }
        self.fact(Fact::Vote { voter: cert.node, body: Rc::clone(&body) });
        let request = (body.tenant.clone(), body.request_id);
        if body.signers.contains(&self.report.node) {
            self.votes.insert((request.clone(), body.attempt), Rc::clone(&body));
        }
        if !self.permits.contains(&(request, body.intent_digest, body.bundle)) {
            return Err(Problem::VoteNotPermitted { request: body.request_id });
        }
        self.vote_is_approved(&body)?;
        self.intent_is_not_frozen(body.intent_digest)
    }

    fn released(
        &mut self,
        request: Request,
        attempt: Attempt,
        certificate: &Certificate,
        partial: Digest,
    ) -> Result<(), Problem> {
        self.report.releases += 1;
        let body = Rc::new(certificate.open(self.roster)?);
        let request_id = request.1;
        if (&body.tenant, body.request_id, body.attempt) != (&request.0, request_id, attempt) {
            return Err(Problem::OtherCertificate { request: request_id, attempt });
        }
        if !body.signers.contains(&self.report.node) {
            return Err(Problem::NotASigner);
        }
        for voter in certificate.voters(self.roster) {
            self.fact(Fact::Vote { voter, body: Rc::clone(&body) });
        }
        self.fact(Fact::Certificate { body: Rc::clone(&body) });
        self.fact(Fact::Release { by: self.report.node.clone(), body: Rc::clone(&body), partial });
        self.is_not_cancelled(&request)?;
        match self.votes.get(&(request, attempt)) {
            Some(own) if **own == *body => self.intent_is_not_frozen(body.intent_digest),
            _ => Err(Problem::ReleaseWithoutVote { request: request_id }),
        }
    }

    fn abandoned(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (by, what) = Abandonment::open(statement, self.roster).map_err(Problem::Abandonment)?;
        self.fact(Fact::Abandonment { by, request: (what.tenant, what.request_id), attempt: what.attempt });
        Ok(())
    }

    fn completed(&mut self, leaf: Completed<'_>) -> Result<(), Problem> {
        let Completed { request, intent_digest, completion } = leaf;
        let request_id = request.1;
        let made = signature::verifies(&completion.public_key, &completion.to_sign, &completion.signature);
        let made = made.ok_or(Problem::Signature { request: request_id })?;
        self.signatures.insert(request.clone());
        let how = match made {
            MadeWith::Resident => {
                if !self.has_permitted(&request, intent_digest) {
                    return Err(Problem::SignatureNotPermitted { request: request_id });
                }
                self.is_not_frozen(&completion.key, request_id)?;
                self.resident_is_approved(&request, intent_digest)?;
                self.is_cleared(&request, signature::digest_of_resident(&completion.public_key, &completion.to_sign))?;
                How::Resident
            }
            MadeWith::Threshold(scheme) => {
                let votes = self.votes.range((request.clone(), Attempt(0))..=(request.clone(), Attempt(u32::MAX)));
                How::Threshold { scheme, voted: votes.count() > 0 }
            }
        };
        let completion_fact =
            Fact::Completion { request: request.clone(), intent_digest, completion: Rc::new(completion.clone()), how };
        self.fact(completion_fact);
        let Some(Ok(intent)) = self.intents.get(&intent_digest) else { return Ok(()) };
        let field = if (&intent.tenant, intent.request_id) != (&request.0, request_id) {
            "request_id"
        } else if intent.key != completion.key {
            "key"
        } else if intent.path != completion.path {
            "path"
        } else {
            return Ok(());
        };
        Err(Problem::IntentMismatch { request: request_id, field })
    }

    /// Under whichever bundle.
    fn has_permitted(&self, request: &Request, intent: Digest) -> bool {
        let permit = |bundle| (request.clone(), intent, Digest([bundle; 32]));
        self.permits.range(permit(0)..=permit(0xff)).next().is_some()
    }
}
