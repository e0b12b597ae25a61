//! Child keys by BIP-32, non-hardened: from public data alone, the same at every node.

use crate::fault::{Fault, Misuse};
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::sec1::ToSec1Point as _;
use k256::{FieldBytes, ProjectivePoint, PublicKey, Scalar};
use sha2::Sha512;
use tally_domain::{DerivationPath, Digest};

/// A child key, and how it differs from its root. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The child's public key, encoded as the root's.
    pub public_key: Vec<u8>,
    /// What is added to the root's secret key, 32 bytes big-endian; zero for the root itself.
    pub tweak: [u8; 32],
    /// The child's chain code.
    pub chain_code: Digest,
}

/// The key at `path` below `public_key` (33 bytes compressed secp256k1, or 32 bytes Ed25519).
///
/// # Errors
/// [`Misuse::BadPublicKey`], [`Misuse::NoSuchChild`]; [`Misuse::PathWithEd25519`] for any path but the root of an Ed25519 key.
pub fn derive(public_key: &[u8], chain_code: &Digest, path: &DerivationPath) -> Result<Derived, Fault> {
    if public_key.len() == ed25519_dalek::PUBLIC_KEY_LENGTH {
        let root = Derived { public_key: public_key.to_vec(), tweak: [0; 32], chain_code: *chain_code };
        return if path.is_root() { Ok(root) } else { Err(Fault::caller(Misuse::PathWithEd25519)) };
    }
    let root = parse(public_key)?;
    let mut key = root;
    let mut tweak = Scalar::ZERO;
    let mut chain = *chain_code;
    for step in path.steps() {
        let (addend, next) = child(&key, &chain, *step)?;
        tweak += addend;
        let point = root.to_projective() + ProjectivePoint::GENERATOR * tweak;
        key = PublicKey::from_affine(point.to_affine()).map_err(|_| Fault::caller(Misuse::NoSuchChild))?;
        chain = next;
    }
    Ok(Derived { public_key: encode(&key), tweak: tweak.to_repr().into(), chain_code: chain })
}

/// The root key as a BIP-32 `xpub`, depth 0: whoever has it can compute every address, and nothing else.
///
/// # Errors
/// [`Misuse::BadPublicKey`] when the key is not secp256k1.
pub fn xpub(public_key: &[u8], chain_code: &Digest) -> Result<String, Fault> {
    let key = parse(public_key)?;
    let attrs = bip32::ExtendedKeyAttrs {
        depth: 0,
        parent_fingerprint: [0; 4],
        child_number: bip32::ChildNumber(0),
        chain_code: chain_code.0,
    };
    Ok(bip32::XPub::new(key.into(), attrs).to_string(bip32::Prefix::XPUB))
}

/// CKDpub of BIP-32: what is added to the secret key, and the child's chain code.
fn child(parent: &PublicKey, chain_code: &Digest, step: u32) -> Result<(Scalar, Digest), Fault> {
    let mut mac = Hmac::<Sha512>::new_from_slice(chain_code.as_bytes()).map_err(|_| Fault::Bug { what: "HMAC key" })?;
    mac.update(&encode(parent));
    mac.update(&step.to_be_bytes());
    let output: [u8; 64] = mac.finalize().into_bytes().into();
    let (left, right) = output.split_at(32);
    let left = FieldBytes::try_from(left).map_err(|_| Fault::Bug { what: "half an HMAC" })?;
    // Not reduced: BIP-32 has no child where the left half is not below the order.
    let addend = Option::from(Scalar::from_repr(left)).ok_or(Fault::caller(Misuse::NoSuchChild))?;
    let chain_code = Digest::from_slice(right).ok_or(Fault::Bug { what: "half an HMAC" })?;
    Ok((addend, chain_code))
}

/// A compressed secp256k1 point that is not the identity.
pub(crate) fn parse(public_key: &[u8]) -> Result<PublicKey, Fault> {
    let key = PublicKey::from_sec1_bytes(public_key).map_err(|_| Fault::caller(Misuse::BadPublicKey))?;
    if encode(&key) == public_key { Ok(key) } else { Err(Fault::caller(Misuse::BadPublicKey)) }
}

pub(crate) fn encode(key: &PublicKey) -> Vec<u8> {
    key.to_sec1_point(true).as_bytes().to_vec()
}
