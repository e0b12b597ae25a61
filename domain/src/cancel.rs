//! A client takes back what it has asked for: its own signature over the request and its intent. It counts for nothing else.

use crate::digest::Digest;
use crate::dsse::{Envelope, SigningKey, VerifyingKey};
use crate::ids::{ClientId, ClusterId, KeyName, RequestId, Tenant};
use crate::intent::{Action, decode_canonical};
use prost::Message as _;

/// DSSE payload type of a cancellation.
pub const CANCELLATION_TYPE: &str = "application/vnd.tally.cancellation.v1+protobuf";

/// What the client signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Cluster of the request.
    pub cluster: ClusterId,
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The client whose request it is.
    pub client: ClientId,
    /// The request.
    pub request_id: RequestId,
    /// Digest of the client's intent: a node that has not heard of the request takes its id for this intent and no other.
    pub intent_digest: Digest,
    /// The key, as the intent names it.
    pub key: KeyName,
    /// What the intent asks for.
    pub action: Action,
}

/// Why bytes are not a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCancellation {
    /// Not the one encoding of known, valid fields.
    #[error("the cancellation is not canonical protobuf of known, valid fields")]
    NotCanonical,
    /// Not by the client's key.
    #[error("the cancellation's signature does not verify under the client's key")]
    Signature,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(string, tag = "3")]
    client: String,
    #[prost(bytes = "vec", tag = "4")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    intent_digest: Vec<u8>,
    #[prost(string, tag = "6")]
    key: String,
    #[prost(uint32, tag = "7")]
    action: u32,
}

impl Cancellation {
    /// The canonical bytes that the client signs.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            cluster: self.cluster.as_str().into(),
            tenant: self.tenant.as_str().into(),
            client: self.client.as_str().into(),
            request_id: self.request_id.0.to_vec(),
            intent_digest: self.intent_digest.0.to_vec(),
            key: self.key.as_str().into(),
            action: self.action.number(),
        }
        .encode_to_vec()
    }

    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        key.seal(CANCELLATION_TYPE, self.to_bytes())
    }

    /// Who the payload *says* has signed: only good for looking up the key to check it with.
    ///
    /// # Errors
    /// [`BadCancellation::NotCanonical`].
    pub fn claimed_client(envelope: &Envelope) -> Result<ClientId, BadCancellation> {
        Self::read(&envelope.payload).map(|cancellation| cancellation.client)
    }

    /// Reads one whose signature has been checked before, by whoever calls.
    ///
    /// # Errors
    /// [`BadCancellation::NotCanonical`].
    pub fn read_checked(envelope: &Envelope) -> Result<Self, BadCancellation> {
        Self::read(&envelope.payload)
    }

    /// Checks the signature over the received payload and only then reads it.
    ///
    /// # Errors
    /// [`BadCancellation`].
    pub fn open(envelope: &Envelope, key: &VerifyingKey) -> Result<Self, BadCancellation> {
        key.verify_envelope(envelope, CANCELLATION_TYPE).map_err(|_| BadCancellation::Signature)?;
        Self::read(&envelope.payload)
    }

    fn read(payload: &[u8]) -> Result<Self, BadCancellation> {
        let body: Body = decode_canonical(payload).map_err(|_| BadCancellation::NotCanonical)?;
        Self::from_body(&body).ok_or(BadCancellation::NotCanonical)
    }

    fn from_body(b: &Body) -> Option<Self> {
        Some(Self {
            cluster: ClusterId::parse(&b.cluster).ok()?,
            tenant: Tenant::parse(&b.tenant).ok()?,
            client: ClientId::parse(&b.client).ok()?,
            request_id: RequestId::from_slice(&b.request_id)?,
            intent_digest: Digest::from_slice(&b.intent_digest)?,
            key: KeyName::parse(&b.key).ok()?,
            action: Action::from_number(b.action)?,
        })
    }
}
