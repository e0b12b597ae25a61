//! What has left the nodes so far. Everything that leaves an honest node is held against its disk at that moment.

use crate::byzantine::{Message, read};
use crate::journal::RequestKey;
use crate::node::Node;
use crate::packet::Body;
use crate::persons::{DESK, enough};
use crate::world::{Limit, World};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::claim::Claimant;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{Conflict, Step, Write};
use tally_domain::vote::{Certificate, VOTE_TYPE, VoteBody};
use tally_domain::{Attempt, Intent, LineClaim, NodeName, Refusal, UnixMillis};
use tally_signer::approval::envelope_of;
use tally_signer::recovery::{End, Report};
use tally_signer::session::{Failure, Trouble};

/// A session that ended badly at one node.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Where.
    pub node: NodeName,
    /// What was seen, as the session says it.
    pub trouble: String,
    /// What the caller is told.
    pub refusal: Refusal,
    /// Who is to blame.
    pub culprits: Vec<NodeName>,
    /// Who was not there.
    pub missing: Vec<NodeName>,
}

type Part = (NodeName, RequestKey, Attempt);

/// What happened in a run.
pub struct History {
    world: Arc<World>,
    /// What must not be, in words.
    pub violations: Vec<String>,
    /// Sessions that ended badly.
    pub failures: Vec<Failed>,
    /// How often what has left the nodes.
    pub counts: BTreeMap<&'static str, u64>,
    partials: BTreeMap<Part, Vec<u8>>,
    promises: BTreeSet<Part>,
    /// Partials that an honest node has made durable under a claim, when, and how many units of the limit they take.
    releases: Vec<Spent>,
}

/// A release of a request that takes something of the limit.
pub(crate) struct Spent {
    pub(crate) at: UnixMillis,
    pub(crate) request: RequestKey,
    pub(crate) units: u128,
}

impl History {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self {
            world,
            violations: Vec::new(),
            failures: Vec::new(),
            counts: BTreeMap::new(),
            partials: BTreeMap::new(),
            promises: BTreeSet::new(),
            releases: Vec::new(),
        }
    }

    pub(crate) fn broken(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A write that a node's own rules should never have asked for.
    pub(crate) fn conflict(&mut self, at: &NodeName, conflict: &Conflict) {
        self.broken(format!("{at} asked its store for what it must refuse: {conflict}"));
    }

    pub(crate) fn failed(&mut self, at: &NodeName, trouble: &Trouble, failure: &Failure) {
        self.count("failed session");
        self.failures.push(Failed {
            node: at.clone(),
            trouble: format!("{trouble:?}"),
            refusal: failure.refusal.clone(),
            culprits: failure.culprits.clone(),
            missing: failure.missing.clone(),
        });
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Something leaves an honest node.
    pub(crate) fn leaves(&mut self, from: &NodeName, node: &Node, body: &Body) {
        match body {
            Body::Session { key, bytes } => match read(bytes) {
                Some(Message::Statement(vote)) => self.vote(from, node, &vote),
                Some(Message::Partial(partial)) => {
                    let running = node.live.as_ref().and_then(|l| l.sessions.get(key));
                    let running = running.expect("a partial leaves a session that runs");
                    let part = (from.clone(), running.request.clone(), running.attempt);
                    self.partial(part, node, &partial);
                }
                _ => {}
            },
            Body::Recovered { answer: Ok(recovered), .. } => {
                self.count("recovery");
                recovered.reports.iter().for_each(|report| self.report(from, node, report));
            }
            Body::Complete { result, .. } => {
                self.count("result told");
                if !node.journal.results().any(|(_, known)| known == result) {
                    self.broken(format!("{from} tells of a result that it has not written down"));
                }
            }
            Body::Propose { .. } => self.count("proposal"),
            Body::Voted { answer: Ok(vote), .. } => self.concurrence(from, node, vote),
            Body::Voted { answer: Err(no), .. } | Body::Proposed { answer: Err(no), .. } => {
                if !no.in_the_way.is_empty() {
                    self.count("collision");
                }
            }
            Body::Vote { .. } => self.count("question for a vote"),
            Body::Said { envelope, said, .. } => self.tells_said(from, node, envelope, said),
            Body::Proposed { .. }
            | Body::Recover { .. }
            | Body::Recovered { .. }
            | Body::Freeze { .. }
            | Body::Lift { .. } => {}
        }
    }

    /// A node has frozen.
    pub(crate) fn froze(&mut self) {
        self.count("freeze");
    }

    /// A node has heard a person.
    pub(crate) fn said(&mut self) {
        self.count("statement of a person");
    }

    /// A node tells of no person what is not on its disk.
    fn tells_said(&mut self, from: &NodeName, node: &Node, request: &Envelope, said: &[Envelope]) {
        self.count("news of persons");
        let intent = Intent::read_unverified(request).expect("an honest intent");
        let rows = node.journal.said(&(intent.tenant, intent.request_id));
        let known: Vec<_> = rows.iter().filter_map(envelope_of).collect();
        if said.iter().any(|statement| !known.contains(statement)) {
            self.broken(format!("{from} tells what it has not written down that a person said"));
        }
    }

    /// S-2.2 step 13: nothing leaves a node for a request that persons must approve before enough of them have, by what is
    /// on its own disk, nor after one of them has rejected it.
    fn approved(&mut self, from: &NodeName, node: &Node, request: &RequestKey) {
        let (claimed, _) = node.journal.request(request).expect("a request that was taken");
        if claimed.client.as_str() != DESK {
            return;
        }
        self.count("approved vote or release");
        if let Some(person) = node.journal.rejected_by(request) {
            self.broken(format!("{from} votes or releases though {person} has rejected it"));
        }
        let rows = node.journal.said(request);
        let statements: Vec<_> = rows.iter().filter_map(envelope_of).collect();
        if !enough(claimed.intent_digest, statements.iter()) {
            self.broken(format!("{from} votes or releases what too few persons have approved"));
        }
    }

    /// Nothing leaves a node for a key that it knows to be frozen.
    fn not_frozen(&mut self, from: &NodeName, node: &Node, request: &RequestKey) {
        let claimed = node.journal.request(request).expect("a request that was taken");
        if let Err(frozen) = node.journal.freezes().check(&claimed.0.key) {
            self.violations.push(format!("{from} votes or releases though it knows of a freeze: {frozen:?}"));
        }
    }

    /// What a step releases that takes something of the limit.
    pub(crate) fn releases_in(&self, step: &Step, at: UnixMillis) -> Vec<Spent> {
        let spent = |write: &Write| {
            let Write::Release { certificate, .. } = write else { return None };
            let certificate = Certificate::decode(certificate.as_slice()).expect("an own certificate");
            let body = certificate.open(self.world.bundle.roster()).expect("an own certificate");
            let units = body.claims.as_ref()?.lines().iter().map(LineClaim::amount).sum();
            Some(Spent { at, request: (body.tenant, body.request_id), units })
        };
        step.writes.iter().filter_map(spent).collect()
    }

    pub(crate) fn spent(&mut self, releases: Vec<Spent>) {
        releases.iter().for_each(|_| self.count("limited release"));
        self.releases.extend(releases);
    }

    /// I5: no window of the limit's length holds more than the limit.
    pub(crate) fn verify_limit(&mut self) {
        let Some(Limit { max, window_ms }) = self.world.limit else { return };
        let within = |from: UnixMillis| -> u128 {
            let inside = self.releases.iter().filter(|r| (from..from.plus(window_ms)).contains(&r.at));
            let by_request: BTreeMap<_, _> = inside.map(|r| (&r.request, r.units)).collect();
            by_request.values().sum()
        };
        let most = self.releases.iter().map(|r| within(r.at)).max().unwrap_or(0);
        if most > max {
            self.broken(format!("I5: {most} of {max} within one window"));
        }
    }

    /// I8: no vote leaves that is not on the disk.
    fn vote(&mut self, from: &NodeName, node: &Node, bytes: &[u8]) {
        self.count("vote");
        let statement = Statement::decode(bytes).expect("an honest vote");
        let (_, body) = statement.open(VOTE_TYPE, self.world.bundle.roster()).expect("an honest vote");
        let vote = VoteBody::from_bytes(body).expect("an honest vote");
        let request = (vote.tenant, vote.request_id);
        self.not_frozen(from, node, &request);
        self.approved(from, node, &request);
        if node.journal.vote(&request, vote.attempt) != Some(bytes) {
            self.broken(format!("I8: {from} votes without having written it down"));
        }
    }

    /// I8 for a voter outside S: its vote does not leave before all that it takes is on the disk.
    fn concurrence(&mut self, from: &NodeName, node: &Node, bytes: &[u8]) {
        self.count("vote of a voter outside S");
        let statement = Statement::decode(bytes).expect("an honest vote");
        let (_, body) = statement.open(VOTE_TYPE, self.world.bundle.roster()).expect("an honest vote");
        let vote = VoteBody::from_bytes(body).expect("an honest vote");
        self.approved(from, node, &(vote.tenant.clone(), vote.request_id));
        let by = Claimant { tenant: vote.tenant, request: vote.request_id };
        for claim in vote.claims.expect("a vote for a limited request").lines() {
            let memory = node.journal.line(&claim.line());
            if !memory.voted().any(|v| v.by == by && v.intervals == claim.intervals()) {
                self.broken(format!("I8: {from} votes without having written down what it takes"));
            }
        }
    }

    /// I2, I7: no partial leaves that is not on the disk, always the same bytes, and never after a promise.
    fn partial(&mut self, part: Part, node: &Node, bytes: &[u8]) {
        self.count("partial");
        let (from, request, attempt) = &part;
        self.not_frozen(from, node, request);
        // What has left before a rejection may be said again.
        if !self.partials.contains_key(&part) {
            self.approved(from, node, request);
        }
        if node.journal.vote(request, *attempt).is_none() || node.journal.released(request, *attempt) != Some(bytes) {
            self.violations.push(format!("I7: {from} releases what is not on its disk"));
        }
        if self.promises.contains(&part) {
            self.violations.push(format!("{from} releases in an attempt that it promised to abandon"));
        }
        let known = self.partials.entry(part.clone()).or_insert_with(|| bytes.to_vec());
        if known != bytes {
            self.violations.push(format!("I2: {} released two partials for one attempt", part.0));
        }
    }

    fn report(&mut self, from: &NodeName, node: &Node, report: &Report) {
        let request = (report.vote.tenant.clone(), report.vote.request_id);
        let part = (from.clone(), request, report.vote.attempt);
        match &report.end {
            End::Released { partial, .. } => self.partial(part, node, partial),
            End::Abandoned(_) => {
                self.count("promise");
                if self.partials.contains_key(&part) {
                    self.broken(format!("{from} promises to abandon what it released"));
                }
                self.promises.insert(part);
            }
        }
    }
}
