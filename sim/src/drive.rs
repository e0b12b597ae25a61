//! Drives sessions as `node/src/drive.rs` does: actions in order, writes before what depends on them.

use crate::cluster::{Cluster, Stop};
use crate::node::{Call, Running, SessionKey};
use crate::packet::Body;
use std::collections::VecDeque;
use tally_domain::ports::store::{Step, Write};
use tally_domain::{Digest, NodeName, Refusal};
use tally_signer::result::SignResult;
use tally_signer::session::{Action, Trouble};
use tally_signer::sign_session::{Event, SignSession, Start};

/// Largest message that is kept for a session that is not open yet: a greeting.
const STRAY_BYTES_MAX: usize = 256;

/// How a session ended without a result.
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    pub(crate) left_out: Vec<NodeName>,
}

/// The name under which a session's pending check is kept.
pub(crate) fn check_id(key: SessionKey) -> Digest {
    Digest::of(&key.to_be_bytes())
}

impl Cluster {
    /// Begins a session, and gives it what came before it.
    pub(crate) fn begin(&mut self, at: &NodeName, key: SessionKey, start: Start, leads: Option<Call>) {
        let members = start.members.clone();
        let intent = start.claimed.permit().subject().intent();
        let (request, attempt) = ((intent.tenant.clone(), intent.request_id), start.attempt);
        let (session, actions) = SignSession::start(start, &mut self.rng);
        let live = self.live(at);
        live.sessions.insert(key, Running { session, members, request, attempt, leads });
        let (mine, others) = std::mem::take(&mut live.strays).into_iter().partition(|(k, ..)| *k == key);
        live.strays = others;
        self.act(at, key, actions);
        for (_, from, bytes) in mine as Vec<(SessionKey, NodeName, Vec<u8>)> {
            self.session_message(at, &from, key, bytes);
        }
    }

    pub(crate) fn session_message(&mut self, at: &NodeName, from: &NodeName, key: SessionKey, bytes: Vec<u8>) {
        let Some(live) = self.nodes.get_mut(at).and_then(|n| n.live.as_mut()) else { return };
        let Some(running) = live.sessions.get_mut(&key) else {
            if bytes.len() <= STRAY_BYTES_MAX {
                live.strays.push((key, from.clone(), bytes));
            }
            return;
        };
        if running.members.party(from).is_none() {
            return;
        }
        let event = Event::Message { from, bytes: &bytes };
        let outcome = running.session.handle(event, self.now, &mut self.rng);
        self.go_on(at, key, outcome);
    }

    /// Something other than a message happens to a session that may be over.
    pub(crate) fn session_event(&mut self, at: &NodeName, key: SessionKey, event: Event<'_>) {
        let Some(live) = self.nodes.get_mut(at).and_then(|n| n.live.as_mut()) else { return };
        let Some(running) = live.sessions.get_mut(&key) else { return };
        let outcome = running.session.handle(event, self.now, &mut self.rng);
        self.go_on(at, key, outcome);
    }

    fn go_on(&mut self, at: &NodeName, key: SessionKey, outcome: Result<Vec<Action<SignResult>>, Trouble>) {
        match outcome {
            Ok(actions) => self.act(at, key, actions),
            Err(trouble) => self.end_session(at, key, &trouble),
        }
    }

    fn act(&mut self, at: &NodeName, key: SessionKey, actions: Vec<Action<SignResult>>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { to, bytes } => self.send(at, &to, Body::Session { key, bytes }),
                Action::Persist { id, step } => {
                    let outcome = match self.commit(at, step) {
                        Ok(()) => {
                            let live = self.nodes.get_mut(at).and_then(|n| n.live.as_mut());
                            let running = live.and_then(|l| l.sessions.get_mut(&key)).expect("a session that acts");
                            running.session.handle(Event::Persisted(id), self.now, &mut self.rng)
                        }
                        Err(Stop::Crashed) => return,
                        Err(Stop::Refused(refusal)) => Err(Trouble::Own(refusal)),
                    };
                    match outcome {
                        Ok(more) => actions.extend(more),
                        Err(trouble) => return self.end_session(at, key, &trouble),
                    }
                }
                Action::Canvass { voters, envelope, approvals, body } => {
                    self.canvass(at, key, &voters, (*envelope, approvals), body);
                }
                Action::Seal(_) => panic!("a signing session seals nothing"),
                Action::Done(result) => return self.session_done(at, key, &result),
            }
        }
    }

    fn session_done(&mut self, at: &NodeName, key: SessionKey, result: &SignResult) {
        let running = self.live(at).sessions.remove(&key).expect("a session that is done");
        self.check_done(at, key);
        match running.leads {
            Some(call) => self.lead_done(at, call, result),
            None => self.free(at, &running.request),
        }
    }

    /// Ends a session: what must be durable, then the word to the others.
    pub(crate) fn end_session(&mut self, at: &NodeName, key: SessionKey, trouble: &Trouble) {
        let now = self.now;
        let running = self.live(at).sessions.remove(&key).expect("a session that ends");
        let mut failure = running.session.fail(trouble, now);
        self.history.failed(at, trouble, &failure);
        let mut step = std::mem::take(&mut failure.step);
        step.writes.push(Write::CheckDone { session: check_id(key) });
        let mut left_out = failure.left_out();
        match self.commit(at, step) {
            Ok(()) => {
                let bytes = SignSession::abort_message(&failure);
                for to in running.members.names().iter().filter(|n| *n != at) {
                    self.send(at, to, Body::Session { key, bytes: bytes.clone() });
                }
            }
            Err(Stop::Crashed) => return,
            // What could not be written down must not be seen either.
            Err(Stop::Refused(_)) => left_out.clear(),
        }
        match running.leads {
            Some(call) => self.lead_failed(at, call, Failed { refusal: failure.refusal, left_out }),
            None => self.free(at, &running.request),
        }
    }

    /// The request may be worked on by others again.
    pub(crate) fn free(&mut self, at: &NodeName, request: &crate::journal::RequestKey) {
        if let Some(live) = self.nodes.get_mut(at).and_then(|n| n.live.as_mut()) {
            live.guards.remove(request);
        }
        self.unpark();
    }

    fn check_done(&mut self, at: &NodeName, key: SessionKey) {
        let step = Step { writes: vec![Write::CheckDone { session: check_id(key) }], leaves: Vec::new() };
        // A mark that stays only makes a later start look as if a check had crashed; it is no event of its own here.
        self.nodes.get_mut(at).expect("a node").journal.commit(step).expect("a mark can always go");
    }
}
