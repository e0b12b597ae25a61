//! Boot certificates: at each start a node draws a key that lives in memory only, and its HSM identity certifies it.
//! Votes and statements are signed with the boot key; whoever holds the roster can check the whole chain offline.

use crate::digest::Digest;
use crate::dsse::{BadSignature, Envelope, SigningKey, VerifyingKey};
use crate::ids::{ClusterId, Incarnation, NodeName};
use crate::intent::decode_canonical;
use crate::roster::Roster;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Certificates remembered, a few starts of each node; with more than that it begins anew.
const BELIEVED_MAX: usize = 256;

/// DSSE payload type of a boot certificate.
pub const PAYLOAD_TYPE: &str = "application/vnd.tally.boot.v1+protobuf";

/// What an identity key certifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCert {
    /// Cluster of the node.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeName,
    /// How many times it has started.
    pub incarnation: Incarnation,
    /// Public half of the boot key.
    pub boot_key: VerifyingKey,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(uint64, tag = "3")]
    incarnation: u64,
    #[prost(string, tag = "4")]
    boot_key: String,
}

/// Why a boot certificate or a statement signed under one is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStatement {
    /// Not canonical, or a field is not valid.
    #[error("the statement is malformed")]
    Malformed,
    /// The node is not in the roster, or the certificate is for another cluster.
    #[error("the statement's node is not in the roster")]
    UnknownNode,
    /// A signature does not verify.
    #[error("the statement's signature does not verify")]
    Signature,
}

impl From<BadSignature> for BadStatement {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

impl BootCert {
    /// The bytes that the identity key signs, inside [`crate::dsse::pae`] with [`PAYLOAD_TYPE`].
    pub fn to_bytes(&self) -> Vec<u8> {
        Body {
            cluster: self.cluster.as_str().into(),
            node: self.node.as_str().into(),
            incarnation: self.incarnation.0,
            boot_key: self.boot_key.to_string(),
        }
        .encode_to_vec()
    }

    /// Checks a certificate against the roster's identity key for the node that it names.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(envelope: &Envelope, roster: &Roster) -> Result<Self, BadStatement> {
        let digest = Digest::of(&envelope.encode_to_vec());
        if let Some(cert) = roster.boots.believed(&digest, roster) {
            return Ok(cert);
        }
        let body: Body = decode_canonical(&envelope.payload).map_err(|_| BadStatement::Malformed)?;
        let cert = Self {
            cluster: ClusterId::parse(&body.cluster).map_err(|_| BadStatement::Malformed)?,
            node: NodeName::parse(&body.node).map_err(|_| BadStatement::Malformed)?,
            incarnation: Incarnation(body.incarnation),
            boot_key: VerifyingKey::parse(&body.boot_key).map_err(|_| BadStatement::Malformed)?,
        };
        let node = roster.node(&cert.node).ok_or(BadStatement::UnknownNode)?;
        if cert.cluster != roster.cluster {
            return Err(BadStatement::UnknownNode);
        }
        node.identity.verify_envelope(envelope, PAYLOAD_TYPE)?;
        roster.boots.keep(digest, node.identity.clone(), cert.clone());
        Ok(cert)
    }
}

/// Boot certificates that have been verified, byte for byte, and under which identity key: the same one comes with every
/// vote of a node. What is remembered is a fact about bytes and a key, so that it holds for any roster with that key.
#[derive(Debug, Default)]
pub struct Believed(Mutex<BTreeMap<Digest, (VerifyingKey, BootCert)>>);

impl Believed {
    fn believed(&self, envelope: &Digest, roster: &Roster) -> Option<BootCert> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, cert) = known.get(envelope)?;
        let fits = cert.cluster == roster.cluster && roster.node(&cert.node)?.identity == *identity;
        fits.then(|| cert.clone())
    }

    fn keep(&self, envelope: Digest, identity: VerifyingKey, cert: BootCert) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= BELIEVED_MAX {
            known.clear();
        }
        known.insert(envelope, (identity, cert));
    }
}

impl Clone for Believed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What has been verified so far makes no roster another one.
impl PartialEq for Believed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Believed {}

/// A statement signed with a boot key, together with the certificate of that key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Statement {
    /// The statement and the boot key's signature.
    #[prost(message, optional, tag = "1")]
    pub signed: Option<Envelope>,
    /// The boot key's certificate.
    #[prost(message, optional, tag = "2")]
    pub boot_cert: Option<Envelope>,
}

impl Statement {
    /// Signs `body` as `payload_type`.
    pub fn sign(payload_type: &str, body: Vec<u8>, boot_key: &SigningKey, boot_cert: &Envelope) -> Self {
        Self { signed: Some(boot_key.seal(payload_type, body)), boot_cert: Some(boot_cert.clone()) }
    }

    /// Checks both signatures; gives the certificate and the statement's bytes.
    ///
    /// # Errors
    /// [`BadStatement`].
    pub fn open(&self, payload_type: &str, roster: &Roster) -> Result<(BootCert, &[u8]), BadStatement> {
        let (Some(signed), Some(cert)) = (&self.signed, &self.boot_cert) else { return Err(BadStatement::Malformed) };
        let cert = BootCert::open(cert, roster)?;
        cert.boot_key.verify_envelope(signed, payload_type)?;
        Ok((cert, &signed.payload))
    }

    /// Digest over the whole statement, signatures included.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode_to_vec())
    }
}
