//! Where a signing session is, and what it keeps for later.

use crate::claims::Ballot;
use crate::release::Unreleased;
use crate::result::SignResult;
use crate::session::PersistId;
use crate::wire::Message;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_domain::boot::Statement;
use tally_domain::vote::{Certificate, VoteBody};
use tally_domain::{Digest, PartyIndex};
use tally_mpc::{Combiner, Offline, Presignature, SessionId};

/// Most messages of later stages kept for one member: a member can be ahead by one protocol round and a vote, and the
/// leader by the votes that it passes on.
const EARLY_MAX: usize = 4;

/// Where the session is. Each stage holds only what it needs; the one-time material moves from stage to stage by value.
pub(super) enum Stage {
    Hello { hellos: BTreeMap<PartyIndex, [u8; 32]> },
    Offline { session: SessionId, echo: Digest, machine: Offline },
    PersistingVote { id: PersistId, body: VoteBody, statement: Statement, presignature: Presignature },
    Voting { ballot: Ballot, presignature: Presignature },
    PersistingRelease { id: PersistId, unreleased: Unreleased },
    Combining { combiner: Combiner, received: BTreeSet<PartyIndex>, certificate: Certificate },
    PersistingResult { id: PersistId, result: SignResult },
    Ended,
}

impl Stage {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Offline { .. } => "offline",
            Self::PersistingVote { .. } | Self::Voting { .. } => "vote",
            Self::PersistingRelease { .. } | Self::Combining { .. } => "combine",
            Self::PersistingResult { .. } => "record",
            Self::Ended => "ended",
        }
    }

    /// Which kind of message this stage takes, if any: kinds are numbered in the order of the stages.
    pub(super) fn expects(&self) -> Option<u8> {
        match self {
            Self::Hello { .. } => Some(0),
            Self::Offline { .. } => Some(1),
            Self::Voting { .. } => Some(2),
            Self::Combining { .. } => Some(3),
            Self::PersistingVote { .. }
            | Self::PersistingRelease { .. }
            | Self::PersistingResult { .. }
            | Self::Ended => None,
        }
    }

    /// Whether a message is for an earlier stage, this one, or a later one.
    pub(super) fn order_of(&self, message: &Message) -> Ordering {
        // While a step is being written, the next kind of message is early, not out of turn.
        let at: (u8, bool) = match self {
            Self::Hello { .. } => (0, true),
            Self::Offline { .. } => (1, true),
            Self::PersistingVote { .. } => (2, false),
            Self::Voting { .. } => (2, true),
            Self::PersistingRelease { .. } => (3, false),
            Self::Combining { .. } => (3, true),
            Self::PersistingResult { .. } | Self::Ended => (4, false),
        };
        match kind(message).cmp(&at.0) {
            Ordering::Equal if !at.1 => Ordering::Greater,
            other => other,
        }
    }
}

fn kind(message: &Message) -> u8 {
    match message {
        Message::Hello { .. } => 0,
        Message::Protocol { .. } => 1,
        Message::Statement(_) | Message::Votes(_) => 2,
        Message::Partial(_) | Message::Abort(_) => 3,
    }
}

/// Messages that came before their stage, bounded for each member.
#[derive(Default)]
pub(super) struct Early(BTreeMap<PartyIndex, VecDeque<Message>>);

impl Early {
    pub(super) fn keep(&mut self, from: PartyIndex, message: Message) -> Result<(), String> {
        let kept = self.0.entry(from).or_default();
        if kept.len() >= EARLY_MAX {
            return Err("too many messages ahead of time".into());
        }
        kept.push_back(message);
        Ok(())
    }

    /// The next kept message of the kind that the stage takes.
    pub(super) fn next_for(&mut self, expected: Option<u8>) -> Option<(PartyIndex, Message)> {
        let expected = expected?;
        self.0.iter_mut().find_map(|(party, kept)| {
            let at = kept.iter().position(|m| kind(m) == expected)?;
            kept.remove(at).map(|m| (*party, m))
        })
    }
}
