//! Which endpoints have said that they are witnesses, which sign nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Endpoints, shared by the clones of a client; as many as its profile has at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witnesses(Arc<Mutex<BTreeSet<Arc<str>>>>);

impl Witnesses {
    /// Whether this one has said so.
    pub(crate) fn has(&self, endpoint: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(endpoint)
    }

    /// Remembers that this one has said so.
    pub(crate) fn note(&self, endpoint: &Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.clone());
    }
}
