//! What can be wrong about freezes.

use super::Witness;
use tally_domain::boot::BadStatement;
use tally_domain::{FreezeName, KekNumber, KeyName, NodeName, RequestId};

/// What is wrong about a freeze, or in spite of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeProblem {
    /// A statement is not believed.
    #[error("the statement about freezes is not believed: {0}")]
    Statement(BadStatement),
    /// Lifted by fewer than a majority, or by different words.
    #[error("freezes were lifted without the same words of a majority of nodes: {0}")]
    NoMajority(BadStatement),
    /// The node used a key after it had written down that it is frozen.
    #[error("request {request} was served with key {key} while freeze {freeze} was in force here")]
    UsedWhileFrozen {
        /// The request.
        request: RequestId,
        /// The key.
        key: KeyName,
        /// The freeze.
        freeze: FreezeName,
    },
    /// The node went on with the end of a KEK's version after it had written down that the KEK is frozen.
    #[error("version {number} of KEK {kek} was destroyed, or about to be, while freeze {freeze} was in force here")]
    DestroyedWhileFrozen {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
        /// The freeze.
        freeze: FreezeName,
    },
    /// This node's own word, for which it had permitted no intent.
    #[error("this node froze, or wanted freezes lifted, without having permitted an intent that asks for just that")]
    NotPermitted,
    /// Another node's word where only its own belongs.
    #[error("the word that freezes shall be lifted is {by}'s, not this node's")]
    NotItsOwn {
        /// Whose.
        by: NodeName,
    },
    /// The node gave its word about freezes, but its own log, which goes on after that, does not hold it.
    #[error(
        "{by} gave its word about freezes, as {shown_by} shows, but its own log does not hold it; leaves were removed"
    )]
    WordRemoved {
        /// Who.
        by: NodeName,
        /// Where its word is.
        shown_by: Witness,
    },
    /// The log ends before a word that the node gave, while others go on for long after it.
    #[error(
        "the log ends before {by}'s word about freezes, as {shown_by} shows it; its end was cut, or it is an older export"
    )]
    EndsEarly {
        /// Who.
        by: NodeName,
        /// Where its word is.
        shown_by: Witness,
    },
}
