//! The cluster and its scheduler: one event at a time, which one is drawn from the seed.

use crate::approve::Word;
use crate::byzantine::{Cheat, Message, read};
use crate::evil::Evil;
use crate::faults::Faults;
use crate::genesis::Genesis;
use crate::history::History;
use crate::journal::Journal;
use crate::node::{Call, Node, SessionKey};
use crate::packet::{Body, Packet};
use crate::world::{START_OF_TIME, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{Conflict, Step, Write};
use tally_domain::{NodeName, Reason, Refusal, UnixMillis};
use tally_signer::session::Trouble;

/// Events in one run before it counts as stuck: a run of five requests takes some thousands.
const EVENTS_MAX: u32 = 200_000;

/// Tries of one call against another leader of the same request.
const CONTENTION_TRIES_MAX: u32 = 8;

/// Why a node does not go on with what it does.
pub(crate) enum Stop {
    /// It is down.
    Crashed,
    /// It cannot.
    Refused(Refusal),
}

/// A client's call that has not been made yet, or that waits for another leader of its request.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) call: Call,
    pub(crate) at: NodeName,
    pub(crate) envelope: Envelope,
    pub(crate) tries: u32,
}

/// The cluster.
pub struct Cluster {
    /// What does not change.
    pub world: Arc<World>,
    /// What has left the nodes so far, and what it broke.
    pub history: History,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) rng: StdRng,
    pub(crate) now: UnixMillis,
    pub(crate) cheat: Option<Cheat>,
    pub(crate) evil: Option<Evil>,
    net: Vec<Packet>,
    /// Tidings of results for requests that are being worked on: they wait for their turn.
    pub(crate) parked: Vec<Packet>,
    arrivals: Vec<Arrival>,
    /// Freezes that clients want, and where.
    pub(crate) frosts: Vec<(NodeName, Envelope)>,
    /// What persons will bring, and where.
    pub(crate) words: Vec<Word>,
    answers: BTreeMap<Call, Result<Vec<u8>, Refusal>>,
    faults: Faults,
    cut: BTreeSet<NodeName>,
    pub(crate) skew_ms: BTreeMap<NodeName, u64>,
    next_id: u64,
    events: u32,
}

/// Who can lose patience.
enum Waiting {
    Session(NodeName, SessionKey),
    Leader(NodeName, Call),
}

impl Cluster {
    /// All nodes start from what key generation left.
    pub fn new(genesis: &Genesis, seed: u64, faults: Faults) -> Self {
        let nodes = genesis.journals.iter().map(|(name, j)| (name.clone(), Node::new(j.clone()))).collect();
        let mut this = Self {
            world: genesis.world.clone(),
            history: History::new(genesis.world.clone()),
            nodes,
            rng: StdRng::seed_from_u64(seed),
            now: START_OF_TIME.plus(1),
            cheat: None,
            evil: None,
            net: Vec::new(),
            parked: Vec::new(),
            arrivals: Vec::new(),
            frosts: Vec::new(),
            words: Vec::new(),
            answers: BTreeMap::new(),
            faults,
            cut: BTreeSet::new(),
            skew_ms: BTreeMap::new(),
            next_id: 0,
            events: 0,
        };
        for name in genesis.world.names.clone() {
            this.start(&name);
        }
        this
    }

    /// A client will call `at` at some moment; gives the name of the call.
    pub fn call(&mut self, at: &NodeName, envelope: &Envelope) -> Call {
        let call = self.fresh_id();
        self.arrive(Arrival { call, at: at.clone(), envelope: envelope.clone(), tries: 0 });
        call
    }

    pub(crate) fn arrive(&mut self, arrival: Arrival) {
        self.arrivals.push(arrival);
    }

    /// What a call was answered, if it was: a leader that crashes answers nothing.
    pub fn answer(&self, call: Call) -> Option<&Result<Vec<u8>, Refusal>> {
        self.answers.get(&call)
    }

    /// From now on things go wrong this often.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Mends the network and the clocks, and starts everyone but `stay_down`.
    pub fn mend(&mut self, stay_down: Option<&NodeName>) {
        self.cut.clear();
        self.skew_ms.clear();
        for name in self.world.names.clone() {
            if Some(&name) == stay_down {
                self.crash(&name);
            } else if self.nodes[&name].live.is_none() {
                self.start(&name);
            }
        }
    }

    /// Whether a node is up.
    pub fn is_up(&self, name: &NodeName) -> bool {
        self.nodes[name].live.is_some()
    }

    /// A copy of a node's disk as it is now.
    pub fn copy_of(&self, name: &NodeName) -> Journal {
        self.nodes[name].journal.clone()
    }

    /// A node is restored from an older copy of its disk, and starts again.
    pub fn restore(&mut self, name: &NodeName, copy: Journal) {
        self.crash(name);
        self.nodes.get_mut(name).expect("a node").journal = copy;
        self.start(name);
    }

    /// A node's disk.
    pub fn journal(&self, name: &NodeName) -> &Journal {
        &self.nodes[name].journal
    }

    /// The moment.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// A node's own clock.
    pub(crate) fn clock(&self, at: &NodeName) -> UnixMillis {
        self.now.plus(self.skew_ms.get(at).copied().unwrap_or_default())
    }

    /// Moves the clock of all nodes on.
    pub fn skip_to(&mut self, moment: UnixMillis) {
        self.now = self.now.max(moment);
    }

    /// Plays until nothing is left to happen.
    pub fn run(&mut self) {
        while self.step() {
            self.events += 1;
            if self.events > EVENTS_MAX {
                self.history.broken("the run does not come to rest".into());
                return;
            }
        }
    }

    fn step(&mut self) -> bool {
        self.now = self.now.plus(self.rng.random_range(0..3));
        self.weather();
        let calm = self.net.is_empty();
        if self.frost(calm) || self.word(calm) {
            return true;
        }
        let waiting = if calm || self.rng.random_bool(self.faults.hasty) { self.waiting() } else { Vec::new() };
        let soon = if calm { 0.3 } else { 0.05 };
        if !self.arrivals.is_empty() && (calm && waiting.is_empty() || self.rng.random_bool(soon)) {
            let at = self.rng.random_range(0..self.arrivals.len());
            let arrival = self.arrivals.swap_remove(at);
            self.called(arrival);
            return true;
        }
        if !waiting.is_empty() {
            let at = self.rng.random_range(0..waiting.len());
            self.lose_patience(&waiting[at]);
            return true;
        }
        if calm {
            return !self.frosts.is_empty() || !self.words.is_empty();
        }
        let at = self.rng.random_range(0..self.net.len());
        let packet = self.net.swap_remove(at);
        let across = self.cut.contains(&packet.from) != self.cut.contains(&packet.to);
        let partial =
            matches!(&packet.body, Body::Session { bytes, .. } if matches!(read(bytes), Some(Message::Partial(_))));
        let drop = if partial { self.faults.drop_partial } else { self.faults.drop };
        if across || self.rng.random_bool(drop) {
            return true;
        }
        if self.rng.random_bool(self.faults.duplicate) {
            self.net.push(packet.clone());
        }
        self.deliver(packet);
        true
    }

    /// Nodes that go down and come back, and the network.
    fn weather(&mut self) {
        for name in self.world.names.clone() {
            if self.nodes[&name].live.is_some() {
                if self.rng.random_bool(self.faults.crash) {
                    self.crash(&name);
                }
            } else if self.rng.random_bool(self.faults.restart) {
                self.start(&name);
            }
        }
        if self.rng.random_bool(self.faults.mend) {
            self.cut.clear();
        } else if self.rng.random_bool(self.faults.cut) {
            let names = self.world.names.clone();
            self.cut = names.into_iter().filter(|_| self.rng.random_bool(0.4)).collect();
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if self.nodes[&packet.to].live.is_none() {
            return;
        }
        let Some(Packet { from, to, body }) = self.lure(packet) else { return };
        if let Some(cheat) = self.cheat.as_mut().filter(|c| c.node == to) {
            cheat.receives(&body);
        }
        match body {
            Body::Session { key, bytes } => self.session_message(&to, &from, key, bytes),
            Body::Propose { rpc, proposal } => self.propose(&to, &from, rpc, &proposal),
            Body::Recover { rpc, envelope } => self.recover(&to, &from, rpc, &envelope),
            Body::Complete { envelope, result } => self.complete(&to, &from, envelope, result),
            Body::Vote { key, envelope, said, body } => self.asked_for_vote(&to, &from, key, (&envelope, &said), &body),
            Body::Said { envelope, owner, said } => self.hear_said(&to, &from, envelope, &owner, &said),
            Body::Voted { key, answer } => self.voted(&to, &from, key, answer),
            Body::Freeze { statement } => self.hear_freeze(&to, &statement),
            Body::Lift { certificate } => self.hear_lift(&to, &certificate),
            Body::Proposed { rpc, answer } => self.proposed(&to, &from, rpc, answer),
            Body::Recovered { rpc, answer } => self.recovered(&to, &from, rpc, answer),
        }
    }

    fn waiting(&self) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        for (name, node) in &self.nodes {
            let Some(live) = &node.live else { continue };
            waiting.extend(live.sessions.keys().map(|key| Waiting::Session(name.clone(), *key)));
            let asking = live.leading.iter().filter(|(_, lead)| lead.waits());
            waiting.extend(asking.map(|(call, _)| Waiting::Leader(name.clone(), *call)));
        }
        waiting
    }

    fn lose_patience(&mut self, who: &Waiting) {
        match who {
            Waiting::Session(name, key) => {
                let Some(running) = self.live(name).sessions.get(key) else { return };
                let (stage, missing) = running.session.waiting_for();
                self.end_session(name, *key, &Trouble::Silent { missing, stage });
            }
            Waiting::Leader(name, call) => self.lead_patience(name, *call),
        }
    }

    /// Sends: what leaves a node is held against its disk first.
    pub(crate) fn send(&mut self, from: &NodeName, to: &NodeName, body: Body) {
        let bodies = match self.cheat.take() {
            Some(mut cheat) if cheat.node == *from => {
                let bodies = cheat.send(self, to, body);
                self.cheat = Some(cheat);
                bodies
            }
            other => {
                self.cheat = other;
                if !self.is_cheat(from) {
                    self.history.leaves(from, &self.nodes[from], &body);
                }
                vec![body]
            }
        };
        self.net.extend(bodies.into_iter().map(|body| Packet { from: from.clone(), to: to.clone(), body }));
    }

    /// Something leaves a node that no correct node sends.
    pub(crate) fn post(&mut self, from: &NodeName, to: &NodeName, body: Body) {
        self.net.push(Packet { from: from.clone(), to: to.clone(), body });
    }

    /// Makes a step durable, or crashes before or after, or finds the disk full.
    pub(crate) fn commit(&mut self, at: &NodeName, mut step: Step) -> Result<(), Stop> {
        if self.holds_to_nothing(at) {
            step.writes.retain(|write| !matches!(write, Write::Claim { .. }));
        }
        let crash = self.rng.random_bool(self.faults.crash_at_write);
        let before = self.rng.random_bool(0.5);
        if crash && before {
            self.crash(at);
            return Err(Stop::Crashed);
        }
        if self.rng.random_bool(self.faults.storage) {
            return Err(Stop::Refused(Reason::Storage.into()));
        }
        let releases = self.history.releases_in(&step, self.now);
        let done = self.nodes.get_mut(at).expect("a node").journal.commit(step);
        if done.is_ok() && !self.is_cheat(at) {
            self.history.spent(releases);
        }
        match done {
            Ok(()) if crash => {
                self.crash(at);
                Err(Stop::Crashed)
            }
            Ok(()) => Ok(()),
            Err(Conflict::RequestDigest) => Err(Stop::Refused(Reason::RequestIdConflict.into())),
            // Two leaders met on the line between a look at it and the vote.
            Err(Conflict::Claim { .. }) => Err(Stop::Refused(Reason::Contention.into())),
            Err(Conflict::Rejected(person)) => Err(Stop::Refused(tally_signer::approval::rejected_by(&person))),
            Err(Conflict::Frozen(name, scope)) => Err(Stop::Refused(tally_signer::freeze::refusal(&name, &scope))),
            Err(conflict) => {
                self.history.conflict(at, &conflict);
                Err(Stop::Refused(Reason::Bug.into()))
            }
        }
    }

    /// Whether this node is one of those that cheat.
    pub(crate) fn is_cheat(&self, at: &NodeName) -> bool {
        let evil = self.evil.as_ref().is_some_and(|evil| evil.node == *at);
        evil || self.cheat.as_ref().is_some_and(|cheat| cheat.node == *at)
    }

    /// A node goes down.
    pub fn crash(&mut self, at: &NodeName) {
        self.nodes.get_mut(at).expect("a node").live = None;
    }

    fn start(&mut self, at: &NodeName) {
        let seed = self.rng.random();
        let node = self.nodes.get_mut(at).expect("a node");
        node.boot(&self.world, at, &seed, self.now);
    }

    /// The call is over, unless another leader was in the way: then it is tried again after a pause.
    pub(crate) fn answered(&mut self, arrival: Arrival, answer: Result<Vec<u8>, Refusal>) {
        let contention = matches!(&answer, Err(refusal) if refusal.reason == Reason::Contention);
        if contention && arrival.tries < CONTENTION_TRIES_MAX {
            self.arrivals.push(Arrival { tries: arrival.tries + 1, ..arrival });
        } else {
            self.conclude(arrival.call, answer);
        }
    }

    /// The call is over.
    pub(crate) fn conclude(&mut self, call: Call, answer: Result<Vec<u8>, Refusal>) {
        self.answers.insert(call, answer);
    }

    /// Tidings that waited for a request to be free go their way again.
    pub(crate) fn unpark(&mut self) {
        self.net.append(&mut self.parked);
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn live(&mut self, at: &NodeName) -> &mut crate::node::Live {
        self.nodes.get_mut(at).and_then(|n| n.live.as_mut()).expect("a node that acts is up")
    }
}
