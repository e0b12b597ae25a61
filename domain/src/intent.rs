//! What a client asks for: a deterministic protobuf body inside a DSSE envelope, read strictly.
//!
//! Strict means: the signature is checked over the received bytes first; then the body must decode, and encoding what
//! was decoded must give the same bytes. prost drops unknown fields silently, so the comparison is what refuses them
//! (S-2.2 step 1). The body has no map and no float, so it has one encoding.

mod words;

pub use words::{Action, ContentKind};

use crate::digest::Digest;
use crate::dsse::{self, BadSignature, Envelope, VerifyingKey};
use crate::ids::{ClientId, ClusterId, KeyName, RequestId, Tenant};
use crate::path::DerivationPath;
use crate::scheme::{Purpose, Scheme};
use crate::threshold::Threshold;
use crate::time::UnixMillis;
use prost::Message as _;

/// DSSE payload type of an intent.
pub const PAYLOAD_TYPE: &str = "application/vnd.tally.intent.v1+protobuf";

/// Largest envelope a client may send (DESIGN 10).
pub const ENVELOPE_MAX_BYTES: usize = 64 * 1024;

/// Longest note: it is for people, and goes into every log.
pub const NOTE_MAX_BYTES: usize = 256;

/// A decoded intent. Only [`Intent::open`] makes one from bytes, after checking the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Sixteen random bytes; names one digest for ever within the tenant.
    pub request_id: RequestId,
    /// Whose request.
    pub tenant: Tenant,
    /// Who signed it.
    pub client: ClientId,
    /// What to do.
    pub action: Action,
    /// With which key.
    pub key: KeyName,
    /// Child of the key; empty is the key itself.
    pub path: DerivationPath,
    /// What the content is.
    pub kind: ContentKind,
    /// The chain that a transaction or typed data is for, as CAIP-2 (`eip155:1`); empty for anything else.
    pub chain: String,
    /// The raw unsigned transaction, message or key specification.
    pub content: Vec<u8>,
    /// Which purpose the client believes the key has.
    pub purpose: Purpose,
    /// Not valid before.
    pub not_before: UnixMillis,
    /// Not valid from this moment on.
    pub expires_at: UnixMillis,
    /// Lowest policy bundle version the client accepts.
    pub min_bundle_version: u64,
    /// For people.
    pub note: String,
    /// The cluster that is asked: another one with the same tenant, client and key names refuses it.
    pub cluster: ClusterId,
}

/// What a new key should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Scheme of the key.
    pub scheme: Scheme,
    /// Signers and share-holders.
    pub threshold: Threshold,
    /// The one purpose it will have.
    pub purpose: Purpose,
}

/// Why bytes are not an intent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIntent {
    /// The envelope is larger than [`ENVELOPE_MAX_BYTES`].
    #[error("the envelope is larger than {} bytes", ENVELOPE_MAX_BYTES)]
    Oversized,
    /// The signature does not verify under the client's key.
    #[error("the intent's signature does not verify under the client's key")]
    Signature,
    /// Not protobuf, or not the one encoding of what it says (unknown fields included).
    #[error("the intent is not canonical protobuf of the known fields")]
    NotCanonical,
    /// A field's value is not allowed.
    #[error("the intent's field `{field}` is not valid")]
    Field {
        /// Name of the field.
        field: &'static str,
    },
}

impl From<BadSignature> for BadIntent {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

/// The body as protobuf; field numbers are those of `IntentBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(bytes = "vec", tag = "1")]
    request_id: Vec<u8>,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(string, tag = "3")]
    client: String,
    #[prost(uint32, tag = "4")]
    action: u32,
    #[prost(string, tag = "5")]
    key: String,
    #[prost(uint32, repeated, tag = "6")]
    path: Vec<u32>,
    #[prost(uint32, tag = "7")]
    kind: u32,
    #[prost(string, tag = "8")]
    chain: String,
    #[prost(bytes = "vec", tag = "9")]
    content: Vec<u8>,
    #[prost(uint32, tag = "10")]
    purpose: u32,
    #[prost(uint64, tag = "11")]
    not_before_ms: u64,
    #[prost(uint64, tag = "12")]
    expires_at_ms: u64,
    #[prost(uint64, tag = "13")]
    min_bundle_version: u64,
    #[prost(string, tag = "14")]
    note: String,
    #[prost(string, tag = "15")]
    cluster: String,
}

/// [`KeySpec`] as protobuf; field numbers are those of `KeySpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct SpecBody {
    #[prost(uint32, tag = "1")]
    scheme: u32,
    #[prost(uint32, tag = "2")]
    t: u32,
    #[prost(uint32, tag = "3")]
    n: u32,
    #[prost(uint32, tag = "4")]
    purpose: u32,
}

/// Decodes a message and refuses it unless encoding it again gives the same bytes.
///
/// # Errors
/// [`BadIntent::NotCanonical`].
pub fn decode_canonical<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, BadIntent> {
    let m = M::decode(bytes).map_err(|_| BadIntent::NotCanonical)?;
    if m.encode_to_vec() == bytes { Ok(m) } else { Err(BadIntent::NotCanonical) }
}

impl Intent {
    /// Checks the client's signature over the received payload and only then reads it.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn open(envelope: &Envelope, key: &VerifyingKey) -> Result<Self, BadIntent> {
        if envelope.encoded_len() > ENVELOPE_MAX_BYTES {
            return Err(BadIntent::Oversized);
        }
        key.verify_envelope(envelope, PAYLOAD_TYPE)?;
        Self::from_body(decode_canonical(&envelope.payload)?)
    }

    /// Who the payload *says* its client is: only good for looking up the key to check it with.
    ///
    /// # Errors
    /// [`BadIntent`] when the payload is not canonical or names no valid client.
    pub fn claimed_client(envelope: &Envelope) -> Result<ClientId, BadIntent> {
        if envelope.encoded_len() > ENVELOPE_MAX_BYTES {
            return Err(BadIntent::Oversized);
        }
        let body: Body = decode_canonical(&envelope.payload)?;
        ClientId::parse(&body.client).map_err(|_| BadIntent::Field { field: "client" })
    }

    /// Reads an intent whose signature the caller has checked, or will: for showing a log, never for deciding.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn read_unverified(envelope: &Envelope) -> Result<Self, BadIntent> {
        Self::from_body(decode_canonical(&envelope.payload)?)
    }

    /// The canonical bytes that a client signs.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            request_id: self.request_id.0.to_vec(),
            tenant: self.tenant.as_str().into(),
            client: self.client.as_str().into(),
            action: self.action.number(),
            key: self.key.as_str().into(),
            path: self.path.steps().to_vec(),
            kind: self.kind.number(),
            chain: self.chain.clone(),
            content: self.content.clone(),
            purpose: self.purpose.number(),
            not_before_ms: self.not_before.0,
            expires_at_ms: self.expires_at.0,
            min_bundle_version: self.min_bundle_version,
            note: self.note.clone(),
            cluster: self.cluster.as_str().into(),
        }
        .encode_to_vec()
    }

    /// The digest that request ids, votes and approvals are bound to.
    pub fn digest(&self) -> Digest {
        Digest::of(&dsse::pae(PAYLOAD_TYPE, &self.to_bytes()))
    }

    fn from_body(b: Body) -> Result<Self, BadIntent> {
        let field = |field| move || BadIntent::Field { field };
        if b.note.len() > NOTE_MAX_BYTES || b.note.chars().any(char::is_control) {
            return Err(BadIntent::Field { field: "note" });
        }
        Ok(Self {
            request_id: RequestId::from_slice(&b.request_id).ok_or_else(field("request_id"))?,
            tenant: Tenant::parse(&b.tenant).map_err(|_| BadIntent::Field { field: "tenant" })?,
            client: ClientId::parse(&b.client).map_err(|_| BadIntent::Field { field: "client" })?,
            action: Action::from_number(b.action).ok_or_else(field("action"))?,
            key: KeyName::parse(&b.key).map_err(|_| BadIntent::Field { field: "key" })?,
            path: DerivationPath::new(b.path).map_err(|_| BadIntent::Field { field: "path" })?,
            kind: ContentKind::from_number(b.kind).ok_or_else(field("kind"))?,
            chain: b.chain,
            content: b.content,
            purpose: Purpose::from_number(b.purpose).ok_or_else(field("purpose"))?,
            not_before: UnixMillis(b.not_before_ms),
            expires_at: UnixMillis(b.expires_at_ms),
            min_bundle_version: b.min_bundle_version,
            note: b.note,
            cluster: ClusterId::parse(&b.cluster).map_err(|_| BadIntent::Field { field: "cluster" })?,
        })
    }
}

impl KeySpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        SpecBody {
            scheme: self.scheme.number(),
            t: u32::from(self.threshold.t()),
            n: u32::from(self.threshold.n()),
            purpose: self.purpose.number(),
        }
        .encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let b: SpecBody = decode_canonical(bytes)?;
        let scheme = Scheme::from_number(b.scheme).ok_or(BadIntent::Field { field: "scheme" })?;
        Ok(Self {
            scheme,
            threshold: Threshold::new(b.t, b.n).map_err(|_| BadIntent::Field { field: "threshold" })?,
            purpose: threshold_purpose(b.purpose, scheme).ok_or(BadIntent::Field { field: "purpose" })?,
        })
    }
}

/// A purpose that a key in shares may have. They neither wrap nor keep cards. Raw digests are signed by Taproot keys only:
/// their chain's transactions are decoded by no node yet, and a digest that somebody chose, knowing the nonces, does them no
/// harm, as it would a presignature of ECDSA.
pub(crate) fn threshold_purpose(number: u32, scheme: Scheme) -> Option<Purpose> {
    let raw = scheme == Scheme::Taproot;
    Purpose::from_number(number).filter(|purpose| match purpose {
        Purpose::Transaction | Purpose::Message => true,
        Purpose::Raw => raw,
        Purpose::Wrap | Purpose::Tokenize => false,
    })
}

#[cfg(test)]
mod tests;
