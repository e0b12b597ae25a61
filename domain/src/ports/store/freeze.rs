//! Writes and rows of freezes.

use super::StoreError;
use crate::digest::Digest;
use crate::freeze::{FreezeName, Scope};
use crate::ids::KeyName;
use crate::time::UnixMillis;
use std::collections::BTreeSet;

/// One write about freezes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FreezeWrite {
    /// A freeze, of this or another node. One that is known already, in force or lifted, stays what it is.
    Put {
        /// Which.
        name: FreezeName,
        /// What it stops.
        scope: Scope,
        /// Encoded statement of the node that made it.
        statement: Vec<u8>,
        /// When this node wrote it down.
        at: UnixMillis,
    },
    /// A majority has lifted freezes; those that this node has not heard of never freeze either.
    Lift {
        /// Digest of the intent that asked for it; again with the same: the first certificate stays.
        intent: Digest,
        /// Which.
        lifts: BTreeSet<FreezeName>,
        /// Encoded certificate.
        certificate: Vec<u8>,
        /// When this node wrote it down.
        at: UnixMillis,
    },
    /// Writes nothing: the step needs that no freeze in force covers the key. Otherwise [`super::Conflict::Frozen`].
    Unfrozen {
        /// The key.
        key: KeyName,
    },
}

/// A freeze as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeRow {
    /// Which.
    pub name: FreezeName,
    /// Where it stands.
    pub state: FreezeState,
}

/// Where a freeze stands at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FreezeState {
    /// It stops what it covers.
    InForce {
        /// What it covers.
        scope: Scope,
        /// Encoded statement of the node that made it.
        statement: Vec<u8>,
    },
    /// It never freezes again.
    Lifted,
}

/// That freezes were lifted, as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfreezeRow {
    /// Digest of the intent that asked for it.
    pub intent: Digest,
    /// Encoded certificate.
    pub certificate: Vec<u8>,
}

/// What a store remembers of freezes.
pub trait Freezes {
    /// All freezes, by who made them and their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    fn freezes(&self) -> Result<Vec<FreezeRow>, StoreError>;

    /// All certificates that lifted freezes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn unfreezes(&self) -> Result<Vec<UnfreezeRow>, StoreError>;
}
