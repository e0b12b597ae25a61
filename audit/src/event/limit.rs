//! What a decision says of limits.

use tally_domain::{LimitId, LineId, UnixMillis};

/// How a line of a limit stood when a node decided about a request that is charged on it, as far as that node knew. It
/// explains the decision and proves nothing: what was taken of lines, votes and certificates say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineStood {
    /// The limit.
    pub limit: LimitId,
    /// Its line.
    pub line: LineId,
    /// Length of the line.
    pub max: u128,
    /// The window.
    pub window_ms: u64,
    /// What the request takes.
    pub amount: u128,
    /// What others had taken.
    pub taken: u128,
    /// Where there was no room: from when there was to be, if nothing else was taken.
    pub room_at: Option<UnixMillis>,
}
