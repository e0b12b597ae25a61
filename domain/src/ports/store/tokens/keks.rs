//! KEKs of token domains, and keys whose end is decided.

use crate::kek::KekNumber;
use crate::ports::hsm::{IndexKeyId, KekId};
use crate::time::UnixMillis;
use crate::token::VersionState;

/// What a KEK does with data keys, and so where they can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KekKind {
    /// Encrypts data keys that the node may hold for a while (KEK-E).
    Sealing,
    /// Wraps data keys that stay in the token (KEK-W).
    Wrapping,
}

/// A KEK on the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainKek {
    /// Its name there.
    pub object: KekId,
    /// What it does.
    pub kind: KekKind,
}

/// A version of a domain's KEK as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainKekRow {
    /// Which.
    pub number: KekNumber,
    /// The key.
    pub kek: DomainKek,
    /// What it does.
    pub state: VersionState,
    /// Data keys that are under it.
    pub data_keys: u64,
    /// When it was made.
    pub made_at: UnixMillis,
}

/// A key that the token is to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoomedKey {
    /// A KEK.
    Kek(DomainKek),
    /// A blind-index key.
    Index(IndexKeyId),
}
