//! Remembered claims in three orders: by request, by place on the line and by age. A question about a line then looks at
//! what it is about, however many claims the line holds.

use super::units::{Units, most};
use super::{Claimant, Voted};
use crate::claim::Interval;
use crate::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// Number of a claim in this index.
type Slot = u64;

/// Pieces of like length: what begins further before a place than the longest of them cannot reach it. Those that
/// exclude each other share no unit, so few of a length begin within one length of a place.
type Size = u32;

/// Lengths that differ by no more than this factor's power of two are of one size. Fewer sizes are fewer lookups, more
/// sizes fewer pieces that are looked at in vain.
const BITS_PER_SIZE: u32 = 4;

/// Claims, each once for a request and a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    next: Slot,
    claims: BTreeMap<Slot, Voted>,
    requests: BTreeMap<Claimant, Vec<Slot>>,
    places: BTreeMap<Size, BTreeMap<(u128, Slot), u128>>,
    ages: BTreeSet<(UnixMillis, Slot)>,
    total: Units,
}

impl Index {
    /// All of it, by request and number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Voted> {
        self.requests.values().flatten().filter_map(|slot| self.claims.get(slot))
    }

    /// How many claims there are.
    pub(super) fn len(&self) -> usize {
        self.claims.len()
    }

    /// Claims of a request, by number.
    pub(super) fn of(&self, by: &Claimant) -> impl Iterator<Item = &Voted> + Clone {
        self.requests.get(by).into_iter().flatten().filter_map(|slot| self.claims.get(slot))
    }

    /// Pieces that share a unit with this one.
    pub(super) fn overlapping(&self, piece: Interval) -> impl Iterator<Item = (Interval, &Voted)> {
        self.begun(move |longest| piece.from().saturating_sub(longest), piece.to())
            .filter(move |(other, _)| other.overlaps(piece))
    }

    /// Pieces that begin within this one.
    pub(super) fn within(&self, piece: Interval) -> impl Iterator<Item = (Interval, &Voted)> {
        self.begun(move |_| piece.from(), piece.to())
    }

    /// Pieces that end after this unit.
    pub(super) fn beyond(&self, unit: u128) -> impl Iterator<Item = (Interval, &Voted)> {
        self.begun(move |longest| unit.saturating_sub(longest), u128::MAX).filter(move |(piece, _)| piece.to() > unit)
    }

    /// Pieces that begin before `to` and, of each size, not before what `from` says for the longest of that size.
    fn begun(&self, from: impl Fn(u128) -> u128, to: u128) -> impl Iterator<Item = (Interval, &Voted)> {
        let starts = self.places.iter().flat_map(move |(size, places)| {
            let from = from(longest(*size)).min(to);
            places.range((from, 0)..(to, 0))
        });
        starts.filter_map(|((from, slot), to)| Some((Interval::new(*from, *to)?, self.claims.get(slot)?)))
    }

    /// Claims that were not issued near this time.
    fn apart(&self, at: UnixMillis, horizon_ms: u64) -> impl Iterator<Item = &Voted> {
        let early = self.ages.range(..=(at.minus(horizon_ms), Slot::MAX));
        let late = self.ages.range((at.plus(horizon_ms), 0)..);
        early.chain(late).filter_map(|(_, slot)| self.claims.get(slot)).filter(move |v| !v.is_near(at, horizon_ms))
    }

    /// Units that requests other than this one hold near this time, of each those of its largest claim.
    pub(super) fn held(&self, by: &Claimant, at: UnixMillis, horizon_ms: u64) -> u128 {
        let apart: BTreeSet<&Claimant> =
            self.apart(at, horizon_ms).map(|v| &v.by).filter(|other| *other != by).collect();
        let mut held = self.total.less(most(self.of(by)));
        for other in apart {
            let near = most(self.of(other).filter(|v| v.is_near(at, horizon_ms)));
            held = held.less(most(self.of(other))).and(near);
        }
        held.saturated()
    }

    /// Puts a claim in, in place of the one of the same request and number.
    pub(super) fn put(&mut self, voted: Voted) {
        let before = most(self.of(&voted.by));
        let known = self.requests.get(&voted.by).into_iter().flatten();
        let same = known.copied().find(|slot| self.claims.get(slot).is_some_and(|known| known.nth == voted.nth));
        if let Some(same) = same {
            self.take_out(same);
        }
        let slot = self.next;
        self.next += 1;
        for piece in &voted.intervals {
            self.places.entry(size(*piece)).or_default().insert((piece.from(), slot), piece.to());
        }
        self.ages.insert((voted.last, slot));
        let (by, nth) = (voted.by.clone(), voted.nth);
        self.claims.insert(slot, voted);
        let mut slots = self.requests.remove(&by).unwrap_or_default();
        let at = slots.iter().filter(|slot| self.claims.get(slot).is_some_and(|known| known.nth < nth)).count();
        slots.insert(at, slot);
        self.requests.insert(by.clone(), slots);
        self.total = self.total.less(before).and(most(self.of(&by)));
    }

    /// Drops claims that were last issued before.
    pub(super) fn drop_before(&mut self, time: UnixMillis) {
        while let Some((last, slot)) = self.ages.first().copied()
            && last < time
        {
            let Some(by) = self.claims.get(&slot).map(|voted| voted.by.clone()) else { break };
            let before = most(self.of(&by));
            self.take_out(slot);
            self.total = self.total.less(before).and(most(self.of(&by)));
        }
    }

    /// Takes a claim out of all orders; the total is the caller's.
    fn take_out(&mut self, slot: Slot) {
        let Some(voted) = self.claims.remove(&slot) else { return };
        self.ages.remove(&(voted.last, slot));
        for piece in &voted.intervals {
            if let Some(places) = self.places.get_mut(&size(*piece)) {
                places.remove(&(piece.from(), slot));
                if places.is_empty() {
                    self.places.remove(&size(*piece));
                }
            }
        }
        if let Some(slots) = self.requests.get_mut(&voted.by) {
            slots.retain(|known| *known != slot);
            if slots.is_empty() {
                self.requests.remove(&voted.by);
            }
        }
    }
}

fn size(piece: Interval) -> Size {
    piece.units().checked_ilog2().unwrap_or(0) / BITS_PER_SIZE
}

/// The longest piece of a size, and one more.
fn longest(size: Size) -> u128 {
    1_u128.checked_shl((size + 1) * BITS_PER_SIZE).unwrap_or(u128::MAX)
}
