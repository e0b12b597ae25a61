//! Child keys, non-hardened: from public data alone, the same at every node. Over secp256k1 they are those of BIP-32; for
//! Ed25519 of the same shape; for Taproot the child of BIP-32 is the internal key of an output (BIP-86), whose key signs.

mod ed25519;
mod secp256k1;

use crate::fault::{Fault, Misuse};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use tally_domain::{DerivationPath, Digest, Scheme};

pub(crate) use secp256k1::{encode, parse};
pub use secp256k1::{output_key, xpub};

/// A child key, and how it differs from its root. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The key that signatures verify under. ECDSA: 33 bytes compressed. Ed25519: 32 bytes. Taproot: the output key of
    /// BIP-341, 32 bytes, x only.
    pub public_key: Vec<u8>,
    /// What is added to the root's secret key to get the child's, as the curve writes scalars (secp256k1 big-endian, Ed25519
    /// little-endian); zero for the root itself. What BIP-341 adds to the child comes on top.
    pub tweak: [u8; 32],
    /// The child's chain code.
    pub chain_code: Digest,
    /// Taproot: the scripts that the output commits to; without any, only the key spends it.
    pub merkle_root: Option<Digest>,
}

impl Derived {
    /// Whether nothing is added to the root.
    pub(crate) fn is_root(&self) -> bool {
        self.tweak == [0; 32]
    }
}

/// The key at `path` below the root of a key of that scheme.
///
/// # Errors
/// [`Misuse::BadPublicKey`], [`Misuse::NoSuchChild`].
pub fn derive(scheme: Scheme, public_key: &[u8], chain_code: &Digest, path: &DerivationPath) -> Result<Derived, Fault> {
    derive_output(scheme, public_key, chain_code, path, None)
}

/// The same, for an output that commits to scripts.
///
/// # Errors
/// As [`derive`]; [`Misuse::Scripts`] when there is a root and the key is not for Taproot.
pub fn derive_output(
    scheme: Scheme,
    public_key: &[u8],
    chain_code: &Digest,
    path: &DerivationPath,
    merkle_root: Option<Digest>,
) -> Result<Derived, Fault> {
    if merkle_root.is_some() && scheme != Scheme::Taproot {
        return Err(Fault::caller(Misuse::Scripts));
    }
    let (public_key, tweak, chain_code) = match scheme {
        Scheme::Ed25519 => ed25519::child(public_key, chain_code, path)?,
        Scheme::EcdsaSecp256k1 => {
            let (key, tweak, chain_code) = secp256k1::child(public_key, chain_code, path)?;
            (encode(&key), tweak, chain_code)
        }
        Scheme::Taproot => {
            let (internal, tweak, chain_code) = secp256k1::child(public_key, chain_code, path)?;
            let output = output_key(&secp256k1::x_only(&internal), merkle_root.as_ref())?;
            (output.to_vec(), tweak, chain_code)
        }
    };
    Ok(Derived { public_key, tweak, chain_code, merkle_root })
}

/// What a step of BIP-32 hashes: the tweak is made of the left half, the right half is the child's chain code.
fn halves(chain_code: &Digest, parent: &[u8], step: u32) -> Result<([u8; 32], Digest), Fault> {
    let mut mac = Hmac::<Sha512>::new_from_slice(chain_code.as_bytes()).map_err(|_| Fault::Bug { what: "HMAC key" })?;
    mac.update(parent);
    mac.update(&step.to_be_bytes());
    let output: [u8; 64] = mac.finalize().into_bytes().into();
    let (left, right) = output.split_first_chunk::<32>().ok_or(Fault::Bug { what: "half an HMAC" })?;
    let chain_code = Digest::from_slice(right).ok_or(Fault::Bug { what: "half an HMAC" })?;
    Ok((*left, chain_code))
}
