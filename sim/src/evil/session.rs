//! The evil leader's own machines, which it drives without writing anything down that would bind it.

use super::Lie;
use crate::cluster::Cluster;
use crate::node::SessionKey;
use crate::packet::{Body, No};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::Arc;
use tally_domain::NodeName;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{FreezeWrite, Step, Write};
use tally_domain::vote::VoteBody;
use tally_signer::result::SignResult;
use tally_signer::session::{Action, Trouble};
use tally_signer::sign_session::{Event, SignSession};

impl Cluster {
    /// All members have agreed.
    pub(super) fn open_session(&mut self, key: SessionKey) {
        let table = self.evil().tables.get_mut(&key).expect("a table that is laid");
        let start = table.start.take().expect("a session that has not begun");
        let early = std::mem::take(&mut table.early);
        let (machine, actions) = SignSession::start(start, &mut self.rng);
        self.evil().tables.get_mut(&key).expect("a table that is laid").machine = Some(machine);
        self.do_all(key, actions);
        for (from, bytes) in early {
            self.at_table(&from, key, bytes);
        }
    }

    /// A member says something.
    pub(super) fn at_table(&mut self, from: &NodeName, key: SessionKey, bytes: Vec<u8>) {
        let Some(table) = self.evil().tables.get_mut(&key) else { return };
        if table.machine.is_none() {
            table.early.push((from.clone(), bytes));
            return;
        }
        self.turn(key, Event::Message { from, bytes: &bytes });
    }

    fn turn(&mut self, key: SessionKey, event: Event<'_>) {
        let now = self.now;
        let evil = self.evil.as_mut().expect("an evil leader that plays");
        let Some(machine) = evil.tables.get_mut(&key).and_then(|t| t.machine.as_mut()) else { return };
        match machine.handle(event, now, &mut self.rng) {
            Ok(actions) => self.do_all(key, actions),
            Err(trouble) => self.give_up(key, &trouble),
        }
    }

    fn do_all(&mut self, key: SessionKey, actions: Vec<Action<SignResult>>) {
        let at = self.evil().node.clone();
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { to, bytes } => {
                    for bytes in self.change(key, &to, bytes) {
                        self.post(&at, &to, Body::Session { key, bytes });
                    }
                }
                Action::Persist { id, step } => {
                    self.keep_what_fits(&at, step);
                    let now = self.now;
                    let evil = self.evil.as_mut().expect("an evil leader that plays");
                    let machine = evil.tables.get_mut(&key).and_then(|t| t.machine.as_mut());
                    let machine = machine.expect("a machine that acts");
                    match machine.handle(Event::Persisted(id), now, &mut self.rng) {
                        Ok(more) => actions.extend(more),
                        Err(trouble) => return self.give_up(key, &trouble),
                    }
                }
                Action::Canvass { voters, envelope, approvals, body } => {
                    self.ask_voters(key, &voters, (*envelope, approvals), body);
                }
                Action::Seal(_) => panic!("a signing session seals nothing"),
                Action::Done(result) => return self.has_result(key, &result),
            }
        }
    }

    /// Its disk has whatever a correct disk would take: what it behaves by, later.
    fn keep_what_fits(&mut self, at: &NodeName, mut step: Step) {
        let binds = |w: &Write| matches!(w, Write::Claim { .. } | Write::Freeze(FreezeWrite::Unfrozen { .. }));
        step.writes.retain(|write| !binds(write));
        let _ = self.nodes.get_mut(at).expect("a node").journal.commit(step);
    }

    fn give_up(&mut self, key: SessionKey, trouble: &Trouble) {
        let at = self.evil().node.clone();
        let Some(mut table) = self.evil().tables.remove(&key) else { return };
        let machine = table.machine.take().expect("a machine in trouble");
        let mut failure = machine.fail(trouble, self.now);
        let step = std::mem::take(&mut failure.step);
        self.keep_what_fits(&at, step);
        // It does not say that it has left: the others find out by themselves.
        self.conclude(table.arrival.call, Err(failure.refusal));
    }

    fn ask_voters(
        &mut self,
        key: SessionKey,
        voters: &[NodeName],
        (envelope, said): (Envelope, Vec<Envelope>),
        body: Vec<u8>,
    ) {
        let at = self.evil().node.clone();
        let said = if self.how() == Lie::SaidToVoters { self.evil().shown.clone() } else { said };
        let (envelope, said, body) = (Arc::new(envelope), Arc::new(said), Arc::new(body));
        for voter in voters {
            let (envelope, said, body) = (envelope.clone(), said.clone(), body.clone());
            self.post(&at, voter, Body::Vote { key, envelope, said, body });
        }
    }

    /// A voter has answered.
    pub(super) fn vote_answered(&mut self, from: &NodeName, key: SessionKey, answer: Result<Vec<u8>, No>) {
        let at = self.evil().node.clone();
        self.heard_from(from, answer.as_ref().err().map(|no| no.refusal.clone()));
        let Some(table) = self.evil().tables.get_mut(&key) else { return };
        if table.machine.is_none() {
            table.strange_votes.extend(answer.ok());
            table.questions -= 1;
            let now_due = if table.questions == 0 { std::mem::take(&mut table.held_back) } else { Vec::new() };
            for (to, body) in now_due {
                self.post(&at, &to, body);
            }
            return;
        }
        match answer {
            Ok(bytes) => {
                let vote = Statement::decode(bytes.as_slice()).expect("voters answer with statements");
                self.take_vote(key, vote);
            }
            Err(No { refusal, .. }) => self.turn(key, Event::NoVote { voter: from.clone(), why: refusal }),
        }
    }

    fn take_vote(&mut self, key: SessionKey, vote: Statement) {
        let lie = self.how();
        let evil = self.evil();
        let table = evil.tables.get_mut(&key).expect("a table that is laid");
        let payload = &vote.signed.as_ref().expect("a whole statement").payload;
        let body = VoteBody::from_bytes(payload).expect("a vote");
        table.votes.push(vote.clone());
        if lie == Lie::None || lie == Lie::VotesWithheld {
            evil.seen.votes = evil.tables[&key].votes.iter().map(prost::Message::encode_to_vec).collect();
            evil.seen.claims = body.claims;
        }
        self.turn(key, Event::Vote(vote));
    }

    fn has_result(&mut self, key: SessionKey, result: &SignResult) {
        let at = self.evil().node.clone();
        let table = self.evil().tables.remove(&key).expect("a table with a result");
        let bytes = result.encode_to_vec();
        let envelope = Arc::new(table.arrival.envelope.clone());
        let lie = self.how();
        for to in self.world.names.clone().iter().filter(|n| **n != at) {
            if let Some(result) = self.tale(lie, to, &table.members.names(), result) {
                self.post(&at, to, Body::Complete { envelope: envelope.clone(), result });
            }
        }
        if lie == Lie::None {
            self.evil().seen.result = bytes.clone();
        }
        self.conclude(table.arrival.call, Ok(bytes));
    }
}
