//! BIP-32 over secp256k1, and the output keys of BIP-341.

use super::halves;
use crate::fault::{Fault, Misuse};
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::point::{AffineCoordinates as _, DecompactPoint as _};
use k256::elliptic_curve::sec1::ToSec1Point as _;
use k256::{AffinePoint, FieldBytes, ProjectivePoint, PublicKey, Scalar};
use sha2::{Digest as _, Sha256};
use tally_domain::{DerivationPath, Digest};

/// The child at `path`, what is added to the root's secret key, big-endian, and the child's chain code.
pub(super) fn child(
    public_key: &[u8],
    chain_code: &Digest,
    path: &DerivationPath,
) -> Result<(PublicKey, [u8; 32], Digest), Fault> {
    let root = parse(public_key)?;
    let mut key = root;
    let mut tweak = Scalar::ZERO;
    let mut chain = *chain_code;
    for step in path.steps() {
        let (left, next) = halves(&chain, &encode(&key), *step)?;
        // Not reduced: BIP-32 has no child where the left half is not below the order.
        tweak += below_the_order(left)?;
        key = plus(&root, &tweak)?;
        chain = next;
    }
    Ok((key, tweak.to_repr().into(), chain))
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

/// The output key that BIP-341 makes of an internal key: `Q = P + int(hash_TapTweak(P || root)) G`.
///
/// # Errors
/// [`Misuse::BadPublicKey`] when no point has that x; [`Misuse::NoSuchChild`] with a probability below 2^-127.
pub fn output_key(internal: &[u8; 32], merkle_root: Option<&Digest>) -> Result<[u8; 32], Fault> {
    let even = Option::<AffinePoint>::from(AffinePoint::decompact(&FieldBytes::from(*internal)));
    let even = even.and_then(|point| PublicKey::from_affine(point).ok()).ok_or(Fault::caller(Misuse::BadPublicKey))?;
    let tag = Sha256::digest("TapTweak");
    let hash = Sha256::new().chain_update(tag).chain_update(tag).chain_update(internal);
    let hash = merkle_root.into_iter().fold(hash, |hash, root| hash.chain_update(root.as_bytes())).finalize();
    Ok(x_only(&plus(&even, &below_the_order(hash.into())?)?))
}

pub(super) fn x_only(key: &PublicKey) -> [u8; 32] {
    key.as_affine().x().into()
}

fn plus(key: &PublicKey, tweak: &Scalar) -> Result<PublicKey, Fault> {
    let point = key.to_projective() + ProjectivePoint::GENERATOR * *tweak;
    PublicKey::from_affine(point.to_affine()).map_err(|_| Fault::caller(Misuse::NoSuchChild))
}

fn below_the_order(bytes: [u8; 32]) -> Result<Scalar, Fault> {
    Option::from(Scalar::from_repr(FieldBytes::from(bytes))).ok_or(Fault::caller(Misuse::NoSuchChild))
}

/// A compressed secp256k1 point that is not the identity.
pub(crate) fn parse(public_key: &[u8]) -> Result<PublicKey, Fault> {
    let key = PublicKey::from_sec1_bytes(public_key).map_err(|_| Fault::caller(Misuse::BadPublicKey))?;
    if encode(&key) == public_key { Ok(key) } else { Err(Fault::caller(Misuse::BadPublicKey)) }
}

pub(crate) fn encode(key: &PublicKey) -> Vec<u8> {
    key.to_sec1_point(true).as_bytes().to_vec()
}
