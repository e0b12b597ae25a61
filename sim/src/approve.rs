//! Requests that wait for persons, as `node/src/approve.rs` and `approve/news.rs` have them: whoever asks has a request wait
//! and tells the others, whose packets may be lost; what persons sign they bring to nodes, which check it, write it down
//! and tell it; the node that the client asked signs when enough have approved.

use crate::cluster::{Arrival, Cluster, Stop};
use crate::faults::Faults;
use crate::member::request_key;
use crate::packet::Body;
use rand::RngExt as _;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{ApprovalRow, RequestState, Step};
use tally_domain::{Approval, NodeName, Reason, Refusal};
use tally_signer::admit::{self, Opened, Subject};
use tally_signer::approval::{Question, Standing, envelope_of, rejected_by, said_step};

/// Tries of one person at one node: it may not have heard of the request yet, or be down.
const TRIES_MAX: u32 = 20;

/// What a person brings to a node.
pub(crate) struct Word {
    at: NodeName,
    request: Envelope,
    statement: Envelope,
    tries: u32,
}

impl Cluster {
    /// A person will bring to `at` what they have signed of a request, at some moment.
    pub fn say(&mut self, at: &NodeName, request: &Envelope, statement: &Envelope) {
        let (request, statement) = (request.clone(), statement.clone());
        self.words.push(Word { at: at.clone(), request, statement, tries: 0 });
    }

    /// Perhaps a person comes now.
    pub(crate) fn word(&mut self, calm: bool) -> bool {
        let soon = if calm { 0.3 } else { 0.05 };
        if self.words.is_empty() || !self.rng.random_bool(soon) {
            return false;
        }
        let which = self.rng.random_range(0..self.words.len());
        let mut word = self.words.swap_remove(which);
        word.tries += 1;
        if !self.bring(&word) && word.tries < TRIES_MAX {
            self.words.push(word);
        }
        true
    }

    /// Whether the node has answered for good.
    fn bring(&mut self, word: &Word) -> bool {
        let at = &word.at;
        if !self.is_up(at) {
            return false;
        }
        if self.is_astray(at) {
            // It keeps to itself what it is told.
            return true;
        }
        let opened = admit::open(&self.world.bundle, word.request.clone()).expect("clients are honest");
        let key = request_key(&opened);
        let journal = &self.nodes[at].journal;
        if journal.waiting(&key).is_none() {
            let done = |state: &RequestState| matches!(state, RequestState::Completed(_));
            return journal.request(&key).is_some_and(|(_, state)| done(state));
        }
        match self.learn(at, &opened, &word.statement) {
            Ok(news) => {
                if news {
                    self.history.said();
                    self.tell_said(at, &opened);
                }
                self.look(at, &opened);
                true
            }
            Err(Stop::Refused(refusal)) => refusal.reason != Reason::Storage,
            Err(Stop::Crashed) => false,
        }
    }

    /// Writes down what a person has signed, unless this very statement is known; gives whether it is news.
    fn learn(&mut self, at: &NodeName, opened: &Opened, statement: &Envelope) -> Result<bool, Stop> {
        let known = self.nodes[at].journal.said(&request_key(opened));
        if known.iter().filter_map(envelope_of).any(|e| e == *statement) {
            return Ok(false);
        }
        let (subject, now) = (self.subject(at, opened)?, self.clock(at));
        let approval = question(&subject).check(&self.world.bundle, statement, &known, now)?;
        let now = self.now;
        let step = said_step(&approval, statement, &self.live(at).boot, now);
        self.commit(at, step)?;
        Ok(true)
    }

    /// The node that the client asked signs when enough have approved.
    fn look(&mut self, at: &NodeName, opened: &Opened) {
        let key = request_key(opened);
        let journal = &self.nodes[at].journal;
        if journal.waiting(&key).is_none_or(|row| row.owner != *at) {
            return;
        }
        let (said, now) = (journal.said(&key), self.clock(at));
        let Ok(subject) = self.subject(at, opened) else { return };
        if question(&subject).standing(&self.world.bundle, &said, now) == Standing::Approved {
            let (call, envelope) = (self.fresh_id(), opened.envelope().clone());
            self.arrive(Arrival { call, at: at.clone(), envelope, tries: 0 });
        }
    }

    /// Tells the others of a request that waits here, and of what persons have said of it.
    pub(crate) fn tell_said(&mut self, at: &NodeName, opened: &Opened) {
        let key = request_key(opened);
        let Some(row) = self.nodes[at].journal.waiting(&key) else { return };
        let owner = row.owner.clone();
        let said = self.nodes[at].journal.said(&key).iter().filter_map(envelope_of).collect();
        let body = Body::Said { envelope: Arc::new(opened.envelope().clone()), owner, said: Arc::new(said) };
        for peer in self.world.names.clone().iter().filter(|n| *n != at) {
            self.send(at, peer, body.clone());
        }
    }

    /// A node hears of a request that waits, and of what persons have said.
    pub(crate) fn hear_said(
        &mut self,
        at: &NodeName,
        from: &NodeName,
        envelope: Arc<Envelope>,
        owner: &NodeName,
        said: &[Envelope],
    ) {
        if self.is_astray(at) {
            return;
        }
        let Ok(opened) = admit::open(&self.world.bundle, (*envelope).clone()) else { return };
        if let Ok(Some(result)) = self.completed(at, &opened) {
            return self.send(at, from, Body::Complete { envelope, result });
        }
        let Ok(mut news) = self.waits_here(at, from, &opened, owner) else { return };
        for statement in said {
            // What does not count here may count there.
            match self.learn(at, &opened, statement) {
                Ok(learnt) => news |= learnt,
                Err(Stop::Refused(_)) => {}
                Err(Stop::Crashed) => return,
            }
        }
        if news {
            self.tell_said(at, &opened);
            self.look(at, &opened);
        }
    }

    /// Has a request wait here, if this node's own decision is that persons must approve it; gives whether that is news.
    fn waits_here(&mut self, at: &NodeName, from: &NodeName, opened: &Opened, owner: &NodeName) -> Result<bool, Stop> {
        let key = request_key(opened);
        if self.nodes[at].journal.waiting(&key).is_some() {
            return Ok(false);
        }
        if self.nodes[at].journal.rejected_by(&key).is_some() {
            return Err(Reason::NotWaiting.into());
        }
        let (subject, now) = (self.subject(at, opened)?, self.clock(at));
        match question(&subject).decide(&self.world.bundle, now) {
            Err(missing) if missing.reason == Reason::ApprovalsRequired => {
                let leaves = self.decision_leaves(at, opened, &Origin::Peer(from.clone()), Err(&missing));
                let mut step = Step { writes: vec![self.claim(opened)], leaves };
                self.wait_in(&mut step, at, &subject, owner);
                self.commit(at, step).map(|()| true)
            }
            Err(refusal) => Err(refusal.into()),
            Ok(_) => Err(Reason::NotWaiting.into()),
        }
    }

    fn wait_in(&mut self, step: &mut Step, at: &NodeName, subject: &Subject, owner: &NodeName) {
        let (bundle, now) = (self.world.bundle.clone(), self.now);
        let Step { writes, leaves } = question(subject).wait(&bundle, owner, &self.live(at).boot, now);
        step.writes.extend(writes);
        step.leaves.extend(leaves);
    }

    /// What this node adds to the step of a client's request that persons have yet to approve, unless it waits already.
    pub(crate) fn wait(&mut self, step: &mut Step, at: &NodeName, opened: &Opened) {
        if self.nodes[at].journal.waiting(&request_key(opened)).is_some() {
            return;
        }
        let subject = self.subject(at, opened).expect("a request that was decided about");
        self.wait_in(step, at, &subject, at);
    }

    /// A client's request with what persons have said of it here, as far as it counts.
    ///
    /// # Errors
    /// `REJECTED`.
    pub(crate) fn with_said(&mut self, at: &NodeName, opened: &Opened, from: &Origin) -> Result<Opened, Refusal> {
        let key = request_key(opened);
        let said: Vec<ApprovalRow> = self.nodes[at].journal.said(&key);
        if said.is_empty() || !matches!(from, Origin::Client(_)) {
            return Ok(opened.clone());
        }
        if let Some(person) = self.nodes[at].journal.rejected_by(&key) {
            return Err(rejected_by(&person));
        }
        let (subject, now) = (self.subject(at, opened)?, self.clock(at));
        Ok(opened.clone().with_said(question(&subject).counting(&self.world.bundle, &said, now)))
    }

    /// Keeps the approvals under which this node has permitted what another leads: they are in its log before its vote.
    pub(crate) fn adopt_said(&mut self, at: &NodeName, opened: &Opened, approvals: &[Envelope]) -> Result<(), Stop> {
        if approvals.is_empty() {
            return Ok(());
        }
        let key = request_key(opened);
        if let Some(person) = self.nodes[at].journal.rejected_by(&key) {
            return Err(rejected_by(&person).into());
        }
        let known: Vec<_> = self.nodes[at].journal.said(&key).iter().filter_map(envelope_of).collect();
        let now = self.now;
        let mut step = Step::default();
        for statement in approvals.iter().filter(|e| !known.contains(e)) {
            let approval = Approval::read_checked(statement).expect("it has been checked");
            let Step { writes, leaves } = said_step(&approval, statement, &self.live(at).boot, now);
            step.writes.extend(writes);
            step.leaves.extend(leaves);
        }
        if step.writes.is_empty() { Ok(()) } else { self.commit(at, step) }
    }

    /// Stops all faults, and lets every node hear what any knows of these requests.
    pub fn spread_said(&mut self, requests: &[Envelope]) {
        self.set_faults(Faults::NONE);
        self.mend(None);
        self.run();
        for request in requests {
            let opened = admit::open(&self.world.bundle, request.clone()).expect("clients are honest");
            for at in self.world.names.clone() {
                self.tell_said(&at, &opened);
            }
        }
        self.run();
    }

    fn subject(&mut self, at: &NodeName, opened: &Opened) -> Result<Subject, Refusal> {
        let held = self.live(at).key(&opened.intent().key);
        admit::subject(opened.clone(), held.as_ref().map(|h| (&*h.record, h.state)))
    }
}

fn question(subject: &Subject) -> Question<'_> {
    Question::new(subject.opened(), subject.facts())
}
