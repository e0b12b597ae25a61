//! Limits: what a request takes of each spending limit that matches it. `limits.toml` of the bundle says which match;
//! claims on the line say that no more than the limit is ever taken (DESIGN 5.1).

use crate::digest::{Digest, TaggedHash};
use crate::ids::LimitId;

/// Names one line of accounting units: a limit, and one value of each field that it counts separately by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub Digest);

impl LineId {
    /// The line of this limit for these (field, value) pairs, in the order of the limit's `by`.
    pub fn of(limit: &LimitId, by: &[(&str, &str)]) -> Self {
        let hash = TaggedHash::new("tally/v1/line").field(limit.as_str().as_bytes());
        let hash = by.iter().fold(hash, |hash, (field, value)| hash.field(field.as_bytes()).field(value.as_bytes()));
        Self(hash.finish())
    }
}

/// What one request takes of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit, by its id in `limits.toml`.
    pub limit: LimitId,
    /// The line; a request has at most one charge on each.
    pub line: LineId,
    /// Length of the line: the most that may be taken within the window, in accounting units.
    pub max: u128,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// What is taken, in accounting units: more than none and at most `max`.
    pub amount: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ_by_limit_field_and_value() {
        let (a, b) = (LimitId::parse("a").unwrap(), LimitId::parse("b").unwrap());
        let lines = [
            LineId::of(&a, &[]),
            LineId::of(&b, &[]),
            LineId::of(&a, &[("key", "hot")]),
            LineId::of(&a, &[("client", "hot")]),
            LineId::of(&a, &[("key", "cold")]),
            LineId::of(&a, &[("key", "h"), ("client", "ot")]),
        ];
        let distinct: std::collections::BTreeSet<_> = lines.iter().collect();
        assert_eq!(distinct.len(), lines.len());
    }
}
