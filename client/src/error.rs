//! What can go wrong, split by who has to act: the caller, policy, the nodes, or nobody but us.

use crate::profile::ProfileError;
use std::collections::BTreeMap;
use std::time::Duration;
use tally_domain::reason::{Class, ERROR_DOMAIN, Reason};
use tonic::Code;
use tonic_types::StatusExt as _;

/// How a program ends, as the `tally` command does (DESIGN 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Anything that has no number of its own.
    Other,
    /// The command or profile is wrong.
    Usage,
    /// Policy or a check of who is calling refused it.
    Denied,
    /// Policy permits it once persons have approved it.
    NeedsApproval,
    /// Something that is needed is away or busy; the same request may go through later.
    Unavailable,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::NeedsApproval => 4,
            Self::Unavailable => 5,
        }
    }

    /// The exit for a reason.
    pub fn of(reason: Reason) -> Self {
        match reason.class() {
            _ if reason == Reason::ApprovalsRequired => Self::NeedsApproval,
            _ if is_a_no(reason) => Self::Denied,
            _ if passes(reason) => Self::Unavailable,
            // A mistake in what was asked, as a wrong scheme is: no rule has said no.
            _ if reason == Reason::KeyPurpose => Self::Other,
            Class::PermissionDenied | Class::Unauthenticated => Self::Denied,
            Class::Unavailable | Class::DeadlineExceeded | Class::Aborted | Class::ResourceExhausted => {
                Self::Unavailable
            }
            Class::InvalidArgument
            | Class::FailedPrecondition
            | Class::NotFound
            | Class::AlreadyExists
            | Class::DataLoss
            | Class::Internal => Self::Other,
        }
    }
}

/// The nodes are there and say no, if only for now; gRPC has classed these by something else.
fn is_a_no(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::VelocityLimit
            | Reason::EnumerationGuard
            | Reason::TokensExhausted
            | Reason::BundleForked
            | Reason::BundleVetoed
            | Reason::BundleDowngrade
            | Reason::BundleChain
            | Reason::BundleRoster
    )
}

/// Nothing is wrong with what was asked: it waits for its time, for a node, or for the admins, and may go through then.
fn passes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BundleWaits
            | Reason::BundleExpired
            | Reason::BundleMismatch
            | Reason::StalePolicy
            | Reason::StaleIncarnation
            | Reason::RolledBack
            | Reason::KeyNotActive
            | Reason::TooEarly
    )
}

/// A node answered with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which node.
    pub endpoint: String,
    /// Why.
    pub reason: Reason,
    /// The gRPC code that came with it.
    pub code: Code,
    /// Facts about it: `rule`, `condition`, `node`...
    pub metadata: BTreeMap<String, String>,
    /// When the same call may be sent again, where the node says so: it had no room for it, and has begun nothing.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// What is wrong and what to do.
    pub fn sentence(&self) -> &'static str {
        self.reason.sentence()
    }
}

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The order cannot become an intent.
    #[error("the request's `{field}` is not valid: {want}")]
    Order {
        /// Which field.
        field: &'static str,
        /// How a valid one looks.
        want: &'static str,
    },
    /// A node refused or failed with one of our reasons.
    #[error("{}: {}", .0.reason.as_str(), .0.sentence())]
    Refused(Box<Refused>),
    /// A node answered with a reason that this version does not know.
    #[error("{endpoint} answered {code:?} for a reason that this version does not know (`{word}`); update the client")]
    UnknownReason {
        /// Which node.
        endpoint: String,
        /// gRPC code.
        code: Code,
        /// The reason's word.
        word: String,
    },
    /// No connection, or it broke.
    #[error(
        "{endpoint} cannot be reached ({what}); check that the node runs and that the profile's certificates are the cluster's"
    )]
    Unreachable {
        /// Which node.
        endpoint: String,
        /// What the transport says.
        what: String,
    },
    /// No answer in time.
    #[error("{endpoint} did not answer in time; ask for the request's state, or retry with the same request id")]
    Deadline {
        /// Which node.
        endpoint: String,
    },
    /// An error that does not come from a node's handlers.
    #[error("{endpoint} answered {code:?}: {message}")]
    Status {
        /// Which node.
        endpoint: String,
        /// gRPC code.
        code: Code,
        /// Its text.
        message: String,
    },
    /// The answer is not what the contract says.
    #[error("{endpoint} sent an answer with an invalid `{field}`; its version may be another, or it is faulty")]
    Answer {
        /// Which node.
        endpoint: String,
        /// Which field.
        field: &'static str,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness, so no request id can be drawn")]
    Randomness,
    /// Called outside a Tokio runtime.
    #[error("the client needs a Tokio runtime; create it inside one")]
    NoRuntime,
}

impl ClientError {
    /// How a program ends on this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Profile(_) | Self::Order { .. } => Exit::Usage,
            Self::Refused(refused) => Exit::of(refused.reason),
            Self::Unreachable { .. } | Self::Deadline { .. } => Exit::Unavailable,
            Self::UnknownReason { code, .. } | Self::Status { code, .. } => match code {
                Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
                Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::ResourceExhausted => {
                    Exit::Unavailable
                }
                _ => Exit::Other,
            },
            Self::Answer { .. } | Self::Randomness | Self::NoRuntime => Exit::Other,
        }
    }

    /// The refusal, if a node gave one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// When a node that had no room for the call says that it may be sent again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.refused()?.retry_after
    }

    /// Whether the same call may succeed at another node or at once. Never true for a denial; nor when nodes say that they
    /// are overloaded: then only after the pause that they ask for, because every retry adds to that.
    pub fn is_transient(&self) -> bool {
        let code = match self {
            Self::Unreachable { .. } | Self::Deadline { .. } => return true,
            // The reason says what it is; the code beside it may be a broken node's, or a proxy's.
            Self::Refused(refused) => {
                return matches!(refused.reason.class(), Class::Unavailable | Class::DeadlineExceeded | Class::Aborted);
            }
            Self::UnknownReason { code, .. } | Self::Status { code, .. } => *code,
            _ => return false,
        };
        matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Aborted)
    }

    /// Reads a status: our reason if it carries one, the transport's trouble otherwise.
    pub(crate) fn from_status(endpoint: &str, status: &tonic::Status) -> Self {
        let endpoint = endpoint.to_owned();
        let code = status.code();
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN) {
            return match Reason::parse(&info.reason) {
                Some(reason) => {
                    let metadata = info.metadata.into_iter().collect();
                    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
                    Self::Refused(Box::new(Refused { endpoint, reason, code, metadata, retry_after }))
                }
                None => Self::UnknownReason { endpoint, code, word: info.reason },
            };
        }
        // What tonic makes of a broken connection is `Unavailable` or, with an error as its source, `Unknown`.
        let broken = code == Code::Unavailable || std::error::Error::source(status).is_some();
        match code {
            Code::DeadlineExceeded | Code::Cancelled => Self::Deadline { endpoint },
            _ if broken => Self::Unreachable { endpoint, what: innermost(status) },
            _ => Self::Status { endpoint, code, message: status.message().to_owned() },
        }
    }
}

/// The text of the last error in a chain: the first ones say "transport error".
fn innermost(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn status(code: Code, domain: &str, word: &str) -> tonic::Status {
        let details = ErrorDetails::with_error_info(word, domain, [("rule".to_owned(), "r".to_owned())]);
        tonic::Status::with_error_details(code, "text", details)
    }

    #[test]
    fn denied_is_not_failed() {
        let denied = ClientError::from_status("n", &status(Code::PermissionDenied, "tally", "POLICY_DENIED"));
        assert!(!denied.is_transient());
        assert_eq!(denied.exit(), Exit::Denied);
        assert_eq!(denied.refused().unwrap().metadata["rule"], "r");
        let unclear = ClientError::from_status("n", &status(Code::Unavailable, "tally", "POLICY_DENIED"));
        assert!(!unclear.is_transient(), "a denial is not tried again, whatever code is beside it");
        let away = ClientError::from_status("n", &status(Code::Unavailable, "tally", "SIGNERS"));
        assert!(away.is_transient());
        assert_eq!(away.exit(), Exit::Unavailable);
        let waits = ClientError::from_status("n", &status(Code::FailedPrecondition, "tally", "APPROVALS_REQUIRED"));
        assert_eq!((waits.is_transient(), waits.exit().code()), (false, 4));
    }

    #[test]
    fn a_reason_ends_a_program_as_the_others_of_its_kind_do() {
        use {Exit::*, Reason::*};
        for (exit, reasons) in [
            (Denied, vec![PolicyDenied, Rejected, Frozen, VelocityLimit, Acl, IntentSignature, ApprovalInitiator]),
            (Denied, vec![BundleSignatures, BundleForked, BundleVetoed, BundleDowngrade, BundleChain, BundleRoster]),
            (NeedsApproval, vec![ApprovalsRequired]),
            (Unavailable, vec![Signers, Voters, Participants, InDoubt, Contention, ClockSkew, Overloaded, Hsm]),
            (Unavailable, vec![BundleWaits, BundleExpired, BundleMismatch, KeyNotActive, TooEarly]),
            (Other, vec![KeyPurpose, KeyScheme]),
            (Other, vec![Malformed, BundleInvalid, BundleNotFound, KeyNotFound, RequestNotFound, BundleSettled]),
            (Other, vec![Expired, RequestIdConflict, AlreadyApproved, NotWaiting, ValidityTooLong, Tampered, Bug]),
        ] {
            for reason in reasons {
                assert_eq!(Exit::of(reason), exit, "{reason:?}");
            }
        }
    }

    #[test]
    fn a_foreign_domain_or_an_unknown_word_is_no_reason_of_ours() {
        let foreign = ClientError::from_status("n", &status(Code::PermissionDenied, "proxy", "POLICY_DENIED"));
        assert!(matches!(foreign, ClientError::Status { code: Code::PermissionDenied, .. }));
        let newer = ClientError::from_status("n", &status(Code::FailedPrecondition, "tally", "NOT_A_WORD_YET"));
        assert!(matches!(newer, ClientError::UnknownReason { ref word, .. } if word == "NOT_A_WORD_YET"));
    }

    #[test]
    fn no_denial_or_overload_is_transient_and_every_transient_reason_exits_as_unavailable() {
        for reason in Reason::ALL {
            let code = match reason.class() {
                Class::PermissionDenied => Code::PermissionDenied,
                Class::Unavailable => Code::Unavailable,
                Class::Aborted => Code::Aborted,
                Class::DeadlineExceeded => Code::DeadlineExceeded,
                Class::ResourceExhausted => Code::ResourceExhausted,
                _ => Code::FailedPrecondition,
            };
            let error = ClientError::from_status("n", &status(code, "tally", reason.as_str()));
            if error.is_transient() {
                assert_eq!(error.exit(), Exit::Unavailable, "{reason:?}");
            }
            if Exit::of(*reason) == Exit::Denied {
                assert!(!error.is_transient(), "{reason:?}");
            }
        }
    }
}
