//! The time that an operation has.

use crate::fault::{Class, Fault};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::HsmError;

/// One operation's turn at a desk.
#[derive(Clone, Copy)]
pub struct Turn {
    /// What is done, for errors.
    pub operation: &'static str,
    /// When its caller has been told that it is late.
    pub due: Instant,
}

impl Turn {
    /// A turn that ends `after` now.
    pub fn new(operation: &'static str, after: Duration) -> Self {
        Self { operation, due: Instant::now() + after }
    }

    /// No time is left.
    pub fn late(&self) -> Fault {
        Fault { class: Class::Late, error: HsmError::Deadline { operation: self.operation, started: false } }
    }
}

/// Waits for a change until `due`; `None` if it is past.
pub fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>, due: Instant) -> Option<MutexGuard<'a, T>> {
    let left = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0)
}
