//! What can be wrong with what a log says of token domains.

use tally_domain::{KeyName, RequestId};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenProblem {
    /// The node did what it had not permitted.
    #[error(
        "the node acted on request {request} about token domain {domain} without having permitted that intent before"
    )]
    NotPermitted {
        /// The request.
        request: RequestId,
        /// The domain.
        domain: KeyName,
    },
    /// The node did something else than the client had signed.
    #[error("what the node did for request {request} in token domain {domain} is not what its intent asks for")]
    NotAsked {
        /// The request.
        request: RequestId,
        /// The domain.
        domain: KeyName,
    },
}
