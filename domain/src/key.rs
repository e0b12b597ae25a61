//! Key records: what all nodes agree a key is, certified by all of them.

use crate::boot::{BadStatement, Statement};
use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey};
use crate::ids::{ClusterId, Epoch, KeyName, NodeName, PartyIndex, RequestId, Tenant};
use crate::intent::{decode_canonical, threshold_purpose};
use crate::roster::Roster;
use crate::scheme::{Purpose, Scheme};
use crate::threshold::Threshold;
use prost::Message as _;
use std::collections::BTreeSet;

/// DSSE payload type of a node's statement that it holds a share of exactly this key.
pub const KEY_TYPE: &str = "application/vnd.tally.key.v1+protobuf";

/// What a key is. Everything here is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Cluster that made it.
    pub cluster: ClusterId,
    /// Its name.
    pub name: KeyName,
    /// Whose request made it.
    pub tenant: Tenant,
    /// The request that made it.
    pub request_id: RequestId,
    /// Its scheme.
    pub scheme: Scheme,
    /// Its one purpose.
    pub purpose: Purpose,
    /// Signers and share-holders.
    pub threshold: Threshold,
    /// Generation of the shares.
    pub epoch: Epoch,
    /// Share-holders in the order of their party index.
    pub participants: Vec<NodeName>,
    /// The root of the tree of keys. secp256k1: 33 bytes compressed, for Taproot too. Ed25519: 32 bytes.
    pub public_key: Vec<u8>,
    /// Each party's public share, in the order of `participants`, encoded as `public_key` is.
    pub public_shares: Vec<Vec<u8>>,
    /// BIP-32 chain code, agreed in key generation.
    pub chain_code: Digest,
    /// Hash over all that was sent in key generation.
    pub transcript: Digest,
}

/// Where a key is in its life. Later issues add what comes after `Active`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// This node's share is durable and it has signed the record; not all have.
    Pending,
    /// All n nodes have signed the record; it signs.
    Active,
}

impl KeyState {
    /// The word in commands and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    tenant: String,
    #[prost(bytes = "vec", tag = "4")]
    request_id: Vec<u8>,
    #[prost(uint32, tag = "5")]
    scheme: u32,
    #[prost(uint32, tag = "6")]
    purpose: u32,
    #[prost(uint32, tag = "7")]
    t: u32,
    #[prost(uint32, tag = "8")]
    n: u32,
    #[prost(uint32, tag = "9")]
    epoch: u32,
    #[prost(string, repeated, tag = "10")]
    participants: Vec<String>,
    #[prost(bytes = "vec", tag = "11")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "12")]
    public_shares: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "13")]
    chain_code: Vec<u8>,
    #[prost(bytes = "vec", tag = "14")]
    transcript: Vec<u8>,
}

impl KeyRecord {
    /// Canonical bytes: what all nodes sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            cluster: self.cluster.as_str().into(),
            name: self.name.as_str().into(),
            tenant: self.tenant.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            scheme: self.scheme.number(),
            purpose: self.purpose.number(),
            t: u32::from(self.threshold.t()),
            n: u32::from(self.threshold.n()),
            epoch: self.epoch.0,
            participants: self.participants.iter().map(|p| p.as_str().into()).collect(),
            public_key: self.public_key.clone(),
            public_shares: self.public_shares.clone(),
            chain_code: self.chain_code.0.to_vec(),
            transcript: self.transcript.0.to_vec(),
        }
        .encode_to_vec()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`BadStatement::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadStatement> {
        let b: Body = decode_canonical(bytes).map_err(|_| BadStatement::Malformed)?;
        Self::from_body(b).ok_or(BadStatement::Malformed)
    }

    fn from_body(b: Body) -> Option<Self> {
        let threshold = Threshold::new(b.t, b.n).ok()?;
        let n = usize::from(threshold.n());
        let participants = b.participants.iter().map(|p| NodeName::parse(p).ok()).collect::<Option<Vec<NodeName>>>()?;
        let distinct: BTreeSet<_> = participants.iter().collect();
        if participants.len() != n || distinct.len() != n || b.public_shares.len() != n {
            return None;
        }
        let scheme = Scheme::from_number(b.scheme)?;
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            name: KeyName::parse(&b.name).ok()?,
            tenant: Tenant::parse(&b.tenant).ok()?,
            request_id: RequestId::from_slice(&b.request_id)?,
            scheme,
            purpose: threshold_purpose(b.purpose, scheme)?,
            threshold,
            epoch: Epoch(b.epoch),
            participants,
            public_key: b.public_key,
            public_shares: b.public_shares,
            chain_code: Digest::from_slice(&b.chain_code)?,
            transcript: Digest::from_slice(&b.transcript)?,
        })
    }

    /// The party index of a node, if it holds a share.
    pub fn party(&self, node: &NodeName) -> Option<PartyIndex> {
        let position = self.participants.iter().position(|p| p == node)?;
        PartyIndex::new(u8::try_from(position + 1).ok()?).ok()
    }

    /// The node with a party index.
    pub fn node(&self, party: PartyIndex) -> Option<&NodeName> {
        self.participants.get(usize::from(party.get()) - 1)
    }

    /// What the sealing of a share is bound to (S-4.1): what it is, whose, which epoch, which node. Length-prefixed.
    pub fn share_aad(&self, node: &NodeName) -> Digest {
        crate::digest::TaggedHash::new("tally/v1/share-aad")
            .field(&self.to_bytes())
            .field(node.as_str().as_bytes())
            .finish()
    }

    /// Signs the record with a node's boot key.
    pub fn sign(&self, boot_key: &SigningKey, boot_cert: &Envelope) -> Statement {
        Statement::sign(KEY_TYPE, self.to_bytes(), boot_key, boot_cert)
    }
}

/// The signatures of all n nodes on one record. Whoever holds it can convince any other node (S-3.24).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeyCertificate {
    /// One statement of each participant.
    #[prost(message, repeated, tag = "1")]
    pub statements: Vec<Statement>,
}

impl KeyCertificate {
    /// Checks that exactly the participants of one record have signed it; gives the record.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(&self, roster: &Roster) -> Result<KeyRecord, BadStatement> {
        let mut record: Option<KeyRecord> = None;
        let mut signers = BTreeSet::new();
        for s in &self.statements {
            let (cert, bytes) = s.open(KEY_TYPE, roster)?;
            let r = KeyRecord::from_bytes(bytes)?;
            if record.as_ref().is_some_and(|first| *first != r) || !signers.insert(cert.node) {
                return Err(BadStatement::Malformed);
            }
            record = Some(r);
        }
        let record = record.ok_or(BadStatement::Malformed)?;
        let expected: BTreeSet<_> = record.participants.iter().cloned().collect();
        if expected == signers { Ok(record) } else { Err(BadStatement::Malformed) }
    }
}
