//! What is free of a line, as one leader sees it: kept up to date claim by claim, so that a search for room costs the same
//! on a line with ten claims and on one with a hundred thousand. Nothing here is trusted: voters check by themselves.

mod gaps;

use gaps::Gaps;
use rand_core::Rng;
use std::collections::BTreeSet;
use tally_domain::claim::{Claimant, INTERVALS_MAX, ISSUED_AT_TOLERANCE_MS, LineMemory, Voted, horizon_ms};
use tally_domain::{Charge, Interval, LineClaim, UnixMillis};

/// Moments at which something comes free that are looked at to say when there is room: what needs more of them has to
/// wait at least as long, and a caller is told so after a millisecond.
const WAITS_MAX: usize = 1024;

/// What one request looks for on one line.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// What it is charged.
    pub charge: &'a Charge,
    /// The part of the line to look at first.
    pub begin: Option<Interval>,
    /// What others hold, as voters have said.
    pub hints: &'a [Interval],
}

/// What is seen of one line for one request.
#[derive(Debug, Clone)]
pub struct Seen {
    gaps: Vec<Interval>,
    kept: Option<Vec<Interval>>,
    overdrawn: bool,
}

impl Seen {
    /// Gaps to choose from, ascending: all of a line that has few, and of any line those of which one or eight have room,
    /// if any have.
    pub fn gaps(&self) -> &[Interval] {
        &self.gaps
    }

    /// What an earlier attempt holds, unless the charge has changed or somebody is in the way by now.
    pub fn kept(&self) -> Option<&[Interval]> {
        self.kept.as_deref()
    }

    /// Whether the limit was lowered below what others hold and this charge: voters would say so too.
    pub fn is_overdrawn(&self) -> bool {
        self.overdrawn
    }
}

/// What is free of one line, by one node's memory of it.
#[derive(Debug, Clone)]
pub struct Room {
    max: u128,
    window_ms: u64,
    at: UnixMillis,
    gaps: Gaps,
    /// When pieces come free.
    frees: BTreeSet<(UnixMillis, Interval)>,
}

impl Room {
    /// What is free at `at` of the line that is charged. Looks at all of the memory, once.
    pub fn of(memory: &LineMemory, charge: &Charge, at: UnixMillis) -> Self {
        let gaps = Gaps::of(charge.max);
        let mut room = Self { max: charge.max, window_ms: charge.window_ms, at, gaps, frees: BTreeSet::new() };
        memory.voted().for_each(|voted| room.note(voted));
        room
    }

    /// Whether this is the line as it is charged now, at a time that has not gone back: else it has to be made anew.
    pub fn is_of(&self, charge: &Charge, at: UnixMillis) -> bool {
        (self.max, self.window_ms) == (charge.max, charge.window_ms) && self.at <= at.plus(ISSUED_AT_TOLERANCE_MS)
    }

    /// Notes what the memory has kept.
    pub fn note(&mut self, voted: &Voted) {
        let free_at = self.free_at(voted);
        if free_at > self.at {
            for piece in &voted.intervals {
                self.gaps.take(*piece);
                self.frees.insert((free_at, *piece));
            }
        }
    }

    /// Lets go what has come free.
    pub fn advance(&mut self, memory: &LineMemory, at: UnixMillis) {
        self.at = self.at.max(at);
        while let Some((free_at, piece)) = self.frees.first().copied()
            && free_at <= self.at
        {
            self.frees.pop_first();
            let still = memory.over(piece).filter(|(_, v)| self.free_at(v) > self.at).map(|(piece, _)| piece);
            for free in without(piece, &joined(still.collect())) {
                self.gaps.give(free);
            }
        }
    }

    /// What a request sees beside what is held for now.
    pub fn see<R: Rng>(
        &self,
        memory: &LineMemory,
        by: &Claimant,
        search: &Search<'_>,
        held: impl Iterator<Item = Interval>,
        rng: &mut R,
    ) -> Seen {
        let charge = search.charge;
        let beside = joined(held.chain(search.hints.iter().copied()).collect());
        let own = memory.own(by).max_by_key(|v| v.nth);
        let kept = own.filter(|voted| {
            let is_free =
                |piece: &Interval| self.others(memory, by, *piece).is_empty() && without(*piece, &beside) == [*piece];
            voted.intervals.iter().all(is_free) && LineClaim::new(charge, voted.intervals.clone()).is_ok()
        });
        Seen {
            gaps: self.gaps.some(&self.own(memory, by), &beside, search.begin, rng),
            kept: kept.map(|voted| voted.intervals.clone()),
            overdrawn: memory.is_overdrawn(by, self.at, charge.window_ms, charge.max, charge.amount),
        }
    }

    /// When there is room for a charge, if nothing else takes it; now, if there is already.
    pub fn room_at(&mut self, memory: &LineMemory, by: &Claimant, charge: &Charge) -> UnixMillis {
        let mut given = self.own(memory, by);
        given.iter().for_each(|piece| self.gaps.give(*piece));
        let mut at = self.at;
        let mut frees = self.frees.iter().copied().peekable();
        for _ in 0..WAITS_MAX {
            let has_room = self.gaps.largest(INTERVALS_MAX) >= charge.amount;
            if has_room && !memory.is_overdrawn(by, at, charge.window_ms, charge.max, charge.amount) {
                break;
            }
            let Some((next, _)) = frees.peek().copied() else { break };
            at = next;
            while let Some((_, piece)) = frees.next_if(|(free_at, _)| *free_at == next) {
                let horizon = horizon_ms(self.window_ms);
                let still = memory.over(piece).filter(|(_, v)| v.by != *by && v.last.plus(horizon) > at);
                for free in without(piece, &joined(still.map(|(piece, _)| piece).collect())) {
                    self.gaps.give(free);
                    given.push(free);
                }
            }
        }
        given.iter().for_each(|piece| self.gaps.take(*piece));
        at
    }

    /// What the request itself holds and nobody else.
    fn own(&self, memory: &LineMemory, by: &Claimant) -> Vec<Interval> {
        let live = memory.own(by).filter(|voted| self.free_at(voted) > self.at);
        let pieces = live.flat_map(|voted| &voted.intervals);
        pieces.flat_map(|piece| without(*piece, &joined(self.others(memory, by, *piece)))).collect()
    }

    fn others(&self, memory: &LineMemory, by: &Claimant, piece: Interval) -> Vec<Interval> {
        let others = memory.over(piece).filter(|(_, v)| v.by != *by && self.free_at(v) > self.at);
        others.map(|(piece, _)| piece).collect()
    }

    fn free_at(&self, voted: &Voted) -> UnixMillis {
        voted.last.plus(horizon_ms(self.window_ms))
    }
}

/// These pieces ascending, those that touch as one.
pub(super) fn joined(mut pieces: Vec<Interval>) -> Vec<Interval> {
    pieces.sort_unstable();
    let mut joined: Vec<Interval> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if piece.from() <= last.to() => *last = union(*last, piece),
            _ => joined.push(piece),
        }
    }
    joined
}

/// What of a piece is in none of these, which are joined.
pub(super) fn without(piece: Interval, taken: &[Interval]) -> Vec<Interval> {
    let first = taken.partition_point(|t| t.to() <= piece.from());
    let mut left = Vec::new();
    let mut from = piece.from();
    for taken in taken.iter().skip(first).take_while(|t| t.from() < piece.to()) {
        left.extend(Interval::new(from, taken.from()));
        from = taken.to();
    }
    left.extend(Interval::new(from, piece.to()));
    left
}

/// The least that has both.
fn union(a: Interval, b: Interval) -> Interval {
    Interval::new(a.from().min(b.from()), a.to().max(b.to())).unwrap_or(a)
}
