//! Pieces of lines that this node is about to vote for. Any two signer sets share a node: there, two requests that want one
//! piece at the same time meet before anyone has voted, and neither leaves a hole behind. A hold is in memory, for as long
//! as its session; it is a courtesy among leaders, and no vote rests on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally_domain::claim::Claimant;
use tally_domain::{Claims, Interval, LineId};

/// Who holds which piece.
type Held = HashMap<LineId, Vec<(Claimant, Interval)>>;

/// All pieces that sessions of this node hold: at most those of as many requests as it has sessions.
#[derive(Default)]
pub struct Holds(Mutex<Held>);

/// What one session holds; given back on drop.
pub struct Hold {
    holds: Arc<Holds>,
    by: Claimant,
    lines: Vec<LineId>,
}

impl Holds {
    /// Holds what is claimed, unless another request holds a part of it.
    pub fn take(self: &Arc<Self>, by: &Claimant, claims: Option<&Claims>) -> Option<Hold> {
        self.place(by, |held| {
            let free = claims.is_none_or(|claims| {
                claims.lines().iter().all(|l| l.intervals().iter().all(|i| !held.of(l.line()).any(|h| h.overlaps(*i))))
            });
            free.then(|| claims.cloned())
        })
        .map(|(_, hold)| hold)
    }

    /// Holds what `place` finds between what others hold; nobody else takes anything meanwhile.
    pub fn place(
        self: &Arc<Self>,
        by: &Claimant,
        place: impl FnOnce(&Others<'_>) -> Option<Option<Claims>>,
    ) -> Option<(Option<Claims>, Hold)> {
        let mut held = self.lock();
        let claims = place(&Others { by, held: &held })?;
        let lines = claims.as_ref().map(Claims::lines).unwrap_or_default();
        for line in lines {
            let pieces = line.intervals().iter().map(|i| (by.clone(), *i));
            held.entry(line.line()).or_default().extend(pieces);
        }
        let lines = lines.iter().map(tally_domain::LineClaim::line).collect();
        Some((claims, Hold { holds: self.clone(), by: by.clone(), lines }))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What requests other than one hold.
pub struct Others<'a> {
    by: &'a Claimant,
    held: &'a Held,
}

impl Others<'_> {
    /// Pieces of a line.
    pub fn of(&self, line: LineId) -> impl Iterator<Item = Interval> {
        let pieces = self.held.get(&line).into_iter().flatten();
        pieces.filter(|(by, _)| by != self.by).map(|(_, piece)| *piece)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.lock();
        for line in &self.lines {
            if let Some(pieces) = held.get_mut(line) {
                pieces.retain(|(by, _)| *by != self.by);
                if pieces.is_empty() {
                    held.remove(line);
                }
            }
        }
    }
}
