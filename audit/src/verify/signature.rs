//! Checks of finished signatures, and of public keys against the certified key that they derive from. A key in an HSM is
//! recorded as SubjectPublicKeyInfo, which is longer than the key of any threshold scheme.

use bip32::{ChildNumber, ExtendedKeyAttrs, XPub};
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use tally_domain::dsse;
use tally_domain::key::KeyRecord;
use tally_domain::{DerivationPath, Digest, HsmKeyRecord, HsmScheme, PublicKey, Scheme};

/// Whether a recorded public key is of a key in an HSM.
pub(super) fn is_resident(public_key: &[u8]) -> bool {
    scheme(public_key).is_none()
}

/// Whether `public_key` at `path` is the key in an HSM that has the name.
pub(super) fn is_key(record: &HsmKeyRecord, path: &DerivationPath, public_key: &[u8]) -> bool {
    path.is_root() && record.public_key().is_some_and(|key| key.to_spki() == public_key)
}

/// Scheme of a threshold key's public key, by its length.
fn scheme(public_key: &[u8]) -> Option<Scheme> {
    match public_key.len() {
        33 => Some(Scheme::EcdsaSecp256k1),
        32 => Some(Scheme::Ed25519),
        _ => None,
    }
}

/// Whether a signature verifies: ECDSA over the 32-byte digest with low s, RSA-PSS over the digest, or Ed25519 over the
/// message.
pub(super) fn verifies(public_key: &[u8], to_sign: &[u8], signature: &[u8]) -> bool {
    match scheme(public_key) {
        Some(Scheme::Ed25519) => {
            dsse::VerifyingKey::ed25519(public_key).is_ok_and(|k| k.verify(to_sign, signature).is_ok())
        }
        Some(Scheme::EcdsaSecp256k1) => ecdsa_verifies(public_key, to_sign, signature).is_some(),
        None => PublicKey::from_spki(public_key).is_ok_and(|key| key.verify(to_sign, signature).is_ok()),
    }
}

fn ecdsa_verifies(public_key: &[u8], to_sign: &[u8], signature: &[u8]) -> Option<()> {
    let digest: &[u8; 32] = to_sign.try_into().ok()?;
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(public_key).ok()?;
    let signature = k256::ecdsa::Signature::from_slice(signature).ok()?;
    // k256 refuses a high s, which is the same signature in a second form (S-3.13); one request has one signature.
    key.verify_prehash(digest, &signature).ok()
}

/// What votes call the digest of `to_sign`: ECDSA signs a digest already; for Ed25519 it is SHA-256 of the message.
pub(super) fn digest_to_sign(public_key: &[u8], to_sign: &[u8]) -> Option<Digest> {
    match scheme(public_key)? {
        Scheme::EcdsaSecp256k1 => Digest::from_slice(to_sign),
        Scheme::Ed25519 => Some(Digest::of(to_sign)),
    }
}

/// The same for a key in an HSM.
pub(super) fn digest_of_resident(public_key: &[u8], to_sign: &[u8]) -> Option<Digest> {
    match PublicKey::from_spki(public_key).ok()?.scheme() {
        HsmScheme::Ed25519 => Some(Digest::of(to_sign)),
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 | HsmScheme::Rsa3072 => Digest::from_slice(to_sign),
    }
}

/// Whether `public_key` is the certified key at `path`: BIP-32 public derivation, or for Ed25519 the key itself.
pub(super) fn is_child(record: &KeyRecord, path: &DerivationPath, public_key: &[u8]) -> bool {
    match record.scheme {
        Scheme::Ed25519 => path.is_root() && record.public_key == public_key,
        Scheme::EcdsaSecp256k1 => child(record, path).is_some_and(|child| child.as_slice() == public_key),
    }
}

fn child(record: &KeyRecord, path: &DerivationPath) -> Option<[u8; 33]> {
    let root = k256::ecdsa::VerifyingKey::from_sec1_bytes(&record.public_key).ok()?;
    let attrs = ExtendedKeyAttrs {
        depth: 0,
        parent_fingerprint: [0; 4],
        child_number: ChildNumber(0),
        chain_code: record.chain_code.0,
    };
    let mut key = XPub::new(root, attrs);
    for step in path.steps() {
        key = key.derive_child(ChildNumber(*step)).ok()?;
    }
    Some(key.to_bytes())
}
