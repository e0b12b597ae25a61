//! [`HsmError`] on the wire.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tally_domain::ports::hsm::HsmError;

/// Different names of operations that are kept. There are some fifty; more are not ours.
const NAMES_MAX: usize = 200;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// [`HsmError`], field by field.
#[derive(Serialize, Deserialize)]
pub enum WireError {
    Integrity,
    KeyNotFound { what: String },
    KeyExists { what: String },
    Configuration { what: String },
    PinRefused,
    Device { operation: String, code: String },
    Deadline { operation: String, started: bool },
    Down { why: String },
    Busy,
    NotOffered { what: String },
}

impl From<&HsmError> for WireError {
    fn from(error: &HsmError) -> Self {
        match error.clone() {
            HsmError::Integrity => Self::Integrity,
            HsmError::KeyNotFound { what } => Self::KeyNotFound { what },
            HsmError::KeyExists { what } => Self::KeyExists { what },
            HsmError::Configuration { what } => Self::Configuration { what },
            HsmError::PinRefused => Self::PinRefused,
            HsmError::Device { operation, code } => Self::Device { operation: operation.into(), code },
            HsmError::Deadline { operation, started } => Self::Deadline { operation: operation.into(), started },
            HsmError::Down { why } => Self::Down { why },
            HsmError::Busy => Self::Busy,
            HsmError::NotOffered { what } => Self::NotOffered { what },
        }
    }
}

impl From<WireError> for HsmError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Integrity => Self::Integrity,
            WireError::KeyNotFound { what } => Self::KeyNotFound { what },
            WireError::KeyExists { what } => Self::KeyExists { what },
            WireError::Configuration { what } => Self::Configuration { what },
            WireError::PinRefused => Self::PinRefused,
            WireError::Device { operation, code } => Self::Device { operation: name(&operation), code },
            WireError::Deadline { operation, started } => Self::Deadline { operation: name(&operation), started },
            WireError::Down { why } => Self::Down { why },
            WireError::Busy => Self::Busy,
            WireError::NotOffered { what } => Self::NotOffered { what },
        }
    }
}

/// The name for as long as the program runs: errors carry names that are written in it.
pub fn name(given: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(given) {
        return known;
    }
    if names.len() >= NAMES_MAX {
        return "an operation";
    }
    let kept: &'static str = Box::leak(given.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}
