//! What this node remembers of lines, kept in memory beside the store: a line in heavy use has thousands of claims, which
//! would otherwise be read for every request at every voter. It only guides: the store decides, in its own transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally_domain::LineId;
use tally_domain::claim::{Claimant, Claims, LineMemory};
use tally_domain::ports::store::{Step, Store, StoreError, Write};

/// Most lines that are kept; more, as with a limit for each destination, are read again when they are needed.
const LINES_MAX: usize = 256;

/// Lines that were looked at since the start.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<LineId, LineMemory>>);

/// What a step takes of lines, to be noted once it is durable.
pub struct Taking(Vec<(Claimant, Claims)>);

impl Lines {
    /// Looks at what is remembered of a line.
    ///
    /// # Errors
    /// When the store does not read.
    pub fn look<T>(
        &self,
        store: &dyn Store,
        line: LineId,
        look: impl FnOnce(&LineMemory) -> T,
    ) -> Result<T, StoreError> {
        // Read under the lock: a claim that is written meanwhile is noted after it, and none is missed.
        let mut lines = self.lock();
        if lines.len() >= LINES_MAX && !lines.contains_key(&line) {
            lines.clear();
        }
        let memory = match lines.entry(line) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(store.line(&line)?),
        };
        Ok(look(memory))
    }

    /// Notes what a step has taken.
    pub fn note(&self, taking: Taking) {
        let mut lines = self.lock();
        for (by, claims) in taking.0 {
            for claim in claims.lines() {
                let Some(memory) = lines.get_mut(&claim.line()) else { continue };
                match memory.consider(&by, claim, claims.issued_at()) {
                    Ok(voted) => memory.keep(voted, claim.window_ms()),
                    // The store has taken what this would not: whatever the reason, it is read again.
                    Err(_) => drop(lines.remove(&claim.line())),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LineId, LineMemory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taking {
    /// What a step takes.
    pub fn of(step: &Step) -> Self {
        let claims = step.writes.iter().filter_map(|write| match write {
            Write::Claim { by, claims } => Some((by.clone(), claims.clone())),
            _ => None,
        });
        Self(claims.collect())
    }
}
