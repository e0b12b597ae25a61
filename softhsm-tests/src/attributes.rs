//! What the module itself enforces, seen without the adapter: what the adapter relies on when it makes keys as it does
//! (S-4.4), and the one thing that modules allow and that it therefore rules out.

use crate::kind::{Kind, Token};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;

/// An AES key of this session; what is not said of it is safe.
fn made(session: &Session, more: &[Attribute]) -> ObjectHandle {
    let safe = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::ValueLen(32.into()),
    ];
    let said = |wanted: &Attribute| more.iter().any(|m| m.attribute_type() == wanted.attribute_type());
    let template: Vec<_> = safe.into_iter().filter(|a| !said(a)).chain(more.iter().cloned()).collect();
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
}

fn gcm(session: &Session, key: ObjectHandle) -> bool {
    let mut iv = [1; 12];
    let params = GcmParams::new(&mut iv, &[], 128.into()).unwrap();
    session.encrypt(&Mechanism::AesGcm(params), key, b"plain").is_ok()
}

fn ecb(session: &Session, key: ObjectHandle) -> bool {
    session.encrypt(&Mechanism::AesEcb, key, &[0; 16]).is_ok()
}

fn wraps(session: &Session, key: ObjectHandle) -> bool {
    let wrapped = made(session, &[Attribute::Extractable(true)]);
    let outcome = session.wrap_key(&Mechanism::AesKeyWrap, key, wrapped).is_ok();
    session.destroy_object(wrapped).unwrap();
    outcome
}

/// Unwraps what `by` has wrapped.
fn unwraps(session: &Session, key: ObjectHandle, blob: &[u8]) -> bool {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    session.unwrap_key(&Mechanism::AesKeyWrap, key, blob, &template).is_ok()
}

pub fn s_4_4_what_protects_a_key_is_never_taken_back<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let key = made(&session, &[Attribute::Encrypt(true)]);
    for downgrade in [Attribute::Sensitive(false), Attribute::Extractable(true)] {
        assert!(session.update_attributes(key, std::slice::from_ref(&downgrade)).is_err(), "{downgrade:?}");
        let copied = session.copy_object(key, std::slice::from_ref(&downgrade));
        assert!(copied.is_err(), "copied with {downgrade:?}");
    }
    // More usage is given to whoever asks: that is why no key of ours may be modified.
    session.update_attributes(key, &[Attribute::Decrypt(true)]).unwrap();

    let fixed = made(&session, &[Attribute::Encrypt(true), Attribute::Modifiable(false)]);
    let changes = [
        Attribute::Decrypt(true),
        Attribute::Wrap(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Modifiable(true),
        Attribute::Label("other".into()),
    ];
    for change in changes {
        assert!(session.update_attributes(fixed, std::slice::from_ref(&change)).is_err(), "{change:?}");
    }
}

pub fn s_4_4_the_value_of_a_key_is_given_to_nobody<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let wrapping = made(&session, &[Attribute::Wrap(true)]);
    for (sensitive, extractable) in [(true, false), (true, true), (false, false)] {
        let key = made(&session, &[Attribute::Sensitive(sensitive), Attribute::Extractable(extractable)]);
        let read = session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default();
        assert!(read.is_empty(), "sensitive {sensitive}, extractable {extractable}");
        let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, wrapping, key);
        assert_eq!(wrapped.is_ok(), extractable, "sensitive {sensitive}");
    }
}

pub fn s_4_4_a_key_does_what_its_usage_says_and_nothing_else<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let able = made(&session, &[Attribute::Wrap(true), Attribute::Unwrap(true)]);
    let wrapped = made(&session, &[Attribute::Extractable(true)]);
    let blob = session.wrap_key(&Mechanism::AesKeyWrap, able, wrapped).unwrap();
    assert!(unwraps(&session, able, &blob) && !gcm(&session, able) && !ecb(&session, able));

    let encrypts = made(&session, &[Attribute::Encrypt(true)]);
    assert!(gcm(&session, encrypts) && ecb(&session, encrypts));
    assert!(session.decrypt(&Mechanism::AesEcb, encrypts, &[0; 16]).is_err());
    assert!(!wraps(&session, encrypts) && !unwraps(&session, encrypts, &blob));
    assert!(session.sign(&Mechanism::AesCMac, encrypts, b"message").is_err());

    let wraps_only = made(&session, &[Attribute::Wrap(true)]);
    assert!(wraps(&session, wraps_only) && !unwraps(&session, wraps_only, &blob));
}

pub fn s_4_4_a_key_is_used_by_the_mechanisms_it_allows_only<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let able = |allowed| {
        let all = [
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Sign(true),
        ];
        made(&session, &[&all[..], &[Attribute::AllowedMechanisms(vec![allowed])]].concat())
    };
    let seals = able(MechanismType::AES_GCM);
    assert!(gcm(&session, seals) && !ecb(&session, seals) && !wraps(&session, seals));
    assert!(session.decrypt(&Mechanism::AesEcb, seals, &[0; 16]).is_err());
    assert!(session.sign(&Mechanism::AesCMac, seals, b"message").is_err());

    let kek = able(MechanismType::AES_KEY_WRAP);
    assert!(wraps(&session, kek) && !gcm(&session, kek) && !ecb(&session, kek));
    let wrapped = made(&session, &[Attribute::Extractable(true)]);
    let blob = session.wrap_key(&Mechanism::AesKeyWrap, kek, wrapped).unwrap();
    assert!(unwraps(&session, kek, &blob) && !unwraps(&session, seals, &blob));
}

pub fn what_was_changed_does_not_unwrap_nor_does_nothing_at_all<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let key = made(&session, &[Attribute::Wrap(true), Attribute::Unwrap(true)]);
    let wrapped = made(&session, &[Attribute::Extractable(true)]);
    let blob = session.wrap_key(&Mechanism::AesKeyWrap, key, wrapped).unwrap();
    assert_eq!(blob.len(), 40);
    for at in 0..blob.len() {
        let mut flipped = blob.clone();
        flipped[at] ^= 1;
        assert!(!unwraps(&session, key, &flipped) && !unwraps(&session, key, &blob[..at]), "{at}");
    }
    assert!(unwraps(&session, key, &blob));
}
