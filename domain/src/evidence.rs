//! Two votes of one voter that no correct voter gives both: a proof that anyone can check who has the roster. The voter
//! is bad, or was restored from an older copy and had forgotten the first.

use crate::boot::{BadStatement, Statement};
use crate::claim::{LineClaim, horizon_ms};
use crate::ids::{Attempt, NodeName, RequestId};
use crate::limit::LineId;
use crate::roster::Roster;
use crate::vote::{VOTE_TYPE, VoteBody};

/// How two votes contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// One request id, two intents.
    Request {
        /// The request.
        request: RequestId,
    },
    /// One attempt, two votes.
    Attempt {
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
    },
    /// A unit of a line for two requests within one window.
    Line {
        /// The line.
        line: LineId,
        /// The requests.
        requests: [RequestId; 2],
    },
}

/// Whether this voter may not have given both votes, in whichever order.
pub fn contradiction(voter: &NodeName, a: &VoteBody, b: &VoteBody) -> Option<Contradiction> {
    if a == b {
        return None;
    }
    if (&a.tenant, a.request_id) != (&b.tenant, b.request_id) {
        let line = shared_line(a, b)?;
        return Some(Contradiction::Line { line, requests: [a.request_id, b.request_id] });
    }
    // Attempts bind their signers; a voter outside S may be asked about two that go by one number.
    if a.attempt == b.attempt && a.signers.contains(voter) && b.signers.contains(voter) {
        return Some(Contradiction::Attempt { request: a.request_id, attempt: a.attempt });
    }
    (a.intent_digest != b.intent_digest).then_some(Contradiction::Request { request: a.request_id })
}

/// A line on which both take a unit although they were issued within a horizon of each other.
pub fn shared_line(a: &VoteBody, b: &VoteBody) -> Option<LineId> {
    let (a, b) = (a.claims.as_ref()?, b.claims.as_ref()?);
    let apart = a.issued_at().0.abs_diff(b.issued_at().0);
    let excluded = |x: &LineClaim, y: &LineClaim| {
        // A voter goes by the window of the claim that it votes for last; which one that was does not show.
        let window = x.window_ms().min(y.window_ms());
        let overlap = || x.intervals().iter().any(|i| y.intervals().iter().any(|j| i.overlaps(*j)));
        x.line() == y.line() && apart < horizon_ms(window) && overlap()
    };
    a.lines().iter().find(|x| b.lines().iter().any(|y| excluded(x, y))).map(LineClaim::line)
}

/// Two votes are no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// One of them is not believed.
    #[error("a vote is not valid: {0}")]
    Vote(#[from] BadStatement),
    /// They are two nodes' votes.
    #[error("the votes are not of one node")]
    TwoVoters,
    /// A correct voter gives both.
    #[error("the votes do not contradict each other")]
    NoContradiction,
}

/// Checks the proof; gives who voted twice, and how.
///
/// # Errors
/// [`NoProof`].
pub fn prove(a: &Statement, b: &Statement, roster: &Roster) -> Result<(NodeName, Contradiction), NoProof> {
    let (voter, first) = a.open(VOTE_TYPE, roster)?;
    let (other, second) = b.open(VOTE_TYPE, roster)?;
    if voter.node != other.node {
        return Err(NoProof::TwoVoters);
    }
    let (first, second) = (VoteBody::from_bytes(first)?, VoteBody::from_bytes(second)?);
    let how = contradiction(&voter.node, &first, &second).ok_or(NoProof::NoContradiction)?;
    Ok((voter.node, how))
}
