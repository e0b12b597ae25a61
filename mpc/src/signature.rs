//! Finished signatures and the check that every node makes before it believes one.

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, VerifyingKey};
use tally_domain::Scheme;

/// A signature of one of our schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// ECDSA over secp256k1 with low s (BIP-62).
    Ecdsa {
        /// r, big-endian.
        r: [u8; 32],
        /// s, big-endian, at most half the order.
        s: [u8; 32],
        /// Bit 0: y of R is odd. Bit 1: x of R is not below the order.
        recovery_id: u8,
    },
    /// Ed25519: R and z (RFC 8032).
    Ed25519([u8; 64]),
    /// Schnorr over secp256k1: x of R, and s (BIP-340).
    Bip340([u8; 64]),
}

impl Signature {
    /// r and s, or R and z: 64 bytes either way.
    pub fn to_bytes(&self) -> [u8; 64] {
        match self {
            Self::Ecdsa { r, s, .. } => {
                let mut bytes = [0; 64];
                for (to, from) in bytes.iter_mut().zip(r.iter().chain(s)) {
                    *to = *from;
                }
                bytes
            }
            Self::Ed25519(bytes) | Self::Bip340(bytes) => *bytes,
        }
    }
}

/// Whether `signature` is one of `message` under `public_key`, which is the derived key where there is a path. ECDSA: the
/// message is the 32-byte digest, s must be low and the recovery id must lead back to the key (S-3.13). Taproot: 32 bytes,
/// under the output key.
#[must_use]
pub fn verify(scheme: Scheme, public_key: &[u8], message: &[u8], signature: &Signature) -> bool {
    match (scheme, signature) {
        (Scheme::EcdsaSecp256k1, Signature::Ecdsa { r, s, recovery_id }) => {
            message.len() == 32 && verify_ecdsa(public_key, message, r, s, *recovery_id).unwrap_or(false)
        }
        (Scheme::Ed25519, Signature::Ed25519(bytes)) => verify_ed25519(public_key, message, bytes).unwrap_or(false),
        (Scheme::Taproot, Signature::Bip340(bytes)) => {
            message.len() == 32 && verify_bip340(public_key, message, bytes).unwrap_or(false)
        }
        (Scheme::EcdsaSecp256k1, Signature::Ed25519(_) | Signature::Bip340(_))
        | (Scheme::Ed25519, Signature::Ecdsa { .. } | Signature::Bip340(_))
        | (Scheme::Taproot, Signature::Ecdsa { .. } | Signature::Ed25519(_)) => false,
    }
}

fn verify_ecdsa(public_key: &[u8], digest: &[u8], r: &[u8; 32], s: &[u8; 32], recovery_id: u8) -> Option<bool> {
    let key = VerifyingKey::from(crate::derive::parse(public_key).ok()?);
    let signature = EcdsaSignature::from_scalars(*r, *s).ok()?;
    let id = RecoveryId::from_byte(recovery_id)?;
    let low = signature.normalize_s() == signature;
    let valid = key.verify_prehash(digest, &signature).is_ok();
    let recovered = VerifyingKey::recover_from_prehash(digest, &signature, id).ok()?;
    Some(low && valid && recovered == key)
}

fn verify_ed25519(public_key: &[u8], message: &[u8], bytes: &[u8; 64]) -> Option<bool> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public_key.try_into().ok()?).ok()?;
    let signature = ed25519_dalek::Signature::from_bytes(bytes);
    Some(key.verify_strict(message, &signature).is_ok())
}

fn verify_bip340(public_key: &[u8], message: &[u8], bytes: &[u8; 64]) -> Option<bool> {
    let key = k256::schnorr::VerifyingKey::from_slice(public_key).ok()?;
    let signature = k256::schnorr::Signature::try_from(bytes.as_slice()).ok()?;
    Some(key.verify_raw(message, &signature).is_ok())
}
