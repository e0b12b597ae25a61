//! Claims: which pieces of a limit's line a request takes, and which claims exclude each other (DESIGN 5.1).
//!
//! A limit of `max` units within a window is a line `[0, max)`. A request takes intervals of it, as many units as it is
//! charged, and a voter votes for them only while no other request's claim that it voted for is in the way. Pieces that
//! are certified close together in time are therefore disjoint, and disjoint pieces of a line sum to at most its length:
//! sums are kept by voting on things that only one can have.

mod memory;
mod wire;

pub use memory::{Claimant, Excluded, LineMemory, Units, Voted, forget_before, most};

use crate::limit::{Charge, LineId};
use crate::time::{CLOCK_TOLERANCE_MS, UnixMillis};

/// Life of a certificate (V): a signer releases nothing under one that was issued longer ago. Three calls of a leader
/// fit, and it is short beside the shortest window.
pub const CERTIFICATE_LIFE_MS: u64 = 60_000;

/// How far `issued_at` may be from a voter's clock (D): two round trips, the offline rounds of a session and a queue.
pub const ISSUED_AT_TOLERANCE_MS: u64 = 5_000;

/// Most pieces of one claim on one line: a line broken into small holes stays usable, and a vote stays small.
pub const INTERVALS_MAX: usize = 8;

/// Most lines that one request is charged on: with eight pieces on each, a vote takes 12 KiB, and those of sixteen voters
/// fit a peer message.
pub const LINES_MAX: usize = 32;

/// Most claims of one request on one line: a leader that collides tries elsewhere twice, and one that cheats takes at
/// most this many times what the client asked for (S-2.5).
pub const CLAIMS_MAX: usize = 3;

/// How far apart two claims must be issued to share units of a line with this window: W + V + D + 2d.
///
/// A signature under a claim is released within `[issued_at - D - d, issued_at + V + d]`: no honest voter votes before
/// the first, no honest signer releases after the second, each by its own clock. Two that are issued this far apart are
/// released at least W apart, so no window of length W holds both.
pub const fn horizon_ms(window_ms: u64) -> u64 {
    window_ms.saturating_add(CERTIFICATE_LIFE_MS + ISSUED_AT_TOLERANCE_MS + 2 * CLOCK_TOLERANCE_MS)
}

/// The units from `from` to before `to`; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    from: u128,
    to: u128,
}

impl Interval {
    /// The interval, unless it is empty.
    pub fn new(from: u128, to: u128) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// Its first unit.
    pub fn from(self) -> u128 {
        self.from
    }

    /// The unit after its last.
    pub fn to(self) -> u128 {
        self.to
    }

    /// How many units it has.
    pub fn units(self) -> u128 {
        self.to - self.from
    }

    /// Whether the two share a unit.
    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// What a request takes of one line: ascending pieces with room between them, all within the line. One set of units has
/// one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineClaim {
    line: LineId,
    max: u128,
    window_ms: u64,
    intervals: Vec<Interval>,
}

impl LineClaim {
    /// A claim of these pieces for a charge.
    ///
    /// # Errors
    /// [`BadClaim`] when they are not canonical, not within the line, or not exactly the amount.
    pub fn new(charge: &Charge, intervals: Vec<Interval>) -> Result<Self, BadClaim> {
        let claim = Self::of_line(charge.line, charge.max, charge.window_ms, intervals)?;
        if claim.amount() == charge.amount { Ok(claim) } else { Err(BadClaim::Amount) }
    }

    fn of_line(line: LineId, max: u128, window_ms: u64, intervals: Vec<Interval>) -> Result<Self, BadClaim> {
        if intervals.is_empty() || intervals.len() > INTERVALS_MAX {
            return Err(BadClaim::Pieces);
        }
        if !intervals.iter().zip(intervals.iter().skip(1)).all(|(a, b)| a.to < b.from) {
            return Err(BadClaim::Pieces);
        }
        if intervals.iter().any(|i| i.to > max) {
            return Err(BadClaim::Outside);
        }
        Ok(Self { line, max, window_ms, intervals })
    }

    /// The line.
    pub fn line(&self) -> LineId {
        self.line
    }

    /// Length of the line.
    pub fn max(&self) -> u128 {
        self.max
    }

    /// The window.
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// The pieces, ascending.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Units in all: at most `max`, because the pieces are disjoint and within the line.
    pub fn amount(&self) -> u128 {
        self.intervals.iter().map(|i| i.units()).sum()
    }

    /// Whether this is exactly what the charge asks for.
    pub fn covers(&self, charge: &Charge) -> bool {
        (self.line, self.max, self.window_ms, self.amount())
            == (charge.line, charge.max, charge.window_ms, charge.amount)
    }
}

/// Everything that a request takes, on every line that it is charged on: voted for as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    issued_at: UnixMillis,
    lines: Vec<LineClaim>,
}

impl Claims {
    /// Claims on distinct lines, which are put in their one order.
    ///
    /// # Errors
    /// [`BadClaim::Lines`] when there are none, too many, or two on one line.
    pub fn new(issued_at: UnixMillis, mut lines: Vec<LineClaim>) -> Result<Self, BadClaim> {
        lines.sort_by_key(|l| l.line);
        Self::in_order(issued_at, lines)
    }

    fn in_order(issued_at: UnixMillis, lines: Vec<LineClaim>) -> Result<Self, BadClaim> {
        let ascending = lines.iter().zip(lines.iter().skip(1)).all(|(a, b)| a.line < b.line);
        if lines.is_empty() || lines.len() > LINES_MAX || !ascending {
            return Err(BadClaim::Lines);
        }
        Ok(Self { issued_at, lines })
    }

    /// When the leader made them, by its clock; every voter holds this against its own.
    pub fn issued_at(&self) -> UnixMillis {
        self.issued_at
    }

    /// The claims by line, ascending.
    pub fn lines(&self) -> &[LineClaim] {
        &self.lines
    }

    /// Whether a signer whose clock shows `now` may still release under them.
    pub fn alive(&self, now: UnixMillis) -> bool {
        now <= self.issued_at.plus(CERTIFICATE_LIFE_MS)
    }
}

/// Bytes or pieces that do not make a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadClaim {
    /// Not canonical protobuf of the known fields.
    #[error("the claim is malformed")]
    Malformed,
    /// No piece, more than eight, or not ascending with room between them.
    #[error("a claim has 1 to 8 pieces, ascending, with room between them")]
    Pieces,
    /// A piece reaches beyond the line.
    #[error("a piece of the claim is outside its line")]
    Outside,
    /// Not as many units as are charged.
    #[error("the claim is not for the amount that is charged")]
    Amount,
    /// No line, too many, or two claims on one line.
    #[error("a request claims 1 to 32 lines, each once")]
    Lines,
}
