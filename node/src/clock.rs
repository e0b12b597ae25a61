//! The node's clock, and whether the other nodes' clocks agree with it.

use crate::node::Node;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_domain::claim::ISSUED_AT_TOLERANCE_MS;
use tally_domain::time::{most_are_apart, offset_words};
use tally_domain::{Reason, Refusal, UnixMillis};

/// The node's clock.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(now.saturating_add_signed(offset_ms()))
}

/// `TALLY_TEST_CLOCK_OFFSET_MS`: a test gives one process another clock than the machine's. Only in debug builds.
#[cfg(debug_assertions)]
fn offset_ms() -> i64 {
    static OFFSET: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let read = || std::env::var("TALLY_TEST_CLOCK_OFFSET_MS").ok()?.parse().ok();
    *OFFSET.get_or_init(|| read().unwrap_or_default())
}

/// Release builds have the machine's clock.
#[cfg(not(debug_assertions))]
fn offset_ms() -> i64 {
    0
}

/// A request that is too early or too late by this node's clock, while most nodes have another: then it is the clock that
/// is wrong. Nothing is permitted by this; only the reason is another.
pub fn explained(node: &Node, refusal: Refusal) -> Refusal {
    if !matches!(refusal.reason, Reason::Expired | Reason::TooEarly) {
        return refusal;
    }
    let bundle = node.bundle();
    let heard = bundle.roster().nodes.iter().map(|n| node.peers.seen(&n.name));
    let apart = most_are_apart(heard.filter(|seen| seen.incarnation.is_some()).map(|seen| seen.clock_offset_ms));
    if apart.unsigned_abs() <= ISSUED_AT_TOLERANCE_MS {
        return refusal;
    }
    Refusal::new(Reason::ClockSkew)
        .with("node", node.name().as_str())
        .with("detail", format!("this node's clock is {}, by most nodes' clocks", offset_words(apart.saturating_neg())))
}
