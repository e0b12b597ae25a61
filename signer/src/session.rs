//! What sessions have in common: events in, actions out, and how they end badly.

use std::collections::BTreeMap;
use tally_audit::event::What;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{Step, Write};
use tally_domain::{Digest, Epoch, KeyName, NodeName, PartyIndex, Reason, Refusal, UnixMillis};
use tally_mpc::Fault;

use crate::boot::BootIdentity;
use crate::wire::Message;

/// The word of a leader whose session does not take place.
const DISMISSED: &str = "DISMISSED";

/// The stage in which votes of nodes outside S are awaited.
pub(crate) const QUORUM: &str = "quorum";

/// Names a step that the session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PersistId(pub u32);

/// What the driver shall do.
#[derive(Debug)]
pub enum Action<R> {
    /// Send to a member over the authenticated channel.
    Send {
        /// To whom.
        to: NodeName,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Make the step durable, then say so with this id. Nothing that depends on it leaves before.
    Persist {
        /// To say back.
        id: PersistId,
        /// What to write.
        step: Step,
    },
    /// Ask voters outside S for their votes, and say which came. Only the leader's session of a limited request asks.
    Canvass {
        /// Whom.
        voters: Vec<NodeName>,
        /// The client's intent, for each of them to admit.
        envelope: Box<Envelope>,
        /// What persons have signed of it.
        approvals: Vec<Envelope>,
        /// [`tally_domain::vote::VoteBody::to_bytes`].
        body: Vec<u8>,
    },
    /// Seal a share under a new sealing key of this node's token, then say so.
    Seal(Box<crate::keygen_session::SealRequest>),
    /// The session has its result, and it is durable.
    Done(R),
}

/// How a session ended without a result.
#[derive(Debug)]
pub struct Failure {
    /// Made durable before anything observable leaves: bans, abandonment, the leaf that tells.
    pub step: Step,
    /// For the caller.
    pub refusal: Refusal,
    /// Who is to blame, as far as the protocol can tell.
    pub culprits: Vec<NodeName>,
    /// Who was not heard in time, or has said that it cannot go on: nobody's fault, as far as anyone can tell.
    pub missing: Vec<NodeName>,
}

impl Failure {
    /// Whom to leave out of the next attempt.
    pub fn left_out(&self) -> Vec<NodeName> {
        self.culprits.iter().chain(&self.missing).cloned().collect()
    }
}

/// What ends a session early.
#[derive(Debug)]
pub enum Trouble {
    /// The protocol says so.
    Fault(Fault),
    /// A member sent what does not belong here.
    Violation {
        /// Who.
        from: NodeName,
        /// In which stage.
        stage: &'static str,
        /// What is wrong.
        what: String,
    },
    /// Members disagree on what they do together; nobody can be named.
    Mismatch {
        /// In which stage.
        stage: &'static str,
    },
    /// Members did not answer within the stage's time.
    Silent {
        /// Who.
        missing: Vec<NodeName>,
        /// In which stage.
        stage: &'static str,
    },
    /// A member ended it.
    PeerAborted {
        /// Who.
        from: NodeName,
        /// Its reason word.
        reason: String,
    },
    /// This node's own store, token or clock.
    Own(Refusal),
    /// The check of a peer's message crashed (S-3.16).
    Crashed {
        /// Whose message, if it was one.
        from: Option<NodeName>,
        /// In which stage.
        stage: &'static str,
    },
}

impl Trouble {
    /// What the leader tells those who agreed to a session that then does not take place.
    pub fn dismissal() -> Vec<u8> {
        Message::Abort(DISMISSED.into()).encode()
    }

    /// The reason and facts for the caller.
    pub fn refusal(&self, name: impl Fn(PartyIndex) -> Option<NodeName>) -> Refusal {
        match self {
            Self::Fault(fault) => fault_refusal(fault, name),
            Self::Violation { from, stage, what } => Refusal::new(Reason::ProtocolViolation)
                .with("node", from.as_str())
                .with("round", *stage)
                .with("detail", what),
            Self::Mismatch { stage } => Refusal::new(Reason::SessionAborted)
                .with("round", *stage)
                .with("detail", "the members saw different messages"),
            Self::Silent { missing, stage } => {
                let names: Vec<_> = missing.iter().map(NodeName::as_str).collect();
                let reason = if *stage == QUORUM { Reason::Voters } else { Reason::Signers };
                Refusal::new(reason).with("node", names.join(",")).with("round", *stage)
            }
            Self::PeerAborted { from, reason } => {
                // That voters are away a member may notice before the leader does.
                let known = Reason::parse(reason).filter(|r| *r == Reason::Voters);
                let reason_here = known.unwrap_or(Reason::SessionAborted);
                Refusal::new(reason_here).with("node", from.as_str()).with("detail", reason)
            }
            Self::Own(refusal) => refusal.clone(),
            Self::Crashed { stage, .. } => Refusal::new(Reason::Bug).with("round", *stage),
        }
    }

    /// Who is to blame.
    pub fn culprits(&self, name: impl Fn(PartyIndex) -> Option<NodeName>) -> Vec<NodeName> {
        match self {
            Self::Fault(fault) => fault.culprit().and_then(name).into_iter().collect(),
            Self::Violation { from, .. } => vec![from.clone()],
            // We know all words of correct members.
            Self::PeerAborted { from, reason } if Reason::parse(reason).is_none() && reason != DISMISSED => {
                vec![from.clone()]
            }
            Self::Crashed { from, .. } => from.iter().cloned().collect(),
            // Whoever leaves because of a third member is not to blame for it, nor is whoever does not answer: the network
            // may have kept the answer.
            Self::PeerAborted { .. } | Self::Silent { .. } | Self::Mismatch { .. } | Self::Own(_) => Vec::new(),
        }
    }

    /// Who is not there, or says that it cannot go on.
    pub fn missing(&self) -> Vec<NodeName> {
        match self {
            Self::PeerAborted { from, reason } if is_out_of_order(reason) => vec![from.clone()],
            Self::Silent { missing, .. } => missing.clone(),
            Self::PeerAborted { .. }
            | Self::Fault(_)
            | Self::Violation { .. }
            | Self::Mismatch { .. }
            | Self::Own(_)
            | Self::Crashed { .. } => Vec::new(),
        }
    }
}

/// Whether a member that leaves with this word says that it cannot go on itself.
fn is_out_of_order(reason: &str) -> bool {
    let own = [Reason::Hsm, Reason::Storage, Reason::Overloaded, Reason::Tampered, Reason::Deadline, Reason::Bug];
    Reason::parse(reason).is_some_and(|reason| own.contains(&reason))
}

fn fault_refusal(fault: &Fault, name: impl Fn(PartyIndex) -> Option<NodeName>) -> Refusal {
    let culprit = fault.culprit().and_then(name).map(|n| n.as_str().to_owned());
    let reason = if fault.bans().is_some() {
        Reason::PeerBanned
    } else if culprit.is_some() {
        Reason::ProtocolViolation
    } else {
        Reason::SessionAborted
    };
    let refusal = Refusal::new(reason).with("detail", fault.to_string());
    match culprit {
        Some(node) => refusal.with("node", node),
        None => refusal,
    }
}

/// The ban that a failed check demands (S-3.15), with its leaf. A crash inside a check tells the peer as much as its
/// failing would (S-3.16), so it bans as well; our validation lets no honest message crash the library.
pub(crate) fn ban(
    trouble: &Trouble,
    key: &KeyName,
    epoch: Epoch,
    name: impl Fn(PartyIndex) -> Option<NodeName>,
    boot: &BootIdentity,
    now: UnixMillis,
) -> Option<Step> {
    let (peer, what) = match trouble {
        Trouble::Fault(fault) => (fault.bans().and_then(name)?, fault.to_string()),
        Trouble::Crashed { from: Some(peer), stage: "offline" } => {
            (peer.clone(), "the check of its message crashed".into())
        }
        _ => return None,
    };
    let leaf = boot.leaf(now, What::Banned { key: key.clone(), epoch, peer: peer.clone(), what: what.clone() });
    Some(Step { writes: vec![Write::Ban { key: key.clone(), epoch, peer, what }], leaves: vec![leaf] })
}

/// Who is who in a session.
#[derive(Debug, Clone)]
pub struct Members {
    me: PartyIndex,
    names: BTreeMap<PartyIndex, NodeName>,
}

impl Members {
    /// All members with their names; `me` is one of them.
    pub fn new(me: PartyIndex, names: BTreeMap<PartyIndex, NodeName>) -> Self {
        Self { me, names }
    }

    /// This node's place.
    pub fn me(&self) -> PartyIndex {
        self.me
    }

    /// The name of a party.
    pub fn name(&self, party: PartyIndex) -> Option<NodeName> {
        self.names.get(&party).cloned()
    }

    /// The party of a name.
    pub fn party(&self, name: &NodeName) -> Option<PartyIndex> {
        self.names.iter().find(|(_, n)| *n == name).map(|(p, _)| *p)
    }

    /// All names in the order of their party index.
    pub fn names(&self) -> Vec<NodeName> {
        self.names.values().cloned().collect()
    }

    /// All parties with their names.
    pub fn pairs(&self) -> Vec<(PartyIndex, NodeName)> {
        self.names.iter().map(|(p, n)| (*p, n.clone())).collect()
    }

    /// The other members.
    pub fn others(&self) -> impl Iterator<Item = (PartyIndex, &NodeName)> {
        self.names.iter().filter(|(p, _)| **p != self.me).map(|(p, n)| (*p, n))
    }

    /// Messages of the threshold protocol, each with the hash of all greetings as this node received them.
    pub(crate) fn protocol<R>(&self, echo: &Digest, out: Vec<tally_mpc::Outgoing>) -> Vec<Action<R>> {
        out.into_iter()
            .filter_map(|o| {
                let bytes = Message::Protocol { echo: echo.0, bytes: o.bytes }.encode();
                Some(Action::Send { to: self.name(o.to)?, bytes })
            })
            .collect()
    }

    /// One message to each of the others.
    pub(crate) fn to_all<R>(&self, bytes: &[u8]) -> Vec<Action<R>> {
        self.others().map(|(_, n)| Action::Send { to: n.clone(), bytes: bytes.to_vec() }).collect()
    }
}
