//! What is allowed but worth a look, in words that a person can act on.

use std::fmt;
use tally_domain::time::span_words;
use tally_domain::{Attempt, KeyName, NodeName, RequestId};

/// Something that is allowed but worth a look, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whose log.
    pub node: NodeName,
    /// Index of the leaf.
    pub leaf: u64,
    /// What it is.
    pub what: Oddity,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log of {}, leaf {}: {}", self.node, self.leaf, self.what)
    }
}

/// What is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Oddity {
    /// The node's clock went back.
    #[error("the node's clock went back by {}", span_words(*.ms))]
    ClockWentBack {
        /// How far.
        ms: u64,
    },
    /// A peer was banned.
    #[error("{peer} was banned for key {key}")]
    Banned {
        /// Who.
        peer: NodeName,
        /// For which key.
        key: KeyName,
    },
    /// The node voted for a request and holds its signature, but no certificate.
    #[error(
        "the node voted for request {request}, but the certificate of its signature is not in this log; check it with the other signers' logs"
    )]
    CertificateElsewhere {
        /// The request.
        request: RequestId,
    },
    /// A node took part in something at the very end of these logs, and its own log ends before that.
    #[error(
        "{node}'s log ends just before its part in request {request}, attempt {}; no harm in exports of running nodes, export again to see it",
        .attempt.0
    )]
    NotYetInOwnLog {
        /// Who.
        node: NodeName,
        /// The request.
        request: RequestId,
        /// Which try.
        attempt: Attempt,
    },
    /// A node gave its word about freezes at the very end of these logs, and its own log ends before that.
    #[error("{node}'s log ends just before its word about freezes; no harm in exports of running nodes, export again")]
    WordNotYetInOwnLog {
        /// Who.
        node: NodeName,
    },
    /// A node voted for a bundle that loosens before the active one's wait was over.
    #[error("the node voted for policy version {version} before its wait was over; in development that may be so")]
    VotedEarly {
        /// Which.
        version: u64,
    },
    /// The key of a signature is certified in none of the logs that were given.
    #[error("key {key} is not certified in this log; check it with its participants' logs")]
    KeyElsewhere {
        /// The key.
        key: KeyName,
    },
}
