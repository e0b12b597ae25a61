//! What this node remembers of lines and what is free of them, kept in memory beside the store: a line in heavy use has
//! thousands of claims, which would otherwise be read for every request at every voter. It only guides: the store decides,
//! in its own transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally_domain::claim::{Claimant, Claims, LineMemory};
use tally_domain::ports::store::{Step, Store, StoreError, Write};
use tally_domain::{Charge, LineId, UnixMillis};
use tally_signer::claims::Room;

/// Most lines that are kept; more, as with a limit for each destination, are read again when they are needed.
const LINES_MAX: usize = 256;

/// Lines that were looked at since the start.
#[derive(Default)]
pub struct Lines(Mutex<HashMap<LineId, Line>>);

/// One of them, with what is free of it once a leader has looked for room.
struct Line {
    memory: LineMemory,
    room: Option<Room>,
}

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
        Ok(look(&known(&mut self.lock(), store, line)?.memory))
    }

    /// Looks at what is free of a line at a time.
    ///
    /// # Errors
    /// When the store does not read.
    pub fn room<T>(
        &self,
        store: &dyn Store,
        charge: &Charge,
        at: UnixMillis,
        look: impl FnOnce(&LineMemory, &mut Room) -> T,
    ) -> Result<T, StoreError> {
        let mut lines = self.lock();
        let Line { memory, room } = known(&mut lines, store, charge.line)?;
        let mut free =
            room.take().filter(|room| room.is_of(charge, at)).unwrap_or_else(|| Room::of(memory, charge, at));
        free.advance(memory, at);
        Ok(look(memory, room.insert(free)))
    }

    /// Notes what a step has taken.
    pub fn note(&self, taking: Taking) {
        let mut lines = self.lock();
        for (by, claims) in taking.0 {
            for claim in claims.lines() {
                let Some(Line { memory, room }) = lines.get_mut(&claim.line()) else { continue };
                match memory.consider(&by, claim, claims.issued_at()) {
                    Ok(voted) => {
                        memory.keep(voted.clone(), claim.window_ms());
                        room.iter_mut().for_each(|room| room.note(&voted));
                    }
                    // The store has taken what this would not: whatever the reason, it is read again.
                    Err(_) => drop(lines.remove(&claim.line())),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LineId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line, read under the lock: a claim that is written meanwhile is noted after it, and none is missed.
fn known<'a>(
    lines: &'a mut HashMap<LineId, Line>,
    store: &dyn Store,
    line: LineId,
) -> Result<&'a mut Line, StoreError> {
    if lines.len() >= LINES_MAX && !lines.contains_key(&line) {
        lines.clear();
    }
    Ok(match lines.entry(line) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(Line { memory: store.line(&line)?, room: None }),
    })
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
