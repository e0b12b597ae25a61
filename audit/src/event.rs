//! What a leaf of a node's log says. Written before anything that it speaks of leaves the node (S-3.3, S-5.1).
//!
//! A leaf is canonical protobuf behind a version field: [`Event::from_leaf`] accepts exactly what [`Event::to_leaf`]
//! gives, so a leaf has one reading and a reading has one leaf. No field can hold a share, a nonce, a partial signature or
//! anything that was wrapped: of those only digests are kept (S-5.5).

mod approval;
mod bundle;
mod kek;
mod limit;
mod request;
mod token;
mod wire;

pub use approval::Waiting;
pub use bundle::BundleEvent;
pub use kek::{Asked, KekChanged, KekMade, Wrapped};
pub use limit::LineStood;
pub use token::{DomainChanged, TokensUsed, digest_of};

use prost::Message as _;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::intent::decode_canonical;
use tally_domain::key::KeyCertificate;
use tally_domain::vote::Certificate;
use tally_domain::{
    Attempt, ClientId, DerivationPath, Digest, Epoch, Incarnation, KeyName, NodeName, RequestId, Tenant, UnixMillis,
};

/// Version of the leaf format, the first field of every leaf.
pub const LEAF_VERSION: u32 = 1;

/// Largest leaf. The largest real one carries a client's envelope (64 KiB) or a key certificate of 16 nodes (about as
/// much); the rest is room for later kinds.
pub const LEAF_MAX_BYTES: usize = 1024 * 1024;

/// One leaf: which node, in which of its starts, when, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The node whose log this is.
    pub node: NodeName,
    /// Which start of the node.
    pub incarnation: Incarnation,
    /// The node's own clock.
    pub time: UnixMillis,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The node started; the first leaf of every incarnation.
    Boot {
        /// The identity key's certificate for the boot key of this start.
        boot_cert: Envelope,
        /// The policy bundle that is active.
        bundle: Digest,
        /// Version of the program.
        version: String,
    },
    /// A signed intent came in; nothing about it has been believed yet.
    IntentReceived {
        /// The envelope, as received.
        envelope: Envelope,
        /// Who brought it.
        from: Origin,
        /// [`tally_domain::dsse::content_digest`] of the envelope.
        digest: Digest,
    },
    /// This node decided about an intent.
    Decided {
        /// Tenant of the request.
        tenant: Tenant,
        /// The request.
        request_id: RequestId,
        /// Digest of the intent that was decided about.
        intent_digest: Digest,
        /// Permitted or refused, and by what.
        verdict: Verdict,
        /// The policy bundle that decided.
        bundle: Digest,
        /// What the node itself decoded, in words for people.
        summary: String,
        /// The lines that it is charged on; none where no limit applies.
        limits: Vec<LineStood>,
    },
    /// This node voted.
    Voted {
        /// The vote, as it goes to the leader.
        vote: Statement,
    },
    /// This node released its partial signature.
    Released {
        /// Tenant of the request.
        tenant: Tenant,
        /// The request.
        request_id: RequestId,
        /// Which try.
        attempt: Attempt,
        /// The votes of all of S that demanded it.
        certificate: Certificate,
        /// Digest of the partial signature; never the partial itself.
        partial_digest: Digest,
    },
    /// A quorum has agreed that limits leave room for what this node is about to do alone; it is done after this leaf.
    Certified {
        /// The votes, which say what it is.
        certificate: Certificate,
    },
    /// A node promised never to release for an attempt.
    Abandoned {
        /// The promise.
        statement: Statement,
    },
    /// A signature was combined and has verified.
    Completed {
        /// Tenant of the request.
        tenant: Tenant,
        /// The request.
        request_id: RequestId,
        /// Digest of the intent.
        intent_digest: Digest,
        /// The key.
        key: KeyName,
        /// Which child of the key signed.
        path: DerivationPath,
        /// ECDSA: r and s, 64 bytes, low s, no recovery id. Ed25519: 64 bytes. RSA: PSS, 384 bytes.
        signature: Vec<u8>,
        /// Public key of the child: secp256k1 33 bytes compressed, Ed25519 32 bytes. Of a key in an HSM, whatever its
        /// scheme: SubjectPublicKeyInfo, which is longer than either.
        public_key: Vec<u8>,
        /// ECDSA and RSA: the 32-byte digest. Ed25519: the message.
        to_sign: Vec<u8>,
    },
    /// This node's share of a new key is durable, and it has signed the record.
    KeyPending {
        /// [`tally_domain::key::KeyRecord::to_bytes`].
        record: Vec<u8>,
    },
    /// All participants have signed a key's record.
    KeyActive {
        /// Their signatures.
        certificate: KeyCertificate,
    },
    /// This node has given a name to a key of an HSM, its own or another node's, and gives it to no other.
    HsmKeyPending {
        /// [`tally_domain::HsmKeyRecord::to_bytes`].
        record: Vec<u8>,
    },
    /// A majority of nodes, the home among them, has given a key of an HSM its name.
    HsmKeyActive {
        /// Their signatures.
        certificate: HsmKeyCertificate,
    },
    /// A KEK has a new version.
    KekMade(KekMade),
    /// Something became of a version of a KEK.
    KekChanged(KekChanged),
    /// A KEK has wrapped or opened something.
    Wrapped(Wrapped),
    /// Something became of a token domain.
    DomainChanged(DomainChanged),
    /// Something was done with cards and tokens.
    TokensUsed(TokensUsed),
    /// A node, this or another, has frozen a key or everything; from here on this node uses nothing of it.
    Frozen {
        /// That node's word.
        statement: Statement,
    },
    /// This node has said that freezes shall be lifted.
    Unfreezing {
        /// Its word.
        statement: Statement,
    },
    /// A majority of nodes has lifted freezes.
    Unfrozen {
        /// Their words.
        certificate: UnfreezeCertificate,
    },
    /// A request waits for persons.
    Waiting(Waiting),
    /// What a person has said of a request, approval or rejection; checked by this node.
    Said {
        /// What the person signed: a [`tally_domain::Approval`].
        approval: Envelope,
    },
    /// The client has taken a request back; checked by this node.
    Cancelled {
        /// What the client signed: a [`tally_domain::cancel::Cancellation`].
        cancellation: Envelope,
    },
    /// Something happened with a policy bundle.
    Bundle(BundleEvent),
    /// A peer failed a check that a correct peer cannot fail, and is banned for this key.
    Banned {
        /// The key.
        key: KeyName,
        /// Generation of its shares.
        epoch: Epoch,
        /// Who is banned.
        peer: NodeName,
        /// The check that failed, in words.
        what: String,
    },
    /// A session ended without a result.
    SessionFailed {
        /// The request, where there is one.
        request_id: Option<RequestId>,
        /// A [`tally_domain::Reason`] word.
        what: String,
        /// Who is to blame, where the protocol can tell.
        culprit: Option<NodeName>,
        /// Who was not heard in time, or has said that it cannot go on: that may be nobody's fault.
        missing: Vec<NodeName>,
    },
}

/// Who brought an intent to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The client itself: this node leads.
    Client(ClientId),
    /// Another node leads.
    Peer(NodeName),
}

/// What this node decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A rule permits it.
    Permitted {
        /// Id of the rule.
        rule: String,
    },
    /// Denied, or not a request that can be decided.
    Refused {
        /// A [`tally_domain::Reason`] word.
        reason: String,
        /// The rule that decided or came nearest; empty where no rule was asked.
        rule: String,
        /// The first condition of it that failed; empty where there is none.
        condition: String,
    },
}

/// Why bytes are not a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLeaf {
    /// Larger than [`LEAF_MAX_BYTES`].
    #[error("the leaf is larger than {} bytes", LEAF_MAX_BYTES)]
    Oversized,
    /// Not protobuf, or not the one encoding of what it says (unknown fields included).
    #[error("the leaf is not canonical protobuf of the known fields")]
    NotCanonical,
    /// Written in a format that this version does not read.
    #[error("the leaf has format version {0}; this program reads version {LEAF_VERSION}")]
    Version(u32),
    /// A field is missing or its value is not allowed.
    #[error("the leaf's field `{0}` is not valid")]
    Field(&'static str),
}

impl Event {
    /// The leaf: what is hashed into the log.
    pub fn to_leaf(&self) -> Vec<u8> {
        wire::Leaf::from(self).encode_to_vec()
    }

    /// Reads a leaf strictly.
    ///
    /// # Errors
    /// [`BadLeaf`] for anything that [`Event::to_leaf`] would not have written.
    pub fn from_leaf(leaf: &[u8]) -> Result<Self, BadLeaf> {
        if leaf.len() > LEAF_MAX_BYTES {
            return Err(BadLeaf::Oversized);
        }
        let wire: wire::Leaf = decode_canonical(leaf).map_err(|_| BadLeaf::NotCanonical)?;
        if wire.version != LEAF_VERSION {
            return Err(BadLeaf::Version(wire.version));
        }
        Self::try_from(wire)
    }

    /// The event's kind as one word, for lists.
    pub fn kind(&self) -> &'static str {
        match &self.what {
            What::Bundle(event) => event.kind(),
            What::Boot { .. } => "boot",
            What::IntentReceived { .. } => "intent-received",
            What::Decided { .. } => "decided",
            What::Voted { .. } => "voted",
            What::Released { .. } => "released",
            What::Certified { .. } => "certified",
            What::Abandoned { .. } => "abandoned",
            What::Completed { .. } => "completed",
            What::KeyPending { .. } => "key-pending",
            What::KeyActive { .. } => "key-active",
            What::HsmKeyPending { .. } => "hsm-key-pending",
            What::HsmKeyActive { .. } => "hsm-key-active",
            What::KekMade(_) => "kek-made",
            What::KekChanged(_) => "kek-changed",
            What::Wrapped(_) => "wrapped",
            What::DomainChanged(_) => "domain-changed",
            What::TokensUsed(_) => "tokens-used",
            What::Frozen { .. } => "frozen",
            What::Unfreezing { .. } => "unfreezing",
            What::Unfrozen { .. } => "unfrozen",
            What::Waiting(_) => "waiting",
            What::Said { .. } => "said",
            What::Cancelled { .. } => "cancelled",
            What::Banned { .. } => "banned",
            What::SessionFailed { .. } => "session-failed",
        }
    }
}
