//! Why a store does not do it.

use super::tokens;
use crate::claim::Excluded;
use crate::freeze::{FreezeName, Scope};
use crate::ids::PersonName;
use crate::limit::LineId;

/// A write did not fit what is stored; nothing of the step was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The request id names another intent.
    #[error("the request id names another intent")]
    RequestDigest,
    /// The request was never claimed here.
    #[error("the request was never claimed")]
    NoRequest,
    /// Another vote was given for the attempt.
    #[error("another vote was given for the attempt")]
    Voted,
    /// No vote was given for the attempt.
    #[error("no vote was given for the attempt")]
    NotVoted,
    /// A partial signature was released.
    #[error("a partial signature was released for the attempt")]
    Released,
    /// The attempt was abandoned.
    #[error("the attempt was abandoned")]
    Abandoned,
    /// The request has another result.
    #[error("the request has another result")]
    Completed,
    /// The name is taken.
    #[error("the key name is taken")]
    KeyExists,
    /// There is no such key, or its record is another.
    #[error("there is no such key with that record")]
    NoKey,
    /// The KEK's versions do not go on with this one.
    #[error("the KEK's versions do not go on with this one")]
    KekVersion,
    /// The KEK's version is in another state.
    #[error("the KEK's version is in another state")]
    KekState,
    /// A freeze in force covers the key.
    #[error("freeze {0} stops {1}")]
    Frozen(FreezeName, Scope),
    /// A person has rejected the request.
    #[error("{0} has rejected the request")]
    Rejected(PersonName),
    /// The client has taken the request back.
    #[error("its client has cancelled the request")]
    Cancelled,
    /// Another bundle is the active one.
    #[error("another bundle is the active one")]
    OtherBundle,
    /// Another bundle has that number.
    #[error("another bundle has that number")]
    BundleForked,
    /// The bundle has been vetoed.
    #[error("the bundle has been vetoed")]
    BundleVetoed,
    /// A counter would go back.
    #[error("a counter would go back")]
    Backwards,
    /// This node cannot vote for the claim any more.
    #[error("the claim on line {}: {why}", .line.0)]
    Claim {
        /// On which line.
        line: LineId,
        /// Why.
        why: Excluded,
    },
}

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The caller's write does not fit.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The caller's write to the vault does not fit.
    #[error(transparent)]
    Vault(#[from] tokens::VaultConflict),
    /// The disk or engine fails; nothing of the step was kept. `full` when there is no room.
    #[error("the store cannot write: {what}")]
    Unavailable {
        /// For the operator.
        what: String,
    },
    /// What is stored cannot be what was stored.
    #[error("stored data is damaged: {what}")]
    Damaged {
        /// Which table and row.
        what: String,
    },
}
