//! What can be wrong with what a log says of limited work that its node does alone.

use tally_domain::{NodeName, RequestId};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HomeProblem {
    /// A certificate for another node's work.
    #[error("the certificate for request {request} is for what {home} does alone, and stands in another node's log")]
    NotItsOwn {
        /// The request.
        request: RequestId,
        /// Whose work it is.
        home: NodeName,
    },
    /// A certificate without an own vote before.
    #[error(
        "the log holds a certificate for request {request} and no vote of the node's own for the same thing before"
    )]
    NotVoted {
        /// The request.
        request: RequestId,
    },
    /// Done without a certificate.
    #[error("request {request} takes of limits, and the node did it without a quorum's certificate before")]
    Uncertified {
        /// The request.
        request: RequestId,
    },
    /// Something else was certified than was done.
    #[error("what the node did for request {request} is not what its certificate says")]
    OtherWork {
        /// The request.
        request: RequestId,
    },
}
