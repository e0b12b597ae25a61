//! What a leaf says of a request that waits for persons.

use tally_domain::{Digest, NodeName, RequestId, Tenant, UnixMillis};

/// This node holds a request until enough persons have approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// Digest of the intent.
    pub intent_digest: Digest,
    /// The policy bundle under which it waits.
    pub bundle: Digest,
    /// Digest of what this node shows of it: what an approval must be over.
    pub summary_digest: Digest,
    /// The node that the client asked.
    pub owner: NodeName,
    /// When the intent expires.
    pub expires_at: UnixMillis,
}
