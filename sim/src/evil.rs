//! A leader that cheats. It is no correct node behind a hand but a player of its own, with a real node's keys: it leads as
//! many sessions as it likes at once, is bound by no memory, charges what suits it, and tells each node what it wants.
//! Only what honest nodes check stands between it and what it wants; its own machines believe its lies.

mod claims;
mod hand;
mod lie;
mod play;
mod session;

pub use lie::Lie;

use crate::cluster::{Arrival, Cluster};
use crate::node::SessionKey;
use crate::packet::{Body, Packet};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::{Claims, NodeName, Refusal};
use tally_signer::session::Members;
use tally_signer::sign_session::{SignSession, Start};

/// What an honest node answered the evil leader.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Who.
    pub from: NodeName,
    /// Its no; nothing if it said yes.
    pub no: Option<Refusal>,
}

/// The evil leader and what it remembers.
pub(crate) struct Evil {
    pub(crate) node: NodeName,
    /// Nothing while it behaves.
    lie: Option<Lie>,
    /// Intents of clients that it may use as it likes.
    spare: Vec<Envelope>,
    tables: BTreeMap<SessionKey, Table>,
    rpcs: BTreeMap<u64, SessionKey>,
    /// The first unit of the limit's line that it has placed no claim on.
    free: u128,
    /// What persons have truly signed of the desk's request that it leads, and what it shows others.
    said: Vec<Envelope>,
    shown: Vec<Envelope>,
    seen: Seen,
    heard: Vec<Heard>,
}

/// What it keeps of earlier requests.
#[derive(Default)]
struct Seen {
    claims: Option<Claims>,
    votes: Vec<Vec<u8>>,
    result: Vec<u8>,
}

/// One session that it leads.
struct Table {
    arrival: Arrival,
    start: Option<Start>,
    machine: Option<SignSession>,
    members: Members,
    /// Members that have not agreed yet.
    waiting: BTreeSet<NodeName>,
    /// What members said before all had agreed.
    early: Vec<(NodeName, Vec<u8>)>,
    /// Questions that are not answered, and proposals that wait for that.
    questions: usize,
    held_back: Vec<(NodeName, Body)>,
    /// Votes of voters outside S, and those that it had asked for before there was a session.
    votes: Vec<Statement>,
    strange_votes: Vec<Vec<u8>>,
}

impl Cluster {
    /// From now on this node leads for nobody's good; `spare` are intents of clients that it may misuse.
    pub fn corrupt_leader(&mut self, node: &NodeName, spare: Vec<Envelope>) {
        self.evil = Some(Evil {
            node: node.clone(),
            lie: Some(Lie::None),
            spare,
            tables: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            free: 0,
            said: Vec::new(),
            shown: Vec::new(),
            seen: Seen::default(),
            heard: Vec::new(),
        });
    }

    /// Tells the evil leader how to lie; with nothing it leads as the correct node that it was, on the disk that it has.
    pub fn lie(&mut self, lie: Option<Lie>) {
        if let Some(evil) = &mut self.evil {
            evil.lie = lie;
            evil.tables.clear();
            evil.rpcs.clear();
        }
    }

    /// Gives the evil leader what persons have signed of the desk's request that it is to lead, and what it shows others
    /// where it lies about that.
    pub fn arm(&mut self, said: Vec<Envelope>, shown: Vec<Envelope>) {
        if let Some(evil) = &mut self.evil {
            (evil.said, evil.shown) = (said, shown);
        }
    }

    /// Whether this node plays its own game: then it keeps to itself what persons and others tell it of persons.
    pub(crate) fn is_astray(&self, at: &NodeName) -> bool {
        self.evil.as_ref().is_some_and(|evil| evil.node == *at && evil.lie.is_some())
    }

    /// What honest nodes have answered the evil leader so far.
    pub fn heard(&self) -> &[Heard] {
        self.evil.as_ref().map_or(&[], |evil| &evil.heard)
    }

    /// A client calls a node.
    pub(crate) fn called(&mut self, arrival: Arrival) {
        let astray = self.is_astray(&arrival.at);
        if astray && self.is_up(&arrival.at) { self.play(&arrival) } else { self.sign(arrival) }
    }

    /// Gives the evil leader what belongs to its game; gives back what does not.
    pub(crate) fn lure(&mut self, packet: Packet) -> Option<Packet> {
        let evil = match &mut self.evil {
            Some(evil) if evil.node == packet.to && evil.lie.is_some() => evil,
            _ => return Some(packet),
        };
        let Packet { from, to, body } = packet;
        match body {
            Body::Session { key, bytes } if evil.tables.contains_key(&key) => self.at_table(&from, key, bytes),
            Body::Proposed { rpc, answer } if evil.rpcs.contains_key(&rpc) => {
                self.proposal_answered(&from, rpc, answer)
            }
            Body::Voted { key, answer } if evil.tables.contains_key(&key) => self.vote_answered(&from, key, answer),
            body => return Some(Packet { from, to, body }),
        }
        None
    }

    fn evil(&mut self) -> &mut Evil {
        self.evil.as_mut().expect("an evil leader that plays")
    }

    fn how(&self) -> Lie {
        self.evil.as_ref().and_then(|evil| evil.lie).unwrap_or(Lie::None)
    }

    fn heard_from(&mut self, from: &NodeName, no: Option<Refusal>) {
        if !self.is_cheat(from) {
            self.evil().heard.push(Heard { from: from.clone(), no });
        }
    }
}
