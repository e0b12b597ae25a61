//! Keys that wrap other keys.

use crate::kind::{Kind, Token};
use crate::process::wait;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use std::collections::HashSet;
use std::path::Path;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, KekId, Seal, SealingKeyId};
use tally_hsm_adapter::Pkcs11Hsm;

/// Bytes of a wrapped blob before the IV: a version and the KEK's id.
const HEADER: usize = 1 + 16;

/// What a wrapped blob has beside its content: header, IV, digest and tag.
const BESIDE: usize = HEADER + 12 + 32 + 16;

fn kek(n: u8) -> KekId {
    KekId([n; 16])
}

fn under(n: u8, aad: &[u8]) -> Seal {
    Seal { kek: kek(n), aad: aad.to_vec() }
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

fn unwrapped(hsm: &dyn Hsm, under: Seal, sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
    wait(hsm.unwrap(under, sealed.to_vec())).map(|s| s.expose().to_vec())
}

fn not_found<T>(outcome: Result<T, HsmError>) {
    let error = outcome.err();
    assert!(matches!(&error, Some(HsmError::KeyNotFound { what }) if what.starts_with("KEK 0")), "{error:?}");
}

pub fn what_a_kek_wraps_it_unwraps_and_another_rewraps<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    let first = wait(hsm.create_kek(kek(1))).unwrap();
    let second = wait(hsm.create_kek(kek(2))).unwrap();
    assert_ne!(first.check_value, second.check_value);
    assert_eq!((first.transfer, second.transfer), (None, None), "this node has one token");
    for length in [0, 1, 16, 32, 4096] {
        let plain = vec![length as u8; length];
        let sealed = wait(hsm.wrap(under(1, b"order 7"), secret(&plain))).unwrap();
        assert_eq!((sealed[0], &sealed[1..HEADER], sealed.len()), (3, &[1; 16][..], BESIDE + length));
        assert_eq!(unwrapped(&hsm, under(1, b"order 7"), &sealed).unwrap(), plain);
        let again = wait(hsm.rewrap(under(1, b"order 7"), sealed.clone(), under(2, b"order 8"))).unwrap();
        assert_eq!(again[1..HEADER], [2; 16]);
        assert_eq!(unwrapped(&hsm, under(2, b"order 8"), &again).unwrap(), plain);
        // What was rewrapped is not what it was: neither the KEK nor what it is bound to.
        for (n, aad, blob) in [(1, &b"order 8"[..], &again), (2, b"order 7", &again), (2, b"order 8", &sealed)] {
            assert_eq!(unwrapped(&hsm, under(n, aad), blob), Err(HsmError::Integrity));
        }
    }
}

pub fn data_keys_are_drawn_in_the_token_and_come_sealed<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_kek(kek(1))).unwrap();
    let mut all = Vec::new();
    for length in [16, 24, 32, 64] {
        for _ in 0..4 {
            let key = wait(hsm.generate_data_key(length, under(1, b"a"))).unwrap();
            assert_eq!(key.plaintext.len(), length);
            assert_eq!(unwrapped(&hsm, under(1, b"a"), &key.sealed).unwrap(), key.plaintext.expose());
            all.push(key.plaintext.expose()[..16].to_vec());
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 16, "a data key came twice");
}

pub fn s_4_2_a_changed_blob_is_integrity_and_the_token_stays_in_use<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    for n in [1, 2] {
        wait(hsm.create_kek(kek(n))).unwrap();
    }
    let sealed = wait(hsm.wrap(under(1, b"aad"), secret(&[7; 32]))).unwrap();
    let mut bad: Vec<(u8, &[u8], Vec<u8>)> =
        vec![(1, b"aad2", sealed.clone()), (1, b"", sealed.clone()), (2, b"aad", sealed.clone())];
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        bad.push((1, b"aad", flipped));
        bad.push((1, b"aad", sealed[..at].to_vec()));
    }
    // The id of the KEK that is asked, over what another one sealed.
    let mut renamed = sealed.clone();
    renamed[1..HEADER].copy_from_slice(&[2; 16]);
    bad.push((2, b"aad", renamed));
    bad.push((1, b"aad", [sealed.as_slice(), &[0]].concat()));
    for (n, aad, blob) in bad {
        assert_eq!(unwrapped(&hsm, under(n, aad), &blob), Err(HsmError::Integrity), "{blob:?}");
        let again = wait(hsm.rewrap(under(n, aad), blob.clone(), under(2, b""))).err();
        assert_eq!(again, Some(HsmError::Integrity), "{blob:?}");
    }
    let status = wait(hsm.status());
    assert_eq!((status.breaker, status.fault), (BreakerState::Closed, None));
    assert_eq!(unwrapped(&hsm, under(1, b"aad"), &sealed).unwrap(), [7; 32]);
}

pub fn a_kek_that_is_not_there_is_not_found_and_one_that_is_destroyed_is_gone<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    let all_not_found = |hsm: &Pkcs11Hsm, blob: &[u8]| {
        not_found(unwrapped(hsm, under(1, b""), blob));
        not_found(wait(hsm.wrap(under(1, b""), secret(b"x"))));
        not_found(wait(hsm.generate_data_key(32, under(1, b""))));
        not_found(wait(hsm.rewrap(under(1, b""), blob.to_vec(), under(2, b""))));
    };
    all_not_found(&hsm, &[3; 90]);
    let made = wait(hsm.create_kek(kek(1))).unwrap();
    assert!(matches!(wait(hsm.create_kek(kek(1))), Err(HsmError::KeyExists { .. })));
    let sealed = wait(hsm.wrap(under(1, b""), secret(b"x"))).unwrap();
    not_found(wait(hsm.rewrap(under(1, b""), sealed.clone(), under(2, b""))));
    // One that is not there is destroyed.
    for _ in 0..2 {
        wait(hsm.destroy_kek(kek(1))).unwrap();
        all_not_found(&hsm, &sealed);
    }
    // A new key under the old id is another key.
    assert_ne!(wait(hsm.create_kek(kek(1))).unwrap().check_value, made.check_value);
    assert_eq!(unwrapped(&hsm, under(1, b""), &sealed), Err(HsmError::Integrity));
}

pub fn keks_and_sealing_keys_are_told_apart<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_kek(kek(1))).unwrap();
    wait(hsm.create_sealing_key(SealingKeyId([2; 16]))).unwrap();
    let wrapped = wait(hsm.wrap(under(1, b""), secret(b"x"))).unwrap();
    // Both are as they must be, each for its own job.
    hsm.shutdown();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    assert_eq!(unwrapped(&hsm, under(1, b""), &wrapped).unwrap(), b"x");
    let as_kek = wait(hsm.wrap(under(2, b""), secret(b"x"))).map(drop);
    let as_sealing_key = wait(hsm.seal(SealingKeyId([1; 16]), vec![], secret(b"x"))).map(drop);
    let destroyed = wait(hsm.destroy_kek(kek(2)));
    for refused in [as_kek, as_sealing_key, destroyed] {
        assert!(matches!(&refused, Err(HsmError::Configuration { what }) if what.contains("Label")), "{refused:?}");
    }
    wait(hsm.seal(SealingKeyId([2; 16]), vec![], secret(b"x"))).unwrap();
}

pub fn s_4_3_no_two_blobs_have_one_iv_whoever_sealed_them_and_however_often_the_adapter_starts<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_kek(kek(1))).unwrap();
    wait(hsm.create_sealing_key(SealingKeyId([2; 16]))).unwrap();
    hsm.shutdown();
    let (mut ivs, mut prefixes) = (HashSet::new(), HashSet::new());
    for start in 1..=5 {
        let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
        for _ in 0..100 {
            let wrapped = wait(hsm.wrap(under(1, b""), secret(b"x"))).unwrap();
            let sealed = wait(hsm.seal(SealingKeyId([2; 16]), vec![], secret(b"x"))).unwrap();
            for iv in [&wrapped[HEADER..HEADER + 12], &sealed[1..13]] {
                assert!(ivs.insert(iv.to_vec()), "an IV came twice");
                prefixes.insert(iv[..8].to_vec());
            }
        }
        assert_eq!(prefixes.len(), start, "one series of IVs for each start");
    }
    assert!(!prefixes.contains(&vec![0; 8]));
}

pub fn s_4_4_a_kek_encrypts_and_decrypts_and_never_leaves_the_token<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_kek(kek(1))).unwrap();
    let session = token.beside();
    let found = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap();
    let [key] = found[..] else { panic!("{found:?}") };
    for wanted in [
        Attribute::Label("tally-kek".into()),
        Attribute::Id(vec![1; 16]),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
        Attribute::Modifiable(false),
        Attribute::Local(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM]),
    ] {
        assert_eq!(session.get_attributes(key, &[wanted.attribute_type()]).unwrap().first(), Some(&wanted));
    }
    assert!(session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default().is_empty());
    assert!(session.update_attributes(key, &[Attribute::Extractable(true)]).is_err());
    assert!(session.update_attributes(key, &[Attribute::Unwrap(true)]).is_err());
    assert!(session.encrypt(&Mechanism::AesEcb, key, &[0; 16]).is_err());
    assert!(session.wrap_key(&Mechanism::AesKeyWrap, key, key).is_err());
}
