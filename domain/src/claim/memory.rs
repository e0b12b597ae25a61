//! What a voter remembers of a line, and whether it may vote for one more claim on it. The one place of the rule: the
//! store asks it inside its transaction, simulations and the model check ask it too.

mod index;
mod units;

use super::{CLAIMS_MAX, ISSUED_AT_TOLERANCE_MS, Interval, LineClaim, horizon_ms};
use crate::ids::{RequestId, Tenant};
use crate::time::{CLOCK_TOLERANCE_MS, UnixMillis};
use index::Index;
use std::cmp::Ordering;
pub use units::{Units, most};

/// Whose claim it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claimant {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request: RequestId,
}

/// A claim that this voter has voted for, perhaps more than once: attempts at one request keep their pieces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voted {
    /// Whose.
    pub by: Claimant,
    /// Which of the request's claims on the line, from 1.
    pub nth: u32,
    /// Its pieces, ascending.
    pub intervals: Vec<Interval>,
    /// When it was first issued.
    pub first: UnixMillis,
    /// When it was last issued.
    pub last: UnixMillis,
}

impl Voted {
    /// Whether something issued at `at` is less than `horizon_ms` away from any time at which this was issued.
    pub fn is_near(&self, at: UnixMillis, horizon_ms: u64) -> bool {
        at.0.saturating_sub(self.last.0) < horizon_ms && self.first.0.saturating_sub(at.0) < horizon_ms
    }

    /// Units in all.
    pub fn units(&self) -> u128 {
        self.intervals.iter().fold(0, |sum, piece| sum.saturating_add(piece.units()))
    }
}

/// Why this voter does not vote for a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excluded {
    /// Another request's claim is in the way.
    #[error("another request has claimed a part of the interval")]
    Taken(Interval),
    /// The limit was lowered: together with what other requests hold, beyond its end too, it would be too much.
    #[error("the limit was lowered, and what others hold leaves too little of it")]
    Lowered,
    /// It was issued so early that the voter may have forgotten what is in the way.
    #[error("the claim was issued too early for what this node remembers of the line")]
    Forgotten,
    /// The request has claimed often enough on this line.
    #[error("the request has claimed three times on the line")]
    TooMany,
}

/// What a voter remembers of one line.
#[derive(Debug, Clone)]
pub struct LineMemory {
    forgotten: UnixMillis,
    index: Index,
    /// What other requests hold, where this is only a part of the line.
    held: Option<u128>,
}

impl Default for LineMemory {
    fn default() -> Self {
        Self { forgotten: UnixMillis(0), index: Index::default(), held: None }
    }
}

impl LineMemory {
    /// What is known: all claims last issued at `forgotten` or later, and perhaps some before.
    pub fn new(forgotten: UnixMillis, voted: Vec<Voted>) -> Self {
        let mut index = Index::default();
        voted.into_iter().for_each(|voted| index.put(voted));
        Self { forgotten, index, held: None }
    }

    /// As much of a line as decides one question: all claims of the request that asks, every piece of others that shares a
    /// unit with what it claims, one beyond the line's end if there is any, and how much others hold when that is asked.
    pub fn part(forgotten: UnixMillis, voted: Vec<Voted>, held: u128) -> Self {
        Self { held: Some(held), ..Self::new(forgotten, voted) }
    }

    /// The claims that are remembered, by request and number.
    pub fn voted(&self) -> impl Iterator<Item = &Voted> {
        self.index.iter()
    }

    /// How many claims are remembered.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no claim is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Claims last issued before this may have been forgotten.
    pub fn forgotten(&self) -> UnixMillis {
        self.forgotten
    }

    /// Whether this voter may vote for the claim: what to write down then, before anyone hears of the vote.
    ///
    /// # Errors
    /// [`Excluded`].
    pub fn consider(&self, by: &Claimant, claim: &LineClaim, issued_at: UnixMillis) -> Result<Voted, Excluded> {
        let horizon = horizon_ms(claim.window_ms);
        // INVARIANT: whatever was forgotten is at least a horizon older than what is voted for, so it excludes nothing.
        // Should a clock have run ahead and forgotten too much, the voter holds back until time has caught up.
        if issued_at < self.forgotten.plus(horizon) {
            return Err(Excluded::Forgotten);
        }
        let in_the_way = |piece: &Interval| self.others(*piece, by, issued_at, claim.window_ms).next();
        if let Some(taken) = claim.intervals.iter().find_map(in_the_way) {
            return Err(Excluded::Taken(taken));
        }
        if self.is_overdrawn(by, issued_at, claim.window_ms, claim.max, claim.amount()) {
            return Err(Excluded::Lowered);
        }
        if let Some(again) = self.index.of(by).find(|v| v.intervals == claim.intervals) {
            let (first, last) = (again.first.min(issued_at), again.last.max(issued_at));
            return Ok(Voted { first, last, ..again.clone() });
        }
        if self.index.of(by).count() >= CLAIMS_MAX {
            return Err(Excluded::TooMany);
        }
        let nth = self.index.of(by).map(|v| v.nth).max().unwrap_or(0).saturating_add(1);
        Ok(Voted { by: by.clone(), nth, intervals: claim.intervals.clone(), first: issued_at, last: issued_at })
    }

    /// Pieces of other requests that share a unit with this one and are in its way at `at`.
    pub fn others(
        &self,
        piece: Interval,
        by: &Claimant,
        at: UnixMillis,
        window_ms: u64,
    ) -> impl Iterator<Item = Interval> {
        let horizon = horizon_ms(window_ms);
        let others = self.index.overlapping(piece).filter(move |(_, v)| v.by != *by && v.is_near(at, horizon));
        others.map(|(piece, _)| piece)
    }

    /// Whether the limit was lowered, and with what others hold, beyond the line's end too, this much is more than it.
    pub fn is_overdrawn(&self, by: &Claimant, at: UnixMillis, window_ms: u64, max: u128, amount: u128) -> bool {
        let horizon = horizon_ms(window_ms);
        // Pieces that are apart sum to more than a limit only where some are beyond its end.
        let is_beyond = self.index.beyond(max).any(|(_, v)| v.by != *by && v.is_near(at, horizon));
        is_beyond && self.held(by, at, window_ms).saturating_add(amount) > max
    }

    /// Units that other requests hold at `at`, of each those of its largest claim, for it is signed once.
    pub fn held(&self, by: &Claimant, at: UnixMillis, window_ms: u64) -> u128 {
        self.held.unwrap_or_else(|| self.index.held(by, at, horizon_ms(window_ms)))
    }

    /// Pieces that are in the way of a claim that is issued at `at`, and then those that are held behind and before it:
    /// where a leader does not look for room.
    pub fn around(&self, by: &Claimant, claim: &LineClaim, at: UnixMillis) -> impl Iterator<Item = Interval> {
        let horizon = horizon_ms(claim.window_ms);
        let from = claim.intervals.first().map_or(0, |piece| piece.from);
        let to = claim.intervals.last().map_or(0, |piece| piece.to);
        let rest = [Interval::new(to, u128::MAX), Interval::new(0, from)];
        let here = claim.intervals.iter().flat_map(|piece| self.index.overlapping(*piece));
        let beside = rest.into_iter().flatten().flat_map(|piece| self.index.within(piece));
        let beside = beside.filter(move |(piece, _)| piece.from >= to || piece.to <= from);
        here.chain(beside).filter(move |(_, v)| v.by != *by && v.is_near(at, horizon)).map(|(piece, _)| piece)
    }

    /// Claims of a request, by number: the last one is kept first when the request is tried again.
    pub fn own(&self, by: &Claimant) -> impl Iterator<Item = &Voted> {
        self.index.of(by)
    }

    /// Claims of whatever request that share a unit with this piece, whenever they were issued.
    pub fn over(&self, piece: Interval) -> impl Iterator<Item = (Interval, &Voted)> {
        self.index.overlapping(piece)
    }

    /// Keeps what [`LineMemory::consider`] gave, and forgets what can exclude nothing any more.
    pub fn keep(&mut self, voted: Voted, window_ms: u64) {
        self.forgotten = self.forgotten.max(forget_before(voted.last, window_ms));
        self.index.drop_before(self.forgotten);
        self.index.put(voted);
    }
}

/// Two memories are the same when they know the same, whatever they went through.
impl PartialEq for LineMemory {
    fn eq(&self, other: &Self) -> bool {
        self.forgotten == other.forgotten && self.voted().eq(other.voted())
    }
}

impl Eq for LineMemory {}

impl PartialOrd for LineMemory {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LineMemory {
    fn cmp(&self, other: &Self) -> Ordering {
        self.forgotten.cmp(&other.forgotten).then_with(|| self.voted().cmp(other.voted()))
    }
}

/// What may be forgotten once a claim issued at this time was voted for: claims last issued before. The next one may be
/// issued up to 2D earlier and be held against a clock that was set back by 2d; it is still a horizon away.
pub fn forget_before(issued_at: UnixMillis, window_ms: u64) -> UnixMillis {
    issued_at.minus(horizon_ms(window_ms).saturating_add(2 * (ISSUED_AT_TOLERANCE_MS + CLOCK_TOLERANCE_MS)))
}
