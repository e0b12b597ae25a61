//! Notices who feels their way along card numbers: with BIN and last four known, a hundred thousand guesses find the rest.

use crate::pan::Pan;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::digest::TaggedHash;
use tally_domain::{ClientId, SecretBytes, UnixMillis};

/// Card numbers of one BIN and last four that a client may ask about in [`WINDOW_MS`]. A merchant with a million cards of
/// one BIN has a hundred of them in all; a hundred thousand guesses take seven months.
pub const DISTINCT_MAX: usize = 20;

/// An hour: long enough that waiting it out is no way around.
pub const WINDOW_MS: u64 = 3_600_000;

/// Most (client, BIN, last four) that are remembered: some 30 MB at worst.
pub const PLACES_MAX: usize = 100_000;

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// Different card numbers of one BIN and last four, for a client.
    pub distinct_max: usize,
    /// Within this time.
    pub window_ms: u64,
    /// (client, BIN, last four) to remember.
    pub places_max: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self { distinct_max: DISTINCT_MAX, window_ms: WINDOW_MS, places_max: PLACES_MAX }
    }
}

/// The client has asked about too many neighbouring card numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many different card numbers with the same first six and last four digits; wait, or ask an administrator")]
pub struct Guarded {
    /// From when one more is allowed.
    pub retry_at: UnixMillis,
}

/// Remembers what clients asked about. Card numbers are kept as hashes under a secret that only this process has.
pub struct Guard {
    limits: GuardLimits,
    secret: SecretBytes,
    places: BTreeMap<Place, Vec<Seen>>,
    /// Which place to forget first: one with the fewest card numbers, and of those the one longest unasked. Somebody who
    /// wants their own place forgotten has to fill all others to the same height.
    order: BTreeSet<(usize, UnixMillis, Place)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    client: ClientId,
    kept: String,
}

struct Seen {
    mark: [u8; 8],
    at: UnixMillis,
}

impl Guard {
    /// Starts with nothing seen. `secret` is drawn for this process, and never stored.
    pub fn new(limits: GuardLimits, secret: SecretBytes) -> Self {
        Self { limits, secret, places: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// A client asks about a card number. One that it asked about within the window costs nothing.
    ///
    /// # Errors
    /// [`Guarded`]; the question is not to be answered then, and does not count.
    pub fn ask(&mut self, client: &ClientId, pan: &Pan, now: UnixMillis) -> Result<(), Guarded> {
        let place = Place { client: client.clone(), kept: pan.first(6) + &pan.last() };
        let mark = self.mark(pan);
        let mut seen = self.take(&place);
        seen.retain(|s| s.at.plus(self.limits.window_ms) > now);
        let answer = if let Some(known) = seen.iter_mut().find(|s| s.mark == mark) {
            known.at = known.at.max(now);
            Ok(())
        } else if seen.len() < self.limits.distinct_max {
            seen.push(Seen { mark, at: now });
            Ok(())
        } else {
            let oldest = seen.iter().map(|s| s.at).min().unwrap_or(now);
            Err(Guarded { retry_at: oldest.plus(self.limits.window_ms) })
        };
        self.put(place, seen);
        answer
    }

    /// How many (client, BIN, last four) are remembered.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    fn mark(&self, pan: &Pan) -> [u8; 8] {
        let hash = TaggedHash::new("tally/v1/guard").field(self.secret.expose()).field(pan.expose()).finish();
        let mut mark = [0; 8];
        mark.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
        mark
    }

    fn take(&mut self, place: &Place) -> Vec<Seen> {
        let seen = self.places.remove(place).unwrap_or_default();
        self.order.remove(&rank(place.clone(), &seen));
        seen
    }

    fn put(&mut self, place: Place, seen: Vec<Seen>) {
        self.order.insert(rank(place.clone(), &seen));
        self.places.insert(place, seen);
        while self.places.len() > self.limits.places_max {
            let Some((.., least)) = self.order.pop_first() else { break };
            self.places.remove(&least);
        }
    }
}

fn rank(place: Place, seen: &[Seen]) -> (usize, UnixMillis, Place) {
    (seen.len(), seen.iter().map(|s| s.at).max().unwrap_or(UnixMillis(0)), place)
}
