//! The adapter on SoftHSM. SoftHSM's configuration belongs to a process, so each test runs in a process of its own: it
//! starts this very binary again for itself alone, with the variable set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, HsmError, SealingKeyId};
use tally_hsm_adapter::testing::{SOFTHSM_ENV, SoftHsmToken};
use tally_hsm_adapter::{Config, Pkcs11Hsm, provision};

const DIR: &str = "TALLY_HSM_TEST_DIR";

/// Runs `test` with an empty token directory, in a process of its own.
fn alone(name: &str, test: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(DIR) {
        return test(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIR, dir.path())
        .env(SOFTHSM_ENV, dir.path().join("softhsm2.conf"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn token(dir: &Path) -> SoftHsmToken {
    SoftHsmToken::create(dir, "node-1").unwrap()
}

fn ready(dir: &Path) -> (SoftHsmToken, Pkcs11Hsm) {
    let token = token(dir);
    provision(token.config().unwrap()).unwrap();
    let hsm = Pkcs11Hsm::connect(token.config().unwrap()).unwrap();
    (token, hsm)
}

fn id(n: u8) -> SealingKeyId {
    SealingKeyId([n; 16])
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

fn opened(hsm: &Pkcs11Hsm, n: u8, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
    wait(hsm.open(id(n), aad.to_vec(), sealed.to_vec())).map(|s| s.expose().to_vec())
}

/// A session beside the adapter's, in the same process and so under the same login.
fn beside(token: &SoftHsmToken) -> Session {
    let context = Pkcs11::new(&token.module).unwrap();
    let mut slots = context.get_slots_with_token().unwrap().into_iter();
    let slot = slots.find(|s| context.get_token_info(*s).unwrap().serial_number() == token.serial);
    context.open_rw_session(slot.unwrap()).unwrap()
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

#[test]
fn s_4_1_what_is_sealed_opens_again() {
    alone("s_4_1_what_is_sealed_opens_again", |dir| {
        let (_token, hsm) = ready(dir);
        wait(hsm.create_sealing_key(id(1))).unwrap();
        for length in [0, 1, 32, 210_000] {
            let plain: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
            for aad in [&b""[..], b"share of node-1"] {
                let sealed = wait(hsm.seal(id(1), aad.to_vec(), secret(&plain))).unwrap();
                assert_eq!((sealed[0], sealed.len()), (1, 1 + 12 + plain.len() + 16));
                assert_eq!(opened(&hsm, 1, aad, &sealed).unwrap(), plain);
                let again = wait(hsm.seal(id(1), aad.to_vec(), secret(&plain))).unwrap();
                assert_ne!(sealed[1..13], again[1..13], "an IV came twice");
            }
        }
        hsm.shutdown();
    });
}

#[test]
fn s_4_2_what_was_changed_or_belongs_elsewhere_is_integrity_and_the_token_stays_in_use() {
    alone("s_4_2_what_was_changed_or_belongs_elsewhere_is_integrity_and_the_token_stays_in_use", |dir| {
        let (_token, hsm) = ready(dir);
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
    });
}

#[test]
fn sealing_keys_are_made_once_and_destroyed_for_good() {
    alone("sealing_keys_are_made_once_and_destroyed_for_good", |dir| {
        let (_token, hsm) = ready(dir);
        let not_found = |r: Result<(), HsmError>| assert!(matches!(r, Err(HsmError::KeyNotFound { .. })), "{r:?}");
        not_found(wait(hsm.seal(id(1), vec![], secret(b"x"))).map(|_| ()));
        not_found(opened(&hsm, 1, b"", &[1; 40]).map(|_| ()));
        not_found(wait(hsm.destroy_sealing_key(id(1))));

        wait(hsm.create_sealing_key(id(1))).unwrap();
        assert!(matches!(wait(hsm.create_sealing_key(id(1))), Err(HsmError::KeyExists { .. })));
        let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
        wait(hsm.destroy_sealing_key(id(1))).unwrap();
        not_found(opened(&hsm, 1, b"", &sealed).map(|_| ()));

        wait(hsm.create_sealing_key(id(1))).unwrap();
        assert_eq!(opened(&hsm, 1, b"", &sealed), Err(HsmError::Integrity));
    });
}

#[test]
fn the_identity_is_made_once_and_its_signatures_verify() {
    alone("the_identity_is_made_once_and_its_signatures_verify", |dir| {
        let token = token(dir);
        let without = Pkcs11Hsm::connect(token.config().unwrap()).err();
        assert!(
            matches!(&without, Some(HsmError::KeyNotFound { what }) if what.contains("tally-identity")),
            "{without:?}"
        );

        let identity = provision(token.config().unwrap()).unwrap();
        assert_eq!(provision(token.config().unwrap()).unwrap(), identity);
        let hsm = Pkcs11Hsm::connect(token.config().unwrap()).unwrap();
        assert_eq!(hsm.identity(), identity);
        for message in [vec![], b"vote".to_vec(), vec![9; 100_000]] {
            let signature = wait(hsm.sign_identity(message.clone())).unwrap();
            identity.verify(&message, &signature).unwrap();
            assert!(identity.verify(b"another", &signature).is_err());
        }
        let status = wait(hsm.status()).unwrap();
        assert_eq!((status.label, status.serial, status.sessions), (token.label, token.serial, 4));
        assert!(status.module.ends_with("libsofthsm2.so") && status.model.contains("SoftHSM"));
    });
}

#[test]
fn s_4_4_keys_have_one_use_and_never_leave_the_token() {
    alone("s_4_4_keys_have_one_use_and_never_leave_the_token", |dir| {
        let (token, hsm) = ready(dir);
        wait(hsm.create_sealing_key(id(1))).unwrap();
        let session = beside(&token);
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
        let signing = [
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::AllowedMechanisms(vec![MechanismType::EDDSA]),
        ];
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
    });
}

#[test]
fn s_4_4_a_key_that_is_not_as_we_make_them_is_refused() {
    alone("s_4_4_a_key_that_is_not_as_we_make_them_is_refused", |dir| {
        let (token, hsm) = ready(dir);
        let session = beside(&token);
        let loose = [
            Attribute::Token(true),
            Attribute::Id(vec![1; 16]),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Extractable(true),
            Attribute::Sensitive(false),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &loose).unwrap();
        let result = wait(hsm.seal(id(1), vec![], secret(b"x")));
        assert!(matches!(&result, Err(HsmError::Configuration { .. })), "{result:?}");
    });
}

#[test]
fn s_4_5_a_wrong_pin_is_tried_once() {
    alone("s_4_5_a_wrong_pin_is_tried_once", |dir| {
        let token = token(dir);
        let wrong = Config { pin: secret(b"not the pin"), ..token.config().unwrap() };
        assert_eq!(Pkcs11Hsm::connect(wrong).err(), Some(HsmError::PinRefused));
        // The right PIN would be taken if it were tried.
        assert_eq!(Pkcs11Hsm::connect(token.config().unwrap()).err(), Some(HsmError::PinRefused));
        assert_eq!(provision(token.config().unwrap()).err(), Some(HsmError::PinRefused));
    });
}

#[test]
fn a_lost_login_is_renewed_without_anybody_noticing() {
    alone("a_lost_login_is_renewed_without_anybody_noticing", |dir| {
        let (token, hsm) = ready(dir);
        wait(hsm.create_sealing_key(id(1))).unwrap();
        let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
        for _ in 0..5 {
            beside(&token).logout().unwrap();
            assert_eq!(opened(&hsm, 1, b"", &sealed).unwrap(), b"x");
            beside(&token).logout().unwrap();
            wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
            beside(&token).logout().unwrap();
            let missing = wait(hsm.seal(id(9), vec![], secret(b"x")));
            assert!(matches!(missing, Err(HsmError::KeyNotFound { .. })), "{missing:?}");
            beside(&token).logout().unwrap();
            wait(hsm.create_sealing_key(id(2))).unwrap();
            beside(&token).logout().unwrap();
            wait(hsm.destroy_sealing_key(id(2))).unwrap();
        }
    });
}

#[test]
fn of_two_tokens_with_one_label_the_serial_decides() {
    alone("of_two_tokens_with_one_label_the_serial_decides", |dir| {
        let (first, second) = (token(dir), token(dir));
        assert_ne!(first.serial, second.serial);
        let without = Config { token_serial: None, ..first.config().unwrap() };
        assert!(refused(without).contains("more than one token has label `node-1`"));
        let one = provision(first.config().unwrap()).unwrap();
        let two = provision(second.config().unwrap()).unwrap();
        assert_ne!(one, two);
        assert_eq!(Pkcs11Hsm::connect(first.config().unwrap()).unwrap().identity(), one);
        assert_eq!(Pkcs11Hsm::connect(second.config().unwrap()).unwrap().identity(), two);

        let elsewhere = Config { token_label: "node-2".into(), ..first.config().unwrap() };
        assert!(refused(elsewhere).contains("no token with label `node-2`"));
        let swapped = Config { token_serial: Some("0000".into()), ..first.config().unwrap() };
        assert!(refused(swapped).contains("serial `0000`"));
    });
}

#[test]
fn what_is_no_module_is_named() {
    alone("what_is_no_module_is_named", |dir| {
        let token = token(dir);
        let text = dir.join("text.so");
        std::fs::write(&text, "not a library").unwrap();
        for module in [PathBuf::from("/bin/true"), text, dir.join("missing.so")] {
            let what = refused(Config { module: module.clone(), ..token.config().unwrap() });
            assert!(what.contains(module.to_str().unwrap()), "{what}");
        }
        for bad in [
            Config { workers: 0, ..token.config().unwrap() },
            Config { workers: 65, ..token.config().unwrap() },
            Config { deadline: Duration::ZERO, ..token.config().unwrap() },
        ] {
            assert!(refused(bad).contains("1 to 64 workers"));
        }
        // A token directory that is gone stops the module, with a hint.
        std::fs::remove_dir_all(dir.join("tokens")).unwrap();
        let what = refused(token.config().unwrap());
        assert!(what.contains("SOFTHSM2_CONF") && what.contains("CKR_GENERAL_ERROR"), "{what}");
    });
}

#[test]
fn a_deadline_too_short_for_the_token_is_said_to_have_passed() {
    alone("a_deadline_too_short_for_the_token_is_said_to_have_passed", |dir| {
        let token = token(dir);
        provision(token.config().unwrap()).unwrap();
        let hurried = Config { deadline: Duration::from_nanos(1), ..token.config().unwrap() };
        let hsm = Pkcs11Hsm::connect(hurried).unwrap();
        assert_eq!(wait(hsm.sign_identity(vec![])), Err(HsmError::Deadline { operation: "signing" }));
    });
}

#[test]
fn sixteen_threads_seal_and_open_while_keys_come_and_go() {
    alone("sixteen_threads_seal_and_open_while_keys_come_and_go", |dir| {
        let (_token, hsm) = ready(dir);
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
    });
}

#[test]
fn keys_outlive_a_shutdown() {
    alone("keys_outlive_a_shutdown", |dir| {
        let (token, hsm) = ready(dir);
        wait(hsm.create_sealing_key(id(1))).unwrap();
        let sealed = wait(hsm.seal(id(1), vec![], secret(b"x"))).unwrap();
        let identity = hsm.identity();
        hsm.shutdown();
        let hsm = Pkcs11Hsm::connect(token.config().unwrap()).unwrap();
        assert_eq!((opened(&hsm, 1, b"", &sealed).unwrap(), hsm.identity()), (b"x".to_vec(), identity));
    });
}
