//! Signing keys.

use crate::kind::{Kind, Token};
use crate::process::wait;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, ObjectId};
use tally_domain::spki::Parts;
use tally_domain::{Digest, HsmScheme, PublicKey};
use tally_hsm_adapter::Pkcs11Hsm;

const ALL: [HsmScheme; 4] = [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];

/// The schemes that the module offers, each with an id that is its own for any module.
fn offered<K: Kind>() -> impl Iterator<Item = (u8, HsmScheme)> {
    (1..).zip(ALL).filter(|(_, scheme)| K::SCHEMES.contains(scheme))
}

fn id(n: u8) -> ObjectId {
    ObjectId([n; 16])
}

fn private_half(session: &Session, n: u8) -> ObjectHandle {
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(vec![n; 16])];
    let found = session.find_objects(&wanted).unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

fn to_sign(scheme: HsmScheme, message: &[u8]) -> Vec<u8> {
    match scheme {
        HsmScheme::Ed25519 => message.to_vec(),
        _ => Digest::of(message).0.to_vec(),
    }
}

/// Verifies with libraries that the adapter does not use: AWS-LC and libsecp256k1.
fn foreign(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    match (key.scheme(), key.parts()) {
        (HsmScheme::EcdsaP256, Parts::Point { x, y }) => {
            let point = [&[4], &x[..], &y].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
        }
        (_, Parts::Point { .. }) => {
            let key = secp256k1::PublicKey::from_slice(&key.secp256k1_compressed().unwrap()).unwrap();
            let digest = secp256k1::Message::from_digest(Digest::of(message).0);
            let signature = secp256k1::ecdsa::Signature::from_compact(signature).unwrap();
            secp256k1::SECP256K1.verify_ecdsa(digest, &signature, &key).is_ok()
        }
        (_, Parts::Ed25519(key)) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        (_, Parts::Rsa { n, e }) => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
        }
    }
}

pub fn every_scheme_signs_and_other_libraries_verify<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    for (n, scheme) in offered::<K>() {
        let key = wait(hsm.create_signing_key(id(n), scheme)).unwrap();
        assert_eq!(key.scheme(), scheme);
        // SoftHSM gives half of its ECDSA signatures with a high s; none may leave.
        for i in 0..16_u8 {
            let message = [b"message ", &[i][..]].concat();
            let signature = wait(hsm.sign(id(n), scheme, to_sign(scheme, &message))).unwrap();
            key.verify(&to_sign(scheme, &message), &signature).unwrap();
            assert!(foreign(&key, &message, &signature), "{scheme}");
            assert!(!foreign(&key, b"another", &signature), "{scheme}");
        }
    }
}

pub fn a_creation_that_is_tried_again_finds_its_own_key_and_no_other<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    for (n, scheme) in offered::<K>() {
        let first = wait(hsm.create_signing_key(id(n), scheme)).unwrap();
        assert_eq!(wait(hsm.create_signing_key(id(n), scheme)).unwrap(), first);
        if scheme != HsmScheme::Rsa3072 {
            assert_ne!(wait(hsm.create_signing_key(id(n + 100), scheme)).unwrap(), first);
        }
    }
    let keys: Vec<_> = offered::<K>().map(|(n, s)| wait(hsm.create_signing_key(id(n), s)).unwrap()).collect();
    // Under an id that has another scheme's key, nothing is made and nothing signed.
    for scheme in [HsmScheme::Ed25519, HsmScheme::Rsa3072] {
        let refused = wait(hsm.create_signing_key(id(1), scheme));
        assert!(matches!(refused, Err(HsmError::Configuration { .. })), "{refused:?}");
    }
    if K::SCHEMES.contains(&HsmScheme::EcdsaSecp256k1) {
        // Two curves share a key type; there the public half tells.
        let refused = wait(hsm.create_signing_key(id(1), HsmScheme::EcdsaSecp256k1));
        assert!(matches!(refused, Err(HsmError::Configuration { .. })), "{refused:?}");
    }
    hsm.shutdown();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    for ((n, scheme), key) in offered::<K>().zip(keys) {
        let signature = wait(hsm.sign(id(n), scheme, to_sign(scheme, b"later"))).unwrap();
        assert!(foreign(&key, b"later", &signature), "{scheme}");
    }
}

pub fn what_the_token_does_not_offer_is_said_to_be_so<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    let capabilities = wait(hsm.status()).capabilities;
    let shown = capabilities.split_once(", keys ").unwrap().1.split(' ').collect::<Vec<_>>();
    assert_eq!(shown, K::SCHEMES.iter().map(|s| s.as_str()).collect::<Vec<_>>());
    for scheme in ALL.into_iter().filter(|s| !K::SCHEMES.contains(s)) {
        for _ in 0..5 {
            let refused = wait(hsm.create_signing_key(id(1), scheme)).err();
            assert_eq!(refused, Some(HsmError::NotOffered { what: format!("{scheme} keys") }));
        }
    }
    // That is no fault of the token's.
    assert_eq!(wait(hsm.status()).breaker, BreakerState::Closed);
}

pub fn what_the_token_does_not_have_is_not_found<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    for scheme in ALL {
        let missing = wait(hsm.sign(id(9), scheme, vec![1; 32]));
        assert!(matches!(missing, Err(HsmError::KeyNotFound { .. })), "{missing:?}");
    }
}

pub fn s_4_4_signing_keys_have_one_use_and_never_leave_the_token<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    let session = token.beside();
    for (n, scheme) in offered::<K>() {
        wait(hsm.create_signing_key(id(n), scheme)).unwrap();
        let (key_type, mechanism, value) = match scheme {
            HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 => {
                (KeyType::EC, MechanismType::ECDSA, AttributeType::Value)
            }
            HsmScheme::Ed25519 => (KeyType::EC_EDWARDS, MechanismType::EDDSA, AttributeType::Value),
            HsmScheme::Rsa3072 => (KeyType::RSA, MechanismType::RSA_PKCS_PSS, AttributeType::PrivateExponent),
        };
        let key = private_half(&session, n);
        for wanted in [
            Attribute::KeyType(key_type),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::AlwaysSensitive(true),
            Attribute::Extractable(false),
            Attribute::NeverExtractable(true),
            Attribute::Modifiable(false),
            Attribute::Local(true),
            Attribute::Sign(true),
            Attribute::SignRecover(false),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::AllowedMechanisms(vec![mechanism]),
        ] {
            let given = session.get_attributes(key, &[wanted.attribute_type()]).unwrap();
            assert_eq!(given.first(), Some(&wanted), "{scheme}");
        }
        assert!(session.get_attributes(key, &[value]).unwrap_or_default().is_empty(), "{scheme}");
        assert!(session.update_attributes(key, &[Attribute::Extractable(true)]).is_err());
        assert!(session.update_attributes(key, &[Attribute::Decrypt(true)]).is_err());
    }
    // The mechanism that a key was made for, and no other.
    assert!(session.sign(&Mechanism::RsaPkcs, private_half(&session, 4), &[1; 32]).is_err());
    let kek =
        [Attribute::Token(false), Attribute::ValueLen(32.into()), Attribute::Wrap(true), Attribute::Sensitive(true)];
    let kek = session.generate_key(&Mechanism::AesKeyGen, &kek).unwrap();
    for (n, _) in offered::<K>() {
        assert!(session.wrap_key(&Mechanism::AesKeyWrap, kek, private_half(&session, n)).is_err());
    }
}

pub fn s_4_4_a_signing_key_that_is_not_as_we_make_them_is_refused<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    let session = token.beside();
    let p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let public = [Attribute::Token(true), Attribute::EcParams(p256.to_vec()), Attribute::Id(vec![1; 16])];
    let loose = [
        Attribute::Token(true),
        Attribute::Sign(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Id(vec![1; 16]),
    ];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &loose).unwrap();
    let made = wait(hsm.create_signing_key(id(1), HsmScheme::EcdsaP256)).map(drop);
    let signed = wait(hsm.sign(id(1), HsmScheme::EcdsaP256, vec![1; 32])).map(drop);
    for refused in [made, signed] {
        assert!(matches!(&refused, Err(HsmError::Configuration { .. })), "{refused:?}");
    }
}
