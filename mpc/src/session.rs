//! What a session is bound to. Everything that must not differ between the parties goes into one hash (S-3.19), so a
//! message, vote or presignature of one session is worth nothing in another.

use std::collections::BTreeMap;
use tally_domain::digest::TaggedHash;
use tally_domain::{
    Attempt, ClusterId, DerivationPath, Digest, Epoch, KeyName, NodeName, PartyIndex, RequestId, Scheme, Tenant,
    Threshold,
};

/// Version of both protocols, hashed into every session id. Nodes of different versions never share a session.
const PROTOCOL_VERSION: u64 = 1;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Makes a key.
    Keygen,
    /// Makes one signature.
    Sign,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::Keygen => "keygen",
            Self::Sign => "sign",
        }
    }
}

/// Everything that a session is bound to. Each node fills it in from what it knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionContext {
    /// What the session does.
    pub protocol: Protocol,
    /// The key's scheme.
    pub scheme: Scheme,
    /// The cluster.
    pub cluster: ClusterId,
    /// The key.
    pub key: KeyName,
    /// Generation of the key's shares.
    pub epoch: Epoch,
    /// Signers and share-holders of the key.
    pub threshold: Threshold,
    /// Who takes part: all n for key generation, S for signing, in the order of the index.
    pub parties: Vec<(PartyIndex, NodeName)>,
    /// Whose request it is.
    pub tenant: Tenant,
    /// The request.
    pub request: RequestId,
    /// Which try at it.
    pub attempt: Attempt,
    /// Key generation: digest of the intent. Signing: the digest to sign.
    pub digest: Digest,
    /// Derivation path of the signing key; the root for key generation.
    pub path: DerivationPath,
    /// The policy bundle that all decided under.
    pub bundle: Digest,
    /// One fresh nonce of each party, so that the id cannot repeat while one party is honest.
    pub nonces: BTreeMap<PartyIndex, [u8; 32]>,
}

impl SessionContext {
    /// The hash over all of it.
    pub fn id(&self) -> SessionId {
        let mut hash = TaggedHash::new("tally/v1/session")
            .number(PROTOCOL_VERSION)
            .field(self.protocol.as_str().as_bytes())
            .field(self.scheme.as_str().as_bytes())
            .field(self.cluster.as_str().as_bytes())
            .field(self.key.as_str().as_bytes())
            .number(u64::from(self.epoch.0))
            .number(u64::from(self.threshold.t()))
            .number(u64::from(self.threshold.n()))
            .number(self.parties.len() as u64);
        for (index, node) in &self.parties {
            hash = hash.number(u64::from(index.get())).field(node.as_str().as_bytes());
        }
        hash = hash
            .field(self.tenant.as_str().as_bytes())
            .field(&self.request.0)
            .number(u64::from(self.attempt.0))
            .field(self.digest.as_bytes())
            .field(&self.path.to_bytes())
            .field(self.bundle.as_bytes())
            .number(self.nonces.len() as u64);
        for (index, nonce) in &self.nonces {
            hash = hash.number(u64::from(index.get())).field(nonce);
        }
        SessionId(hash.finish())
    }
}

/// A session's identity. It can only be computed from a [`SessionContext`], never made up or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Digest);

impl SessionId {
    /// The hash itself: what votes carry.
    pub fn digest(&self) -> Digest {
        self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}
