//! Between the FROST libraries and us: the two suites, identifiers, randomness, children of keys, and what errors mean.

use crate::derive::Derived;
use crate::fault::{Cheat, Disagreement, Fault, Misuse};
use crate::offline::{Material as AnyMaterial, frost::Material};
use crate::online::{Known as AnyKnown, frost::Known};
use crate::share::{FrostShare, Secret};
use crate::signature::Signature;
use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Ciphersuite, Error, Field as _, Group, Identifier, Scalar, VerifyingKey};
use frost_secp256k1_tr::keys::Tweak as _;
use rand_core::CryptoRng;
use std::collections::BTreeMap;
use tally_domain::{PartyIndex, Scheme};

pub(crate) use frost_ed25519::Ed25519Sha512 as Ed25519;
pub(crate) use frost_secp256k1_tr::Secp256K1Sha256TR as Taproot;

/// A suite of FROST, and what differs between the two beyond group and hash.
pub(crate) trait Suite: Ciphersuite {
    const SCHEME: Scheme;

    fn secret(package: KeyPackage<Self>) -> Secret;
    fn material(material: Material<Self>) -> AnyMaterial;
    fn known(known: Known<Self>) -> AnyKnown;
    fn signature(bytes: [u8; 64]) -> Signature;

    /// From a child's share of the key to a share of what signs for it.
    fn signing(child: KeyPackage<Self>, derived: &Derived) -> KeyPackage<Self>;
    /// The same for what all know.
    fn signing_public(child: PublicKeyPackage<Self>, derived: &Derived) -> PublicKeyPackage<Self>;
}

impl Suite for Ed25519 {
    const SCHEME: Scheme = Scheme::Ed25519;

    fn secret(package: KeyPackage<Self>) -> Secret {
        Secret::Ed25519(Box::new(FrostShare::new(package)))
    }

    fn material(material: Material<Self>) -> AnyMaterial {
        AnyMaterial::Ed25519(Box::new(material))
    }

    fn known(known: Known<Self>) -> AnyKnown {
        AnyKnown::Ed25519(Box::new(known))
    }

    fn signature(bytes: [u8; 64]) -> Signature {
        Signature::Ed25519(bytes)
    }

    fn signing(child: KeyPackage<Self>, _: &Derived) -> KeyPackage<Self> {
        child
    }

    fn signing_public(child: PublicKeyPackage<Self>, _: &Derived) -> PublicKeyPackage<Self> {
        child
    }
}

// The library turns keys and nonces to an even y when it signs and combines, as BIP-340 asks.
impl Suite for Taproot {
    const SCHEME: Scheme = Scheme::Taproot;

    fn secret(package: KeyPackage<Self>) -> Secret {
        Secret::Taproot(Box::new(FrostShare::new(package)))
    }

    fn material(material: Material<Self>) -> AnyMaterial {
        AnyMaterial::Taproot(Box::new(material))
    }

    fn known(known: Known<Self>) -> AnyKnown {
        AnyKnown::Taproot(Box::new(known))
    }

    fn signature(bytes: [u8; 64]) -> Signature {
        Signature::Bip340(bytes)
    }

    /// BIP-341: the child is the internal key, and the output key signs.
    fn signing(child: KeyPackage<Self>, derived: &Derived) -> KeyPackage<Self> {
        child.tweak(derived.merkle_root.map(|root| root.0))
    }

    fn signing_public(child: PublicKeyPackage<Self>, derived: &Derived) -> PublicKeyPackage<Self> {
        child.tweak(derived.merkle_root.map(|root| root.0))
    }
}

/// Our index as the library's: the x-coordinate of the share.
pub(crate) fn identifier<C: Ciphersuite>(party: PartyIndex) -> Result<Identifier<C>, Fault> {
    Identifier::try_from(u16::from(party.get())).map_err(|_| Fault::Bug { what: "party index zero" })
}

/// This node's share of what signs for a child: the tweak is added to every share, and so to what they are shares of.
///
/// The child may be chosen when the nonces are known, which presignatures of ECDSA would not bear: FROST hashes the key
/// into its binding factors, and EdDSA and BIP-340 into the challenge.
pub(crate) fn signing_share<C: Suite>(root: &KeyPackage<C>, derived: &Derived) -> Result<KeyPackage<C>, Fault> {
    if derived.is_root() {
        return Ok(C::signing(root.clone(), derived));
    }
    let tweak = scalar::<C>(derived)?;
    let by = C::Group::generator() * tweak;
    let child = KeyPackage::new(
        *root.identifier(),
        SigningShare::new(root.signing_share().to_scalar() + tweak),
        VerifyingShare::new(root.verifying_share().to_element() + by),
        VerifyingKey::new(root.verifying_key().to_element() + by),
        *root.min_signers(),
    );
    Ok(C::signing(child, derived))
}

/// The public side of [`signing_share`], for all parties.
pub(crate) fn signing_public<C: Suite>(
    root: PublicKeyPackage<C>,
    derived: &Derived,
) -> Result<PublicKeyPackage<C>, Fault> {
    if derived.is_root() {
        return Ok(C::signing_public(root, derived));
    }
    let by = C::Group::generator() * scalar::<C>(derived)?;
    let shares = root.verifying_shares().iter();
    let shares: BTreeMap<_, _> =
        shares.map(|(id, share)| (*id, VerifyingShare::new(share.to_element() + by))).collect();
    let key = VerifyingKey::new(root.verifying_key().to_element() + by);
    Ok(C::signing_public(PublicKeyPackage::new(shares, key, root.min_signers()), derived))
}

fn scalar<C: Ciphersuite>(derived: &Derived) -> Result<Scalar<C>, Fault> {
    let bytes = derived.tweak.as_slice().try_into().map_err(|_| Fault::Bug { what: "length of a scalar" })?;
    <<C::Group as Group>::Field>::deserialize(&bytes).map_err(|_| Fault::Bug { what: "tweak not below the order" })
}

/// What all know of a key, in the library's form.
pub(crate) fn public_keys<C: Suite>(key: &crate::share::KeyPublic) -> Result<PublicKeyPackage<C>, Fault> {
    let bad = |_| Fault::caller(Misuse::BadPublicKey);
    let mut shares = BTreeMap::new();
    for party in key.threshold.parties() {
        let bytes = key.share_of(party).ok_or(Fault::caller(Misuse::BadPublicKey))?;
        shares.insert(identifier(party)?, VerifyingShare::deserialize(bytes).map_err(bad)?);
    }
    let verifying_key = VerifyingKey::deserialize(&key.public_key).map_err(bad)?;
    Ok(PublicKeyPackage::new(shares, verifying_key, Some(u16::from(key.threshold.t()))))
}

/// Whose fault an error is. A culprit is named only by checks that nobody fails by accident.
pub(crate) fn fault<C: Ciphersuite>(error: &Error<C>, round: u8, otherwise: Disagreement) -> Fault {
    let what = match error {
        Error::InvalidProofOfKnowledge { .. } => Cheat::Proof,
        Error::InvalidSecretShare { .. } => Cheat::SecretShare,
        Error::InvalidSignatureShare { .. } => Cheat::Partial,
        _ => return Fault::Mismatch { round, what: otherwise },
    };
    let named = error.culprits();
    let is_named = |p: &PartyIndex| identifier(*p).is_ok_and(|id| named.contains(&id));
    let culprit = (1..=PartyIndex::MAX).filter_map(|i| PartyIndex::new(i).ok()).find(is_named);
    match culprit {
        Some(culprit) => Fault::Malicious { culprit, round, what },
        None => Fault::Mismatch { round, what: otherwise },
    }
}

/// The caller's generator in the shape of the older `rand_core` that the library speaks.
pub(crate) struct OldRng<'a, R: ?Sized>(pub(crate) &'a mut R);

impl<R: CryptoRng + ?Sized> rand_core_06::RngCore for OldRng<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng + ?Sized> rand_core_06::CryptoRng for OldRng<'_, R> {}
