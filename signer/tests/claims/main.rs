//! The rules of claims: searched through whole where that is possible, drawn at random where it is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod memory;
mod model;
mod placement;
mod room;
mod roster_change;
mod time;
mod voter;
mod walk;

use tally_domain::claim::{Claimant, Claims};
use tally_domain::*;

/// Late enough that nothing can be forgotten at the start.
pub const NOW: UnixMillis = UnixMillis(1_795_298_460_000);
pub const HOUR: u64 = 3_600_000;

pub fn line(n: u8) -> LineId {
    LineId(Digest([n; 32]))
}

pub fn charge(max: u128, window_ms: u64, amount: u128) -> Charge {
    Charge { limit: LimitId::parse("hot-day").unwrap(), line: line(1), max, window_ms, amount }
}

pub fn who(n: u8) -> Claimant {
    Claimant { tenant: Tenant::parse("acme").unwrap(), request: RequestId([n + 1; 16]) }
}

pub fn piece(from: u128, to: u128) -> Interval {
    Interval::new(from, to).unwrap()
}

/// A claim of these pieces on a line of this length.
pub fn claim(max: u128, window_ms: u64, pieces: &[(u128, u128)]) -> LineClaim {
    let intervals: Vec<_> = pieces.iter().map(|(from, to)| piece(*from, *to)).collect();
    let amount = intervals.iter().map(|i| i.units()).sum();
    LineClaim::new(&charge(max, window_ms, amount), intervals).unwrap()
}

pub fn claims(issued_at: UnixMillis, lines: &[LineClaim]) -> Claims {
    Claims::new(issued_at, lines.to_vec()).unwrap()
}
