//! What the adapter does while all is well, and what it refuses.

use crate::kind::{Kind, Token};
use crate::process::wait;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, PinState, SealingKeyId};
use tally_hsm_adapter::{Config, Mode, Pkcs11Hsm, provision};

fn id(n: u8) -> SealingKeyId {
    SealingKeyId([n; 16])
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

fn opened(hsm: &Pkcs11Hsm, n: u8, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
    wait(hsm.open(id(n), aad.to_vec(), sealed.to_vec())).map(|s| s.expose().to_vec())
}

fn only(session: &Session, class: ObjectClass) -> ObjectHandle {
    let found = session.find_objects(&[Attribute::Class(class)]).unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

fn refused(config: Config) -> String {
    match Pkcs11Hsm::connect(config).err() {
        Some(HsmError::Configuration { what }) => what,
        other => panic!("{other:?}"),
    }
}

pub fn s_4_1_what_is_sealed_opens_again<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(id(1))).unwrap();
    for length in [0, 1, 32, 210_000] {
        let plain: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
        for aad in [&b""[..], b"share of node-1"] {
            let sealed = wait(hsm.seal(id(1), aad.to_vec(), secret(&plain))).unwrap();
            assert_eq!((sealed[0], sealed.len()), (2, 1 + 12 + 32 + plain.len() + 16));
            assert_eq!(opened(&hsm, 1, aad, &sealed).unwrap(), plain);
            let again = wait(hsm.seal(id(1), aad.to_vec(), secret(&plain))).unwrap();
            assert_ne!(sealed[1..13], again[1..13], "an IV came twice");
        }
    }
    hsm.shutdown();
}

pub fn s_4_2_what_was_changed_or_belongs_elsewhere_is_integrity_and_the_token_stays_in_use<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    for n in [1, 2] {
        wait(hsm.create_sealing_key(id(n))).unwrap();
    }
    let sealed = wait(hsm.seal(id(1), b"aad".to_vec(), secret(&[7; 32]))).unwrap();
    let mut bad: Vec<(u8, &[u8], Vec<u8>)> =
        vec![(1, b"axd", sealed.clone()), (1, b"", sealed.clone()), (2, b"aad", sealed.clone())];
    for i in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[i] ^= 1;
        bad.push((1, b"aad", flipped));
        bad.push((1, b"aad", sealed[..i].to_vec()));
    }
    bad.push((1, b"aad", [sealed.as_slice(), &[0]].concat()));
    for (n, aad, blob) in bad {
        assert_eq!(opened(&hsm, n, aad, &blob), Err(HsmError::Integrity), "{blob:?}");
    }
    assert_eq!(opened(&hsm, 1, b"aad", &sealed).unwrap(), [7; 32]);
}

pub fn sealing_keys_are_made_once_and_destroyed_for_good<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    let not_found = |r: Result<(), HsmError>| assert!(matches!(r, Err(HsmError::KeyNotFound { .. })), "{r:?}");
    not_found(wait(hsm.seal(id(1), vec![], secret(b"x"))).map(|_| ()));
    not_found(opened(&hsm, 1, b"", &[2; 80]).map(|_| ()));
    not_found(wait(hsm.destroy_sealing_key(id(1))));

    wait(hsm.create_sealing_key(id(1))).unwrap();
    assert!(matches!(wait(hsm.create_sealing_key(id(1))), Err(HsmError::KeyExists { .. })));
    let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
    wait(hsm.destroy_sealing_key(id(1))).unwrap();
    not_found(opened(&hsm, 1, b"", &sealed).map(|_| ()));

    wait(hsm.create_sealing_key(id(1))).unwrap();
    assert_eq!(opened(&hsm, 1, b"", &sealed), Err(HsmError::Integrity));
}

pub fn the_identity_is_made_once_and_its_signatures_verify<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    let without = Pkcs11Hsm::connect(token.config()).err();
    assert!(matches!(&without, Some(HsmError::KeyNotFound { what }) if what.contains("tally-identity")), "{without:?}");

    let identity = provision(token.config()).unwrap();
    assert_eq!(provision(token.config()).unwrap(), identity);
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    assert_eq!(hsm.identity(), identity);
    for message in [vec![], b"vote".to_vec(), vec![9; 100_000]] {
        let signature = wait(hsm.sign_identity(message.clone())).unwrap();
        identity.verify(&message, &signature).unwrap();
        assert!(identity.verify(b"another", &signature).is_err());
    }
    let status = wait(hsm.status());
    assert_eq!((status.label, status.serial, status.sessions), (token.label, token.serial, 4));
    assert_eq!((status.breaker, status.pin, status.fault), (BreakerState::Closed, PinState::Good, None));
    assert_eq!((status.hung, status.queued), (0, 0));
    assert_eq!(Path::new(&status.module), token.real.canonicalize().unwrap());
    assert!(status.capabilities.contains("(tested)"), "{}", status.capabilities);
    let of = |name| status.latencies.iter().find(|l| l.operation == name);
    assert!(of("signing").is_some_and(|l| l.count == 3 && l.p50_us <= l.p99_us), "{:?}", status.latencies);
    assert!(of("sealing").is_none() && status.proven_ms_ago.is_some());
}

pub fn the_token_is_as_its_profile_says<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    let profile: toml::Table = toml::from_str(K::PROFILE).unwrap();
    let said = |key: &str| profile[key].as_str().unwrap();
    let seen = wait(hsm.status()).capabilities;
    let expected = [
        format!("profile {} (tested)", said("name")),
        format!("GCM IV by {}", said("gcm_iv")),
        format!("EC point {}", said("ec_point")),
        format!("unwrap length {}", said("unwrap_value_len")),
    ];
    for part in expected {
        assert!(seen.split(", ").any(|s| s == part), "{part}: {seen}");
    }
    // Of the two numbers of RFC 5649, the one that `cryptoki` can name.
    let (context, slot) = token.raw();
    let padded = context.get_mechanism_info(slot, MechanismType::AES_KEY_WRAP_PAD);
    assert_eq!(padded.is_ok(), profile["kwp_mechanism"].as_integer() == Some(0x210A), "{padded:?}");
}

pub fn s_4_4_keys_have_one_use_and_never_leave_the_token<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(id(1))).unwrap();
    let session = token.beside();
    let kept = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    let sealing = [
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::ValueLen(32.into()),
        Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM]),
    ];
    let signing =
        [Attribute::Sign(true), Attribute::Decrypt(false), Attribute::AllowedMechanisms(vec![MechanismType::EDDSA])];
    for (class, usage) in [(ObjectClass::SECRET_KEY, &sealing[..]), (ObjectClass::PRIVATE_KEY, &signing[..])] {
        let key = only(&session, class);
        for wanted in kept.iter().chain(usage) {
            assert_eq!(session.get_attributes(key, &[wanted.attribute_type()]).unwrap().first(), Some(wanted));
        }
        assert!(session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default().is_empty());
        assert!(session.update_attributes(key, &[Attribute::Extractable(true)]).is_err());
        assert!(session.update_attributes(key, &[Attribute::Wrap(true)]).is_err());
    }
    let sealing_key = only(&session, ObjectClass::SECRET_KEY);
    assert!(session.encrypt(&Mechanism::AesEcb, sealing_key, &[0; 16]).is_err());
    assert!(session.wrap_key(&Mechanism::AesKeyWrap, sealing_key, sealing_key).is_err());
}

pub fn s_4_4_a_key_that_is_not_as_we_make_them_is_refused<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    let session = token.beside();
    let made = |id: &[u8], label: &str, more: &[Attribute]| {
        let common = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.into()),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM]),
        ];
        let template: Vec<_> = common.iter().chain(more).cloned().collect();
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
    };
    let (kept, fixed, one_job) = (Attribute::Extractable(false), Attribute::Modifiable(false), Attribute::Wrap(false));
    let ours = "tally-sealing";
    let bad: [(&[u8], &str, [Attribute; 3], &str); 5] = [
        (&[1; 16], ours, [Attribute::Extractable(true), fixed.clone(), one_job.clone()], "Extractable(false)"),
        (&[1; 16], ours, [kept.clone(), Attribute::Modifiable(true), one_job.clone()], "Modifiable(false)"),
        (&[1; 16], ours, [kept.clone(), fixed.clone(), Attribute::Wrap(true)], "Wrap(false)"),
        (&[1; 16], "theirs", [kept.clone(), fixed.clone(), one_job.clone()], "Label"),
        (&[1; 3], "theirs", [kept, fixed, one_job], "not ours"),
    ];
    for (id_bytes, label, attributes, why) in bad {
        let key = made(id_bytes, label, &attributes);
        if id_bytes.len() == 16 {
            let used = wait(hsm.seal(id(1), vec![], secret(b"x")));
            assert!(matches!(&used, Err(HsmError::Configuration { what }) if what.contains(why)), "{used:?}");
        }
        let what = refused(token.config());
        assert!(what.contains(why), "{what}");
        session.destroy_object(key).unwrap();
    }
    Pkcs11Hsm::connect(token.config()).unwrap();
}

pub fn s_4_5_a_wrong_pin_is_tried_once<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    let wrong = Config { pin: secret(b"not the pin"), ..token.config() };
    assert_eq!(Pkcs11Hsm::connect(wrong).err(), Some(HsmError::PinRefused));
    // The right PIN would be taken if it were tried.
    assert_eq!(Pkcs11Hsm::connect(token.config()).err(), Some(HsmError::PinRefused));
    assert_eq!(provision(token.config()).err(), Some(HsmError::PinRefused));
}

pub fn a_lost_login_is_renewed_without_anybody_noticing<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(id(1))).unwrap();
    let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
    for _ in 0..5 {
        token.beside().logout().unwrap();
        assert_eq!(opened(&hsm, 1, b"", &sealed).unwrap(), b"x");
        token.beside().logout().unwrap();
        wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
        token.beside().logout().unwrap();
        let missing = wait(hsm.seal(id(9), vec![], secret(b"x")));
        assert!(matches!(missing, Err(HsmError::KeyNotFound { .. })), "{missing:?}");
        token.beside().logout().unwrap();
        wait(hsm.create_sealing_key(id(2))).unwrap();
        token.beside().logout().unwrap();
        wait(hsm.destroy_sealing_key(id(2))).unwrap();
    }
}

pub fn of_two_tokens_with_one_label_the_serial_decides<K: Kind>(dir: &Path) {
    let (first, second) = (Token::create::<K>(dir), Token::create::<K>(dir));
    assert_ne!(first.serial, second.serial);
    let without = Config { token_serial: None, ..first.config() };
    assert!(refused(without).contains("more than one token has label `node-1`"));
    let one = provision(first.config()).unwrap();
    let two = provision(second.config()).unwrap();
    assert_ne!(one, two);
    assert_eq!(Pkcs11Hsm::connect(first.config()).unwrap().identity(), one);
    assert_eq!(Pkcs11Hsm::connect(second.config()).unwrap().identity(), two);

    let elsewhere = Config { token_label: "node-2".into(), ..first.config() };
    assert!(refused(elsewhere).contains("no token with label `node-2`"));
    let swapped = Config { token_serial: Some("0000".into()), ..first.config() };
    assert!(refused(swapped).contains("serial `0000`"));
}

pub fn what_is_no_module_is_named<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    let text = dir.join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    for module in [PathBuf::from("/bin/true"), text, dir.join("missing.so")] {
        let what = refused(Config { module: module.clone(), ..token.config() });
        assert!(what.contains(module.to_str().unwrap()), "{what}");
    }
    for bad in [
        Config { workers: 0, ..token.config() },
        Config { workers: 65, ..token.config() },
        Config { deadline: Duration::ZERO, ..token.config() },
    ] {
        assert!(refused(bad).contains("1 to 64 workers"));
    }
    // A token directory that is gone stops the module, with a hint.
    std::fs::remove_dir_all(K::storage(dir)).unwrap();
    let what = refused(token.config());
    assert!(what.contains(K::ENV) && what.contains("CKR_"), "{what}");
}

pub fn s_4_5_a_module_that_writes_the_pin_down_is_refused_in_production<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    let copy = |name: &str, inside: &[u8]| {
        let path = dir.join(name);
        let mut bytes = std::fs::read(&token.real).unwrap();
        bytes.extend_from_slice(inside);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let called = copy("pkcs11-spy.so", b"");
    let renamed = copy("innocent.so", b"\0PKCS11SPY_OUTPUT\0");
    let linked = dir.join("link.so");
    std::os::unix::fs::symlink(&called, &linked).unwrap();
    for module in [&called, &renamed, &linked] {
        let what = refused(Config { module: module.clone(), ..token.config() });
        assert!(what.contains("production mode") && what.contains(module.to_str().unwrap()), "{what}");
    }
    let looked_into = Config { module: called, mode: Mode::Development, ..token.config() };
    provision(looked_into).unwrap();
}

pub fn a_deadline_too_short_for_the_token_is_said_to_have_passed<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    provision(token.config()).unwrap();
    let hurried = Config { deadline: Duration::from_nanos(1), ..token.config() };
    let hsm = Pkcs11Hsm::connect(hurried).unwrap();
    assert_eq!(wait(hsm.sign_identity(vec![])), Err(HsmError::Deadline { operation: "signing", started: false }));
}

pub fn sixteen_threads_seal_and_open_while_keys_come_and_go<K: Kind>(dir: &Path) {
    let (_token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(id(0xff))).unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    let next = AtomicU8::new(0);
    std::thread::scope(|scope| {
        for thread in 0..16_u8 {
            let (hsm, next) = (&hsm, &next);
            scope.spawn(move || {
                while Instant::now() < until {
                    let key = if thread < 3 { thread } else { 0xff };
                    if thread < 3 {
                        wait(hsm.create_sealing_key(id(key))).unwrap();
                    }
                    let plain = [next.fetch_add(1, Ordering::Relaxed); 100];
                    let sealed = wait(hsm.seal(id(key), vec![thread], secret(&plain))).unwrap();
                    assert_eq!(opened(hsm, key, &[thread], &sealed).unwrap(), plain);
                    wait(hsm.sign_identity(sealed)).unwrap();
                    if thread < 3 {
                        wait(hsm.destroy_sealing_key(id(key))).unwrap();
                    }
                }
            });
        }
    });
}

pub fn keys_outlive_a_shutdown<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(id(1))).unwrap();
    let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
    let identity = hsm.identity();
    hsm.shutdown();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    assert_eq!((opened(&hsm, 1, b"", &sealed).unwrap(), hsm.identity()), (b"x".to_vec(), identity));
}
