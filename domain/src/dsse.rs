//! DSSE envelopes: the signature is over the received bytes and their type, and is checked before they are parsed (S-2.0).
//!
//! Pre-authentication encoding: `"DSSEv1" SP len(type) SP type SP len(body) SP body` (DSSE protocol, v1.0.2).

use crate::digest::Digest;
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::Verifier as _;

/// Signed bytes, what they are, and by whom.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Envelope {
    /// The signed bytes, exactly as the signer encoded them.
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    /// What the bytes are; part of what is signed.
    #[prost(string, tag = "2")]
    pub payload_type: String,
    /// One or more signatures over the pre-authentication encoding.
    #[prost(message, repeated, tag = "3")]
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Signature {
    /// Which key signed; a hint that is never trusted.
    #[prost(string, tag = "1")]
    pub key_id: String,
    /// Ed25519: 64 bytes. P-256: r and s, 64 bytes, low s.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
}

/// The bytes that a signature is over.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// The digest that names an envelope's content: over type and payload, not over the signatures.
pub fn content_digest(e: &Envelope) -> Digest {
    Digest::of(&pae(&e.payload_type, &e.payload))
}

/// A public key that signs intents, votes or checkpoints.
#[derive(Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Ed25519, checked strictly (no small-order or non-canonical points).
    Ed25519(ed25519_dalek::VerifyingKey),
    /// ECDSA over P-256 with SHA-256.
    P256(p256::ecdsa::VerifyingKey),
}

/// Why a public key's text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is `ed25519:` and 64 hex digits, or `p256:` and a compressed point in 66 hex digits")]
pub struct BadVerifyingKey;

/// A signature does not verify, is missing, or is not the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl VerifyingKey {
    /// Reads `ed25519:<hex>` or `p256:<hex>`, as a key is written: digits are lower-case.
    ///
    /// # Errors
    /// [`BadVerifyingKey`] for anything else, and for points that are off the curve or of small order.
    pub fn parse(s: &str) -> Result<Self, BadVerifyingKey> {
        let (kind, hex_digits) = s.split_once(':').ok_or(BadVerifyingKey)?;
        if hex_digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(BadVerifyingKey);
        }
        let bytes = hex::decode(hex_digits).map_err(|_| BadVerifyingKey)?;
        match kind {
            "ed25519" => Self::ed25519(&bytes),
            // 02 or 03 only: SEC1 has a third spelling of the same point (05), and a key must have one.
            "p256" if bytes.len() == 33 && matches!(bytes.first(), Some(2 | 3)) => {
                p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map(Self::P256).map_err(|_| BadVerifyingKey)
            }
            _ => Err(BadVerifyingKey),
        }
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// [`BadVerifyingKey`] when they are no point, or one of small order.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, BadVerifyingKey> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| BadVerifyingKey)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| BadVerifyingKey)?;
        if key.is_weak() { Err(BadVerifyingKey) } else { Ok(Self::Ed25519(key)) }
    }

    /// Checks a signature over plain bytes.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self {
            Self::Ed25519(key) => {
                let sig = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(message, &sig).map_err(|_| BadSignature)
            }
            Self::P256(key) => {
                let sig = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                // A high s is a second encoding of the same signature; accept one form only.
                if sig.normalize_s() != sig {
                    return Err(BadSignature);
                }
                key.verify(message, &sig).map_err(|_| BadSignature)
            }
        }
    }

    /// Checks that `e` is of `payload_type` and carries exactly one signature, by this key.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_envelope(&self, e: &Envelope, payload_type: &str) -> Result<(), BadSignature> {
        let [only] = e.signatures.as_slice() else { return Err(BadSignature) };
        if e.payload_type != payload_type {
            return Err(BadSignature);
        }
        self.verify(&pae(&e.payload_type, &e.payload), &only.signature)
    }
}

impl std::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ed25519(k) => write!(f, "ed25519:{}", hex::encode(k.as_bytes())),
            Self::P256(k) => write!(f, "p256:{}", hex::encode(k.to_sec1_point(true).as_bytes())),
        }
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A private key that signs envelopes: a client's intent key, an approver's key, a node's boot key.
pub enum SigningKey {
    /// Ed25519.
    Ed25519(ed25519_dalek::SigningKey),
    /// ECDSA over P-256 with SHA-256, deterministic nonce (RFC 6979), low s.
    P256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// An Ed25519 key from 32 secret bytes.
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// A P-256 key from 32 secret bytes, if they are a non-zero scalar.
    pub fn p256(scalar: &[u8; 32]) -> Option<Self> {
        p256::ecdsa::SigningKey::from_slice(scalar).ok().map(Self::P256)
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            Self::Ed25519(k) => VerifyingKey::Ed25519(k.verifying_key()),
            Self::P256(k) => VerifyingKey::P256(*k.verifying_key()),
        }
    }

    /// Signs plain bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(k) => k.sign(message).to_bytes().to_vec(),
            Self::P256(k) => {
                let sig: p256::ecdsa::Signature = p256::ecdsa::signature::Signer::sign(k, message);
                sig.normalize_s().to_bytes().to_vec()
            }
        }
    }

    /// Wraps `payload` in an envelope with one signature.
    pub fn seal(&self, payload_type: &str, payload: Vec<u8>) -> Envelope {
        let signature = self.sign(&pae(payload_type, &payload));
        let key_id = self.verifying_key().to_string();
        Envelope { payload, payload_type: payload_type.into(), signatures: vec![Signature { key_id, signature }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE specification.
    #[test]
    fn pae_matches_the_dsse_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn every_flipped_byte_is_refused_for_both_kinds_of_key() {
        for key in [SigningKey::ed25519(&[7; 32]), SigningKey::p256(&[9; 32]).unwrap()] {
            let e = key.seal("t", b"body".to_vec());
            let vk = key.verifying_key();
            assert!(vk.verify_envelope(&e, "t").is_ok());
            assert!(vk.verify_envelope(&e, "u").is_err());
            for i in 0..e.payload.len() {
                let mut bad = e.clone();
                bad.payload[i] ^= 1;
                assert!(vk.verify_envelope(&bad, "t").is_err());
            }
            for i in 0..e.signatures[0].signature.len() {
                let mut bad = e.clone();
                bad.signatures[0].signature[i] ^= 1;
                assert!(vk.verify_envelope(&bad, "t").is_err());
            }
            let mut twice = e.clone();
            twice.signatures.push(e.signatures[0].clone());
            assert!(vk.verify_envelope(&twice, "t").is_err());
        }
    }

    #[test]
    fn keys_read_and_print_and_weak_ones_are_refused() {
        let k = SigningKey::p256(&[9; 32]).unwrap().verifying_key();
        assert_eq!(VerifyingKey::parse(&k.to_string()).unwrap(), k);
        let k = SigningKey::ed25519(&[7; 32]).verifying_key();
        assert_eq!(VerifyingKey::parse(&k.to_string()).unwrap(), k);
        let identity = format!("ed25519:01{}", "00".repeat(31));
        assert!(VerifyingKey::parse(&identity).is_err());
        assert!(VerifyingKey::parse("ed25519:zz").is_err());
    }
}
