//! What writes are about.

use crate::digest::Digest;
use crate::ids::{Attempt, ClientId, KeyName, RequestId, Tenant};
use crate::intent::Action;
use crate::time::UnixMillis;

/// Names an attempt at a request: the object of a vote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request: RequestId,
    /// The try.
    pub attempt: Attempt,
}

/// See [`super::Write::ClaimRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Tenant.
    pub tenant: Tenant,
    /// Request.
    pub request: RequestId,
    /// Digest of the intent.
    pub intent_digest: Digest,
    /// Who asked.
    pub client: ClientId,
    /// With which key.
    pub key: KeyName,
    /// For what.
    pub action: Action,
    /// When it was first seen here.
    pub at: UnixMillis,
}
