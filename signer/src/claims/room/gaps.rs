//! The gaps of a line by place and by size, and the few of them that a search needs.

use super::{joined, union, without};
use rand_core::Rng;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::Interval;

/// Gaps of each kind that a search is given: the largest, those at the beginning of its part, and those behind a place that
/// is drawn. Many more than a claim has pieces, so that leaders who draw among them seldom meet.
const CHOICE: usize = 64;

/// Most gaps that are looked at for those: more than are touched by what is held for now and what voters have said, unless
/// a voter says much that is of no use.
const LOOKED_AT_MAX: usize = 8192;

/// What is free of a line, in pieces that do not touch.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    max: u128,
    by_place: BTreeMap<u128, u128>,
    by_size: BTreeSet<(u128, u128)>,
}

impl Gaps {
    /// A whole line of this length.
    pub(super) fn of(max: u128) -> Self {
        let mut gaps = Self { max, by_place: BTreeMap::new(), by_size: BTreeSet::new() };
        Interval::new(0, max).into_iter().for_each(|line| gaps.insert(line));
        gaps
    }

    /// Takes what is free of a piece.
    pub(super) fn take(&mut self, piece: Interval) {
        while let Some(gap) = self.last_before(piece.to()).filter(|gap| gap.overlaps(piece)) {
            self.remove(gap);
            without(gap, &[piece]).into_iter().for_each(|left| self.insert(left));
        }
    }

    /// Gives a piece back, as far as it is on the line.
    pub(super) fn give(&mut self, piece: Interval) {
        let Some(mut free) = Interval::new(piece.from(), piece.to().min(self.max)) else { return };
        // What begins where the piece ends touches it too.
        while let Some(gap) = self.last_before(free.to().saturating_add(1)).filter(|gap| gap.to() >= free.from()) {
            self.remove(gap);
            free = union(free, gap);
        }
        self.insert(free);
    }

    /// Units of so many of the largest gaps.
    pub(super) fn largest(&self, count: usize) -> u128 {
        self.by_size.iter().rev().take(count).fold(0, |sum, (units, _)| sum.saturating_add(*units))
    }

    /// Gaps to choose from beside what is taken for now, with these pieces free too; among them, whatever is beside, the
    /// largest that there are.
    pub(super) fn some<R: Rng>(
        &self,
        free: &[Interval],
        beside: &[Interval],
        begin: Option<Interval>,
        rng: &mut R,
    ) -> Vec<Interval> {
        let by_size = self.by_size.iter().rev().filter_map(|(units, from)| piece(*from, *units));
        let mut chosen = choose(by_size, beside);
        match begin {
            Some(part) => chosen.extend(choose(self.from(part.from()), beside)),
            None => {
                let place = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).checked_rem(self.max);
                chosen.extend(choose(self.from(place.unwrap_or(0)), beside));
            }
        }
        for piece in free.iter().filter_map(|piece| Interval::new(piece.from(), piece.to().min(self.max))) {
            // What it touches becomes one gap with it.
            chosen.extend(self.by_place.get(&piece.to()).and_then(|to| Interval::new(piece.to(), *to)));
            chosen.extend(self.last_before(piece.from()).filter(|gap| gap.to() == piece.from()));
            chosen.push(piece);
        }
        joined(chosen).into_iter().flat_map(|gap| without(gap, beside)).collect()
    }

    /// Gaps from the one around this unit on.
    fn from(&self, unit: u128) -> impl Iterator<Item = Interval> {
        let first = self.last_before(unit.saturating_add(1)).map_or(unit, Interval::from);
        self.by_place.range(first..).filter_map(|(from, to)| Interval::new(*from, *to))
    }

    /// The last gap that begins before this unit.
    fn last_before(&self, unit: u128) -> Option<Interval> {
        self.by_place.range(..unit).next_back().and_then(|(from, to)| Interval::new(*from, *to))
    }

    fn insert(&mut self, gap: Interval) {
        self.by_place.insert(gap.from(), gap.to());
        self.by_size.insert((gap.units(), gap.from()));
    }

    fn remove(&mut self, gap: Interval) {
        self.by_place.remove(&gap.from());
        self.by_size.remove(&(gap.units(), gap.from()));
    }
}

/// The first gaps, until enough of them are whole beside what is taken.
fn choose(gaps: impl Iterator<Item = Interval>, beside: &[Interval]) -> Vec<Interval> {
    let mut whole = 0;
    let enough = |gap: &Interval| {
        let before = whole;
        whole += usize::from(without(*gap, beside) == [*gap]);
        before < CHOICE
    };
    gaps.take(LOOKED_AT_MAX).take_while(enough).collect()
}

fn piece(from: u128, units: u128) -> Option<Interval> {
    Interval::new(from, from.checked_add(units)?)
}
