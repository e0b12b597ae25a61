//! What lines are called. Votes know a line by its hash only; people want to know of which limit it is, and for whom.

use crate::ids::LimitId;
use crate::limit::LineId;

/// A line and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLine {
    /// The line.
    pub line: LineId,
    /// The limit.
    pub limit: LimitId,
    /// What it counts separately for: fields of `limits.toml` and their values, in the order of the limit's `by`.
    pub by: Vec<(String, String)>,
}
