//! Versions of a domain's keys: when one is full, and when one may go.

use tally_domain::token::{DataKeyNumber, VersionState};

pub use tally_domain::ports::store::tokens::DATA_KEY_SEALS_MAX as SEALS_MAX;

/// Percent of [`SEALS_MAX`] from which a rotation is due.
const ROTATE_PERCENT: u64 = 75;

/// A version of a data key, and what depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyVersion {
    /// Which.
    pub number: DataKeyNumber,
    /// What it does.
    pub state: VersionState,
    /// Encryptions so far, those of rows that are gone included.
    pub sealed: u64,
    /// Tokens whose card number is under it.
    pub tokens: u64,
}

/// What depends on a key that somebody wants to retire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dependents {
    /// Tokens under a data key.
    pub tokens: u64,
    /// Data keys under a KEK.
    pub data_keys: u64,
}

/// A key may be destroyed: nothing depends on it. Only [`Dependents::none`] gives one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Retirable(());

/// Why a key is not retired, or not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Something would be lost.
    #[error("{tokens} tokens and {data_keys} data keys still depend on the key; finish the rotation first", tokens = .0.tokens, data_keys = .0.data_keys)]
    StillNeeded(Dependents),
    /// It is the one in use.
    #[error("the key is the current one; rotate first")]
    Current,
    /// It has encrypted as often as it may.
    #[error("the data key has been used as often as is safe; rotate it")]
    Spent,
    /// It is not the one in use.
    #[error("the data key is not the current one; seal under the current one")]
    Previous,
    /// It is gone.
    #[error("the key is destroyed")]
    Destroyed,
}

impl Dependents {
    /// Nothing depends on the key.
    ///
    /// # Errors
    /// [`KeyRefusal::StillNeeded`].
    pub fn none(self) -> Result<Retirable, KeyRefusal> {
        if self == Self::default() { Ok(Retirable(())) } else { Err(KeyRefusal::StillNeeded(self)) }
    }
}

impl DataKeyVersion {
    /// Whether it may be destroyed.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn retire(self) -> Result<Retirable, KeyRefusal> {
        match self.state {
            VersionState::Current | VersionState::Filling => Err(KeyRefusal::Current),
            VersionState::Destroyed => Err(KeyRefusal::Destroyed),
            VersionState::Previous => Dependents { tokens: self.tokens, data_keys: 0 }.none(),
        }
    }

    /// Whether it may encrypt so many rows more.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn seal(self, rows: u64) -> Result<(), KeyRefusal> {
        match self.state {
            VersionState::Current if self.sealed.saturating_add(rows) <= SEALS_MAX => Ok(()),
            VersionState::Current => Err(KeyRefusal::Spent),
            VersionState::Previous | VersionState::Filling => Err(KeyRefusal::Previous),
            VersionState::Destroyed => Err(KeyRefusal::Destroyed),
        }
    }

    /// Whether it should be rotated soon.
    pub fn is_worn(self) -> bool {
        self.sealed >= SEALS_MAX / 100 * ROTATE_PERCENT
    }
}
