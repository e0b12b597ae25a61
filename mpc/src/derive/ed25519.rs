//! Children of Ed25519 keys, in the shape of BIP-32's: each step hashes the parent's 32 bytes and its index under the chain
//! code, and adds the left half, read as RFC 8032 reads scalars and reduced, to the key. There is no standard for it: SLIP-10
//! and BIP32-Ed25519 start from a seed that no machine has here.

use super::halves;
use crate::fault::{Fault, Misuse};
use crate::frost::Ed25519;
use frost_core::{Field as _, Group as _, Scalar, VerifyingKey};
use frost_ed25519::{Ed25519Group, Ed25519ScalarField};
use tally_domain::{DerivationPath, Digest};

/// The child at `path`, what is added to the root's secret scalar, little-endian, and the child's chain code.
pub(super) fn child(
    public_key: &[u8],
    chain_code: &Digest,
    path: &DerivationPath,
) -> Result<(Vec<u8>, [u8; 32], Digest), Fault> {
    // Refuses the identity, points with torsion and non-canonical encodings.
    let root = VerifyingKey::<Ed25519>::deserialize(public_key).map_err(|_| Fault::caller(Misuse::BadPublicKey))?;
    let mut key = public_key.to_vec();
    let mut tweak = Ed25519ScalarField::zero();
    let mut chain = *chain_code;
    for step in path.steps() {
        let (left, next) = halves(&chain, &key, *step)?;
        tweak += Scalar::<Ed25519>::from_bytes_mod_order(left);
        let point = root.to_element() + Ed25519Group::generator() * tweak;
        // The identity has no encoding.
        key = Ed25519Group::serialize(&point).map_err(|_| Fault::caller(Misuse::NoSuchChild))?.to_vec();
        chain = next;
    }
    Ok((key, Ed25519ScalarField::serialize(&tweak), chain))
}
