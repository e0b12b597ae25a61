//! What a voter remembers of a line, and whether it may vote for one more claim on it. The one place of the rule: the
//! store asks it inside its transaction, simulations and the model check ask it too.

use super::{CLAIMS_MAX, ISSUED_AT_TOLERANCE_MS, Interval, LineClaim, horizon_ms};
use crate::ids::{RequestId, Tenant};
use crate::time::{CLOCK_TOLERANCE_MS, UnixMillis};
use std::collections::BTreeMap;

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
    fn is_near(&self, at: UnixMillis, horizon_ms: u64) -> bool {
        at.0.saturating_sub(self.last.0) < horizon_ms && self.first.0.saturating_sub(at.0) < horizon_ms
    }

    /// The first piece that shares a unit with the claim.
    fn overlap(&self, claim: &LineClaim) -> Option<Interval> {
        self.intervals.iter().copied().find(|mine| claim.intervals.iter().any(|i| i.overlaps(*mine)))
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

/// What a voter remembers of one line. For a question about one claim it is enough to have all that shares a unit with
/// it and all of the same request, unless something is held beyond the line's end: then it takes all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineMemory {
    forgotten: UnixMillis,
    voted: Vec<Voted>,
}

impl Default for LineMemory {
    fn default() -> Self {
        Self { forgotten: UnixMillis(0), voted: Vec::new() }
    }
}

impl LineMemory {
    /// What is known: all claims last issued at `forgotten` or later, and perhaps some before.
    pub fn new(forgotten: UnixMillis, voted: Vec<Voted>) -> Self {
        Self { forgotten, voted }
    }

    /// The claims that are remembered.
    pub fn voted(&self) -> &[Voted] {
        &self.voted
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
        let others = self.voted.iter().filter(|v| v.by != *by && v.is_near(issued_at, horizon));
        if let Some(taken) = others.filter_map(|v| v.overlap(claim)).next() {
            return Err(Excluded::Taken(taken));
        }
        if self.is_beyond(by, issued_at, claim.max, horizon)
            && self.held(by, issued_at, claim.window_ms).saturating_add(claim.amount()) > claim.max
        {
            return Err(Excluded::Lowered);
        }
        let own = || self.voted.iter().filter(|v| v.by == *by);
        if let Some(again) = own().find(|v| v.intervals == claim.intervals) {
            let (first, last) = (again.first.min(issued_at), again.last.max(issued_at));
            return Ok(Voted { first, last, ..again.clone() });
        }
        if own().count() >= CLAIMS_MAX {
            return Err(Excluded::TooMany);
        }
        let nth = own().map(|v| v.nth).max().unwrap_or(0).saturating_add(1);
        Ok(Voted { by: by.clone(), nth, intervals: claim.intervals.clone(), first: issued_at, last: issued_at })
    }

    /// Units that other requests hold at `at`, of each those of its largest claim, for it is signed once.
    pub fn held(&self, by: &Claimant, at: UnixMillis, window_ms: u64) -> u128 {
        let horizon = horizon_ms(window_ms);
        let mut requests: BTreeMap<&Claimant, u128> = BTreeMap::new();
        for other in self.voted.iter().filter(|v| v.by != *by && v.is_near(at, horizon)) {
            let units = other.intervals.iter().fold(0_u128, |sum, i| sum.saturating_add(i.units()));
            let most = requests.entry(&other.by).or_default();
            *most = units.max(*most);
        }
        requests.values().fold(0, |sum, units| sum.saturating_add(*units))
    }

    /// Whether others hold units beyond a line of this length, from when the limit was higher. Only then do pieces that are
    /// apart sum to more than the limit.
    fn is_beyond(&self, by: &Claimant, at: UnixMillis, max: u128, horizon: u64) -> bool {
        let others = self.voted.iter().filter(|v| v.by != *by && v.is_near(at, horizon));
        others.flat_map(|v| &v.intervals).any(|piece| piece.to() > max)
    }

    /// Pieces that would be in the way of a claim issued at `at`: where a leader does not look for room.
    pub fn taken(&self, by: &Claimant, at: UnixMillis, window_ms: u64) -> impl Iterator<Item = Interval> {
        let horizon = horizon_ms(window_ms);
        self.voted
            .iter()
            .filter(move |v| v.by != *by && v.is_near(at, horizon))
            .flat_map(|v| v.intervals.iter().copied())
    }

    /// The pieces that the request claimed last, which it may keep when it is tried again.
    pub fn own(&self, by: &Claimant) -> Option<&[Interval]> {
        self.voted.iter().filter(|v| v.by == *by).max_by_key(|v| v.nth).map(|v| v.intervals.as_slice())
    }

    /// Keeps what [`LineMemory::consider`] gave, and forgets what can exclude nothing any more.
    pub fn keep(&mut self, voted: Voted, window_ms: u64) {
        self.forgotten = self.forgotten.max(forget_before(voted.last, window_ms));
        self.voted.retain(|v| (&v.by, v.nth) != (&voted.by, voted.nth) && v.last >= self.forgotten);
        self.voted.push(voted);
    }
}

/// What may be forgotten once a claim issued at this time was voted for: claims last issued before. The next one may be
/// issued up to 2D earlier and be held against a clock that was set back by 2d; it is still a horizon away.
pub fn forget_before(issued_at: UnixMillis, window_ms: u64) -> UnixMillis {
    issued_at.minus(horizon_ms(window_ms).saturating_add(2 * (ISSUED_AT_TOLERANCE_MS + CLOCK_TOLERANCE_MS)))
}
