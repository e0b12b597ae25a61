//! What can be wrong with what a log says of KEKs.

use tally_domain::{KekNumber, KeyName, NodeName, RequestId};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KekProblem {
    /// The node did what it had not permitted.
    #[error("the node acted on request {request} about KEK {kek} without having permitted that intent before")]
    NotPermitted {
        /// The request.
        request: RequestId,
        /// The KEK.
        kek: KeyName,
    },
    /// The node did something else than the client had signed.
    #[error("what the node did for request {request} with KEK {kek} is not what its intent asks for")]
    NotAsked {
        /// The request.
        request: RequestId,
        /// The KEK.
        kek: KeyName,
    },
    /// One request, two outcomes.
    #[error("request {request} has two outcomes")]
    TwoOutcomes {
        /// The request.
        request: RequestId,
    },
    /// A version that does not follow the one before.
    #[error("version {number} of KEK {kek} does not follow the last one; a version has one key, for ever")]
    NotNext {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
    },
    /// A version that was never made.
    #[error("the log has no version {number} of KEK {kek}")]
    NoVersion {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
    },
    /// A version was used that was not enabled.
    #[error("version {number} of KEK {kek} was used for request {request} while it was {state}")]
    NotEnabled {
        /// The request.
        request: RequestId,
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
        /// What it was.
        state: &'static str,
    },
    /// A change that cannot be.
    #[error("version {number} of KEK {kek} was {state} and cannot then have been {event}")]
    Impossible {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
        /// What it was.
        state: &'static str,
        /// What is said to have become of it.
        event: &'static str,
    },
    /// A version was destroyed before its time.
    #[error("version {number} of KEK {kek} was destroyed before its time")]
    TooEarly {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
    },
    /// Nobody asked for it.
    #[error("version {number} of KEK {kek} was changed, and no request asked for it")]
    Unasked {
        /// The KEK.
        kek: KeyName,
        /// The version.
        number: KekNumber,
    },
    /// No record of the KEK.
    #[error("KEK {kek} was used, but its certificate is in no log")]
    NoKek {
        /// The KEK.
        kek: KeyName,
    },
    /// The KEK lives elsewhere.
    #[error("KEK {kek} was used here, but its home is {home}")]
    NotHome {
        /// The KEK.
        kek: KeyName,
        /// Where it lives.
        home: NodeName,
    },
    /// The first version is not the one that the majority has named.
    #[error("the first version of KEK {kek} is another key than its certificate says")]
    OtherKek {
        /// The KEK.
        kek: KeyName,
    },
}
