//! When each key last signed, as far as this node knows since its start.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tally_domain::{KeyName, UnixMillis};

/// What a node had to do with a signature.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// It led, or its own token signed.
    Led,
    /// It signed what another led.
    Took,
    /// It was told of the result.
    Heard,
}

impl Part {
    /// For labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Led => "led",
            Self::Took => "took",
            Self::Heard => "heard",
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Signed(RwLock<HashMap<KeyName, UnixMillis>>);

impl Signed {
    /// A key has signed.
    pub fn note(&self, key: &KeyName, at: UnixMillis) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), at);
    }

    /// When a key last signed.
    pub fn last(&self, key: &KeyName) -> Option<UnixMillis> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// When any key last signed.
    pub fn latest(&self) -> Option<UnixMillis> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().copied().max()
    }
}
