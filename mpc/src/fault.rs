//! What goes wrong, split by whose fault it is. The class decides what the caller does; the rest is for the log.

use tally_domain::PartyIndex;

/// Why a protocol step failed. Every fault but [`Fault::Caller`] ends the session: start a new one with fresh nonces (S-3.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The caller passed what does not fit. The machine is as it was before the call.
    #[error("the call does not fit the session: {what:?}")]
    Caller {
        /// What does not fit.
        what: Misuse,
    },
    /// A check that no honest party can fail did fail. The caller bans `culprit` for the key, durably, before anything
    /// observable leaves the node (S-3.14, S-3.15): a failed OT check leaks about our long-lived OT secrets.
    #[error("party {culprit} cheated in round {round}: {what:?}")]
    Malicious {
        /// Who cheated.
        culprit: PartyIndex,
        /// Round in which it showed.
        round: u8,
        /// The check that failed.
        what: Cheat,
    },
    /// A message is not one of the protocol at this point. No ban: nothing secret was used in noticing it.
    #[error("party {culprit} broke the protocol in round {round}: {what:?}")]
    Violation {
        /// Who sent it.
        culprit: PartyIndex,
        /// Round in which we were.
        round: u8,
        /// What is wrong with it.
        what: BadMessage,
    },
    /// The parties disagree, and it cannot be told who is wrong. A new session may succeed.
    #[error("the parties disagree in round {round}: {what:?}")]
    Mismatch {
        /// Round in which it showed.
        round: u8,
        /// What they disagree on.
        what: Disagreement,
    },
    /// Ours.
    #[error("the protocol code is wrong: {what}")]
    Bug {
        /// Where.
        what: &'static str,
    },
}

/// What a caller did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The party does not take part in this session, or is this node itself.
    NotAMember(PartyIndex),
    /// This node's index is not among the key's share-holders or the signers.
    NotASigner,
    /// The machine is done or has failed.
    Ended,
    /// Another share, key or signer set than the session began with.
    OtherKey,
    /// The stored share does not decode or is not consistent in itself.
    BadShare,
    /// The public key or a public share is not a canonical point of the scheme.
    BadPublicKey,
    /// There is no child at this index (probability below 2^-127).
    NoSuchChild,
    /// Only outputs of Taproot keys commit to scripts.
    Scripts,
    /// ECDSA and Taproot keys sign exactly 32 bytes.
    DigestLength,
    /// The partials are not those of exactly S.
    NotAllOfS,
}

/// A check that only a cheater fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cheat {
    /// OT extension or multiplication check: the one that leaks, for which DKLs23 demands a permanent ban.
    Multiplication,
    /// A proof of knowledge does not verify.
    Proof,
    /// What was revealed is not what was committed to.
    Opening,
    /// A secret share is not on the committed polynomial.
    SecretShare,
    /// A partial signature does not verify under the party's public share.
    Partial,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMessage {
    /// Longer than the protocol's messages can be.
    Oversized,
    /// Not canonical, trailing bytes, a vector of a wrong length, or a point or scalar that is none.
    Malformed,
    /// Another version of the format.
    Version,
    /// For a round that is over or too far ahead.
    OutOfTurn,
    /// A second one of the same round.
    Duplicate,
    /// Made for another session, sender or receiver.
    OtherSession,
    /// Names a sender or receiver inside that the channel contradicts.
    OtherParty,
}

/// What the parties do not agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// What was broadcast in the round before: someone sent two versions, and it cannot be told who.
    Broadcast,
    /// What the session is about.
    Session,
    /// The public key: the shares are not of one polynomial.
    PublicKey,
    /// What is being signed or the one-time material it is signed with.
    Input,
    /// The combined signature does not verify and no single part can be blamed.
    Signature,
}

impl Fault {
    /// Whom the caller bans for this key, durably, before it answers anyone (S-3.15).
    pub fn bans(&self) -> Option<PartyIndex> {
        match self {
            Self::Malicious { culprit, .. } => Some(*culprit),
            Self::Caller { .. } | Self::Violation { .. } | Self::Mismatch { .. } | Self::Bug { .. } => None,
        }
    }

    /// Whose fault it is, banned or not: a retry leaves this party out if it can (S-3.18).
    pub fn culprit(&self) -> Option<PartyIndex> {
        match self {
            Self::Malicious { culprit, .. } | Self::Violation { culprit, .. } => Some(*culprit),
            Self::Caller { .. } | Self::Mismatch { .. } | Self::Bug { .. } => None,
        }
    }

    pub(crate) fn caller(what: Misuse) -> Self {
        Self::Caller { what }
    }
}
