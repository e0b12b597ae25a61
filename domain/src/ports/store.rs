//! The store port: a step's writes are all durable, or none is. Log leaves go in the same transaction as what they tell.

mod approvals;
mod bundle;
mod error;
mod freeze;
mod kek;
mod lines;
mod rows;
pub mod tokens;

pub use approvals::*;
pub use bundle::*;
pub use error::*;
pub use freeze::*;
pub use kek::*;
pub use lines::*;
pub use rows::*;

use super::Pending;
use crate::claim::{Claimant, Claims, LineMemory};
use crate::digest::Digest;
use crate::ids::{Epoch, Incarnation, KeyName, NodeName, RequestId, Tenant};
use crate::limit::LineId;
use crate::time::UnixMillis;

/// Writes that belong together, in order, and the log leaves that tell of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Applied in order; the first that does not fit undoes the whole step.
    pub writes: Vec<Write>,
    /// Appended to the log in order.
    pub leaves: Vec<Vec<u8>>,
}

/// One write with the condition under which it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Takes (tenant, request id) for one intent digest, for ever. Again with the same digest: it is open
    /// again whatever it was refused for, unless it is completed, a person has rejected it or its client has cancelled it. With another:
    /// [`Conflict::RequestDigest`], unless the request [yields](RequestRow::yields_to) and this node has neither voted nor
    /// claimed anything for it, nor knows what a person said of it; then the id is the other's from here on.
    ClaimRequest(ClaimRequest),
    /// Gives a request id back that this node took for an intent while others had it for another. Does nothing once this
    /// node has voted in an attempt, has a result or knows what a person said of it.
    Unclaim {
        /// Tenant.
        tenant: Tenant,
        /// Request.
        request: RequestId,
    },
    /// Notes why a request was refused, unless it is completed, rejected or cancelled. The request must be claimed.
    Refuse {
        /// Tenant.
        tenant: Tenant,
        /// Request.
        request: RequestId,
        /// Reason word.
        reason: String,
        /// When.
        at: UnixMillis,
    },
    /// This node's one vote for an attempt. The same statement again: nothing changes. Another, or after an
    /// abandonment: [`Conflict::Voted`] or [`Conflict::Abandoned`]. After a rejection: [`Conflict::Rejected`]; after a
    /// cancellation: [`Conflict::Cancelled`], here and for releases.
    Vote {
        /// The object.
        attempt: AttemptId,
        /// Encoded statement.
        statement: Vec<u8>,
        /// Encoded vote body, for asking later.
        body: Vec<u8>,
    },
    /// What a vote of the same step takes of limits, on all its lines or on none. The rule is
    /// [`LineMemory::consider`], asked here once more: two votes that were considered at the same time cannot both be
    /// written. In the way: [`Conflict::Claim`].
    Claim {
        /// Whose.
        by: Claimant,
        /// What.
        claims: Claims,
    },
    /// Keeps what a line is called, for people. Again: nothing changes.
    NameLine(NamedLine),
    /// The partial signature that is about to leave. Needs the vote; the same bytes again: nothing changes. Other
    /// bytes: [`Conflict::Released`]. After an abandonment: [`Conflict::Abandoned`]. After a rejection:
    /// [`Conflict::Rejected`].
    Release {
        /// The object.
        attempt: AttemptId,
        /// What leaves.
        partial: Vec<u8>,
        /// Encoded certificate that allowed it.
        certificate: Vec<u8>,
    },
    /// A promise never to release. After a release: [`Conflict::Released`]. Again: the first statement stays.
    Abandon {
        /// The object.
        attempt: AttemptId,
        /// Encoded statement.
        statement: Vec<u8>,
    },
    /// The one result of a request. The same bytes again: nothing changes. Others: [`Conflict::Completed`].
    Complete {
        /// Tenant.
        tenant: Tenant,
        /// Request.
        request: RequestId,
        /// Encoded result, returned byte for byte ever after.
        result: Vec<u8>,
        /// When.
        at: UnixMillis,
    },
    /// This node's share of a new key, sealed. The name must be free, or pending from the same request:
    /// otherwise [`Conflict::KeyExists`].
    PutPendingKey {
        /// Name.
        name: KeyName,
        /// Request that makes it.
        request: RequestId,
        /// Encoded record.
        record: Vec<u8>,
        /// Sealed share.
        sealed_share: Vec<u8>,
        /// When.
        at: UnixMillis,
    },
    /// All n nodes have signed the record. The key must be pending or active with this very record.
    ActivateKey {
        /// Name.
        name: KeyName,
        /// Encoded record.
        record: Vec<u8>,
        /// Encoded certificate.
        certificate: Vec<u8>,
        /// When.
        at: UnixMillis,
    },
    /// Gives a name to a key of this or another node's HSM. The name must be free, or this very record's: otherwise
    /// [`Conflict::KeyExists`]. Again: nothing changes.
    PutHsmKey {
        /// Name.
        name: KeyName,
        /// Encoded record.
        record: Vec<u8>,
        /// Encoded envelope of the client's intent to make it.
        intent: Vec<u8>,
        /// When.
        at: UnixMillis,
    },
    /// A majority of nodes has signed an HSM key's record. The name must be this very record's: otherwise
    /// [`Conflict::NoKey`].
    ActivateHsmKey {
        /// Name.
        name: KeyName,
        /// Encoded record.
        record: Vec<u8>,
        /// Encoded certificate.
        certificate: Vec<u8>,
        /// When.
        at: UnixMillis,
    },
    /// About a version of a KEK; see there.
    Kek(KekWrite),
    /// About the vault; see there.
    Vault(tokens::VaultWrite),
    /// About freezes; see there.
    Freeze(FreezeWrite),
    /// About approvals; see there.
    Approval(ApprovalWrite),
    /// About policy bundles; see there.
    Bundle(BundleWrite),
    /// Bans a peer for a key, for good.
    Ban {
        /// Key.
        key: KeyName,
        /// Epoch of its shares.
        epoch: Epoch,
        /// Who.
        peer: NodeName,
        /// Which check failed.
        what: String,
    },
    /// Marks that a peer's messages are about to be checked in a session (S-3.16): if it is found at the next start,
    /// the check has crashed the node.
    CheckPending {
        /// Session id.
        session: Digest,
        /// Key.
        key: KeyName,
        /// Epoch.
        epoch: Epoch,
        /// Whose messages.
        peers: Vec<NodeName>,
    },
    /// The session's checks have ended one way or another.
    CheckDone {
        /// Session id.
        session: Digest,
    },
    /// This node's new start. Must be the last one plus one.
    Incarnation(Incarnation),
    /// The highest start of a peer that was seen. Never goes back.
    PeerIncarnation {
        /// Peer.
        node: NodeName,
        /// Its start.
        incarnation: Incarnation,
    },
    /// The longest log that a peer has shown with a signed checkpoint. Never goes back, and never changes at one size.
    PeerHead {
        /// Peer.
        node: NodeName,
        /// Leaves.
        size: u64,
        /// Root over them.
        root: Digest,
    },
    /// A peer has shown less than it had shown before: it was restored from an older copy, and has forgotten votes. It
    /// stays fenced until an operator of this node accepts it.
    FencePeer {
        /// Peer.
        node: NodeName,
    },
    /// An operator of this node accepts what a peer is now: what it had shown before is forgotten.
    AcceptPeer {
        /// Peer.
        node: NodeName,
    },
    /// A signed checkpoint of the log and the Merkle frontier at its size.
    Checkpoint {
        /// Leaves covered.
        size: u64,
        /// Signed note.
        note: String,
        /// Encoded frontier.
        frontier: Vec<u8>,
    },
}

/// Durable state of one node. Reads see every step whose future was ready before they began.
pub trait Store: Approvals + Freezes + Bundles + Send + Sync {
    /// Applies a step; the future is ready when it is on the disk or refused.
    fn commit(&self, step: Step) -> Pending<Result<Committed, StoreError>>;

    /// One request.
    ///
    /// # Errors
    /// [`StoreError`], here and in all reads below.
    fn request(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<RequestRow>, StoreError>;

    /// A tenant's requests, newest first, those before a [place](RequestRow::place), at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn requests(&self, tenant: &Tenant, before: Option<u64>, limit: u32) -> Result<Vec<RequestRow>, StoreError>;

    /// All attempts at a request that this node has a record of, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn attempts(&self, tenant: &Tenant, request: &RequestId) -> Result<Vec<AttemptRow>, StoreError>;

    /// What this node remembers of a line.
    ///
    /// # Errors
    /// [`StoreError`].
    fn line(&self, line: &LineId) -> Result<LineMemory, StoreError>;

    /// Lines of which a claim is remembered and which have a name, at most `limit` of them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn named_lines(&self, limit: u32) -> Result<Vec<NamedLine>, StoreError>;

    /// One key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn key(&self, name: &KeyName) -> Result<Option<KeyRow>, StoreError>;

    /// All keys by name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;

    /// All HSM keys by name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn hsm_keys(&self) -> Result<Vec<HsmKeyRow>, StoreError>;

    /// One HSM key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn hsm_key(&self, name: &KeyName) -> Result<Option<HsmKeyRow>, StoreError>;

    /// All versions of one KEK, or of all of them, by name and number.
    ///
    /// # Errors
    /// [`StoreError`].
    fn kek_versions(&self, kek: Option<&KeyName>) -> Result<Vec<KekVersionRow>, StoreError>;

    /// All bans.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bans(&self) -> Result<Vec<BanRow>, StoreError>;

    /// Checks that were pending when the node last went down.
    ///
    /// # Errors
    /// [`StoreError`].
    fn pending_checks(&self) -> Result<Vec<PendingCheck>, StoreError>;

    /// Last recorded start of this node; 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn incarnation(&self) -> Result<Incarnation, StoreError>;

    /// Highest start of a peer that was seen.
    ///
    /// # Errors
    /// [`StoreError`].
    fn peer_incarnation(&self, node: &NodeName) -> Result<Option<Incarnation>, StoreError>;

    /// What a peer has shown of its log, if anything.
    ///
    /// # Errors
    /// [`StoreError`].
    fn peer_head(&self, node: &NodeName) -> Result<Option<PeerHead>, StoreError>;

    /// Number of leaves.
    ///
    /// # Errors
    /// [`StoreError`].
    fn log_size(&self) -> Result<u64, StoreError>;

    /// Leaves from index `from`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn leaves(&self, from: u64, limit: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Last checkpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError>;
}
