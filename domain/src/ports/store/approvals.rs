//! Writes and rows of requests that wait for persons, and of what persons have said.

use super::StoreError;
use crate::approval::Verdict;
use crate::digest::Digest;
use crate::ids::{NodeName, PersonName, RequestId, Tenant};
use crate::time::UnixMillis;

/// Most requests of a tenant that are kept after their time is over: what a person looks through, newest first.
pub const ENDED_MAX: u32 = 1_000;

/// One write about approvals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalWrite {
    /// A request waits for persons. It must be claimed. Again: what is shown, and under which bundle, is as given now;
    /// a request that is completed does not wait, and nothing changes.
    Await(WaitingRow),
    /// What a person said. An approval takes the place of the person's former one; a rejection is for good, and refuses
    /// the request. An approval after any rejection: [`super::Conflict::Rejected`].
    Put(ApprovalRow),
    /// The request waits no longer: its time is over by more than clocks may be off. It is kept among those of its tenant
    /// that have ended, at most [`ENDED_MAX`] of them.
    End {
        /// Tenant.
        tenant: Tenant,
        /// Request.
        request: RequestId,
        /// When: what was written down of a request after its time is that it has ended.
        at: UnixMillis,
    },
    /// The client takes the request back, for good. It must be claimed. Again: the first stays. When it is completed:
    /// [`super::Conflict::Completed`].
    Cancel(CancellationRow),
    /// Writes nothing: the step needs that nobody has rejected or cancelled the request. Otherwise [`super::Conflict::Rejected`] or
    /// [`super::Conflict::Cancelled`].
    NotRejected {
        /// Tenant.
        tenant: Tenant,
        /// Request.
        request: RequestId,
    },
}

/// A request that waits for persons, or has been rejected by one and is not past its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// Tenant.
    pub tenant: Tenant,
    /// Request.
    pub request: RequestId,
    /// Encoded envelope of the client's intent.
    pub intent: Vec<u8>,
    /// The node that the client asked, as far as this one knows: it leads once enough persons have approved.
    pub owner: NodeName,
    /// The bundle under which this node has looked at it last.
    pub bundle: Digest,
    /// Digest of what this node shows of it under that bundle.
    pub summary: Digest,
    /// When the intent expires.
    pub expires_at: UnixMillis,
    /// When this node wrote it down.
    pub at: UnixMillis,
}

/// What a person said of a request, checked by this node when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Tenant.
    pub tenant: Tenant,
    /// Request.
    pub request: RequestId,
    /// Who.
    pub person: PersonName,
    /// What.
    pub verdict: Verdict,
    /// Encoded envelope.
    pub envelope: Vec<u8>,
    /// When this node wrote it down.
    pub at: UnixMillis,
}

/// What a client has taken back, checked by this node when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancellationRow {
    /// Tenant.
    pub tenant: Tenant,
    /// Request.
    pub request: RequestId,
    /// Encoded envelope.
    pub envelope: Vec<u8>,
    /// When this node wrote it down.
    pub at: UnixMillis,
}

/// What a store remembers of approvals.
pub trait Approvals {
    /// One request that waits.
    ///
    /// # Errors
    /// [`StoreError`], here and below.
    fn waiting(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<WaitingRow>, StoreError>;

    /// All requests that wait, those that expire first at the beginning.
    ///
    /// # Errors
    /// [`StoreError`].
    fn all_waiting(&self) -> Result<Vec<WaitingRow>, StoreError>;

    /// A tenant's requests whose time is over, the last one at the beginning.
    ///
    /// # Errors
    /// [`StoreError`].
    fn ended_waiting(&self, tenant: &Tenant) -> Result<Vec<WaitingRow>, StoreError>;

    /// What persons have said of a request, by person.
    ///
    /// # Errors
    /// [`StoreError`].
    fn approvals(&self, tenant: &Tenant, request: &RequestId) -> Result<Vec<ApprovalRow>, StoreError>;

    /// Whether its client has taken a request back.
    ///
    /// # Errors
    /// [`StoreError`].
    fn cancellation(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<CancellationRow>, StoreError>;
}
