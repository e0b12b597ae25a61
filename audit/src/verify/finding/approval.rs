//! What can be wrong about approvals.

use tally_domain::approval::BadApproval;
use tally_domain::{PersonName, RequestId};

/// What is wrong about what persons have said, or in spite of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalProblem {
    /// Not an approval, or not signed by the person.
    #[error("what a person is said to have signed is not believed: {0}")]
    Statement(#[from] BadApproval),
    /// Of a person whom the bundle does not name.
    #[error("{person} is not in groups.toml of the bundle under which the approval was given")]
    UnknownPerson {
        /// The person.
        person: PersonName,
    },
    /// About an intent that the log does not have.
    #[error("{person} decided about request {request}, but the log has no such intent before")]
    WithoutIntent {
        /// The person.
        person: PersonName,
        /// The request.
        request: RequestId,
    },
    /// A vote names an approval that the log does not have.
    #[error("the vote for request {request} names an approval that the log does not have before")]
    NotInLog {
        /// The request.
        request: RequestId,
    },
    /// A vote names an approval of something else, or one that was void by then.
    #[error("the vote for request {request} names an approval by {person} that does not count for it: `{field}`")]
    DoesNotCount {
        /// The request.
        request: RequestId,
        /// The person.
        person: PersonName,
        /// What does not fit.
        field: &'static str,
    },
    /// Signed for although a person had rejected it.
    #[error("the node went on with request {request} after {person} had rejected it")]
    AfterRejection {
        /// The request.
        request: RequestId,
        /// The person.
        person: PersonName,
    },
    /// Signed for with too few approvals, or those of the wrong persons.
    #[error("rule {rule} permitted request {request}, and its approvals are not those that the rule asks for")]
    NotEnough {
        /// The request.
        request: RequestId,
        /// The rule.
        rule: String,
    },
}
