//! Which node signs or wraps with which key, as far as this client has been told: keys in an HSM have one home.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tally_domain::KeyName;

/// Most keys to remember the home of. Forgetting one costs one call more.
const REMEMBERED_MAX: usize = 1_024;

/// Endpoints by key; shared by the clones of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes(Arc<Mutex<HashMap<KeyName, Arc<str>>>>);

impl Homes {
    /// The endpoint that last answered for the key.
    pub(crate) fn of(&self, key: &KeyName) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Remembers the endpoint that answered for the key.
    pub(crate) fn note(&self, key: &KeyName, endpoint: &Arc<str>) {
        let mut homes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() >= REMEMBERED_MAX {
            homes.clear();
        }
        homes.insert(key.clone(), endpoint.clone());
    }
}
