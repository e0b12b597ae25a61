//! Writes and rows of KEK versions; only their home has any.

use crate::ids::KeyName;
use crate::kek::{KekNumber, KekState, KekVersion};
use crate::time::UnixMillis;

/// One write about a version of a KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KekWrite {
    /// A version that the token has made. Its number must be the next, and its key no other version's: otherwise
    /// [`super::Conflict::KekVersion`].
    Put {
        /// The KEK.
        kek: KeyName,
        /// The version.
        version: KekVersion,
        /// Its key under the transfer key of the node's two tokens, if it has two.
        transfer: Option<Vec<u8>>,
    },
    /// A version's next state. It must be in the state `from`: otherwise [`super::Conflict::KekState`].
    Change {
        /// The KEK.
        kek: KeyName,
        /// Which version.
        number: KekNumber,
        /// What it is.
        from: KekState,
        /// What it becomes.
        to: KekState,
        /// When.
        at: UnixMillis,
    },
    /// A version was used. It must be enabled: otherwise [`super::Conflict::KekState`].
    Use {
        /// The KEK.
        kek: KeyName,
        /// Which version.
        number: KekNumber,
        /// Whether it has wrapped something; that is counted.
        wrapped: bool,
    },
}

/// A version of a KEK as its home knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekVersionRow {
    /// The KEK.
    pub kek: KeyName,
    /// The version.
    pub version: KekVersion,
    /// Its key under the transfer key of the node's two tokens, if it has two.
    pub transfer: Option<Vec<u8>>,
    /// How many things it has wrapped.
    pub wraps: u64,
}
