//! What the store gives back: rows as one node knows them.

use crate::digest::Digest;
use crate::ids::{Attempt, ClientId, Epoch, KeyName, NodeName, RequestId, Tenant};
use crate::intent::Action;
use crate::key::KeyState;
use crate::reason::Reason;
use crate::time::UnixMillis;

/// A step is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Log index of the step's first leaf; the log's size where the step had none.
    pub first_leaf: u64,
}

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

/// What a request is claimed with; see [`super::Write::ClaimRequest`].
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

/// A request as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// What was claimed.
    pub claim: ClaimRequest,
    /// Where it stands.
    pub state: RequestState,
    /// Last change.
    pub updated_at: UnixMillis,
    /// Where it stands in the order in which this node first saw its requests.
    pub place: u64,
}

impl RequestRow {
    /// Whether the id is still free for another intent of this client: all that became of it is a refusal because the
    /// intent lives for too long, which says nothing of what it asks for. The client signs anew, for a shorter time.
    pub fn yields_to(&self, client: &ClientId) -> bool {
        let too_long = |word: &String| word == Reason::ValidityTooLong.as_str();
        self.claim.client == *client && matches!(&self.state, RequestState::Refused(word) if too_long(word))
    }
}

/// Where a request stands at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// Claimed; no result yet.
    Received,
    /// Refused, with the reason's word. Not final: the same intent may be permitted later.
    Refused(String),
    /// Done, with the encoded result.
    Completed(Vec<u8>),
}

/// An attempt as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The try.
    pub attempt: Attempt,
    /// Encoded vote body, if this node voted.
    pub vote_body: Option<Vec<u8>>,
    /// What this node did last.
    pub state: AttemptState,
}

/// What a node did last in an attempt. `Released` and `Abandoned` exclude each other for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// Voted, with the encoded statement.
    Voted(Vec<u8>),
    /// Released a partial signature under a certificate.
    Released {
        /// What was released.
        partial: Vec<u8>,
        /// Encoded certificate.
        certificate: Vec<u8>,
    },
    /// Promised never to release, with the encoded statement.
    Abandoned(Vec<u8>),
}

/// A key as one node holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Encoded record.
    pub record: Vec<u8>,
    /// Request that made it.
    pub request: RequestId,
    /// Sealed share.
    pub sealed_share: Vec<u8>,
    /// Pending or active.
    pub state: KeyState,
    /// Encoded certificate once active.
    pub certificate: Option<Vec<u8>>,
    /// Last change.
    pub updated_at: UnixMillis,
}

/// An HSM key as one node knows it, its own or another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmKeyRow {
    /// Encoded record.
    pub record: Vec<u8>,
    /// Encoded envelope of the client's intent to make it.
    pub intent: Vec<u8>,
    /// Encoded certificate once active.
    pub certificate: Option<Vec<u8>>,
}

/// A ban as one node recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRow {
    /// Key.
    pub key: KeyName,
    /// Epoch.
    pub epoch: Epoch,
    /// Who.
    pub peer: NodeName,
    /// Which check failed.
    pub what: String,
}

/// A check that was pending when the node went down (S-3.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheck {
    /// Session id.
    pub session: Digest,
    /// Key.
    pub key: KeyName,
    /// Epoch.
    pub epoch: Epoch,
    /// Whose messages.
    pub peers: Vec<NodeName>,
}

/// What a peer has shown of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerHead {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Whether it is fenced.
    pub fenced: bool,
}

/// The last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Leaves covered.
    pub size: u64,
    /// Signed note.
    pub note: String,
    /// Encoded frontier.
    pub frontier: Vec<u8>,
}
