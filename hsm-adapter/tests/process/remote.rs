//! The port on a token whose module has a process of its own: it works as in this process, and whatever becomes of the
//! process, callers get a typed answer in time and another process takes its place.

use crate::world::{World, until, wait};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, Isolation, KekId, ObjectId, PinState, Seal, SealingKeyId};
use tally_domain::{Digest, HsmScheme, SecretBytes};
use tally_hsm_adapter::{PinSource, RemoteConfig, RemoteHsm, beside_this_program, provision_remote};

const KEY: SealingKeyId = SealingKeyId([1; 16]);
const SCHEMES: [HsmScheme; 4] =
    [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

/// What callers may be told when the process ends under them.
fn excused(e: &HsmError) -> bool {
    matches!(e, HsmError::Device { .. } | HsmError::Down { .. } | HsmError::Deadline { .. })
}

fn signs(hsm: &RemoteHsm) -> bool {
    match wait(hsm.sign_identity(b"vote".to_vec())) {
        Ok(signature) => hsm.identity().verify(b"vote", &signature).is_ok(),
        Err(e) => {
            assert!(excused(&e), "{e:?}");
            false
        }
    }
}

#[test]
fn every_operation_passes_through_the_pipe_and_back() {
    let world = World::new();
    let identity = provision_remote(&world.config).unwrap();
    assert_eq!(provision_remote(&world.config).unwrap(), identity);
    let hsm = world.connect();
    assert!(hsm.identity() == identity && signs(&hsm));

    wait(hsm.create_sealing_key(KEY)).unwrap();
    assert!(matches!(wait(hsm.create_sealing_key(KEY)), Err(HsmError::KeyExists { what }) if what.contains("0101")));
    for length in [0, 32, 210_000] {
        let plain: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
        let sealed = wait(hsm.seal(KEY, b"aad".to_vec(), secret(&plain))).unwrap();
        assert_eq!(wait(hsm.open(KEY, b"aad".to_vec(), sealed.clone())).unwrap().expose(), plain);
        assert_eq!(wait(hsm.open(KEY, b"axd".to_vec(), sealed)).err(), Some(HsmError::Integrity));
    }
    wait(hsm.destroy_sealing_key(KEY)).unwrap();
    assert!(matches!(wait(hsm.seal(KEY, vec![], secret(b"x"))), Err(HsmError::KeyNotFound { .. })));

    for (n, scheme) in (1..).zip(SCHEMES) {
        let public = wait(hsm.create_signing_key(ObjectId([n; 16]), scheme)).unwrap();
        let to_sign = Digest::of(b"message").0.to_vec();
        let signature = wait(hsm.sign(ObjectId([n; 16]), scheme, to_sign.clone())).unwrap();
        public.verify(&to_sign, &signature).unwrap();
    }

    let seal = |n: u8, aad: &[u8]| Seal { kek: KekId([n; 16]), aad: aad.to_vec() };
    for n in [1, 2] {
        assert_eq!(wait(hsm.create_kek(KekId([n; 16]))).unwrap().transfer, None);
    }
    let wrapped = wait(hsm.wrap(seal(1, b"a"), secret(b"data"))).unwrap();
    let rewrapped = wait(hsm.rewrap(seal(1, b"a"), wrapped.clone(), seal(2, b"b"))).unwrap();
    assert_eq!(wait(hsm.unwrap(seal(2, b"b"), rewrapped)).unwrap().expose(), b"data");
    let made = wait(hsm.generate_data_key(32, seal(1, b"a"))).unwrap();
    assert_eq!(wait(hsm.unwrap(seal(1, b"a"), made.sealed)).unwrap().expose(), made.plaintext.expose());
    assert!(matches!(wait(hsm.replicate_kek(KekId([1; 16]), wrapped.clone())), Err(HsmError::Configuration { .. })));
    wait(hsm.destroy_kek(KekId([1; 16]))).unwrap();
    assert!(matches!(wait(hsm.unwrap(seal(1, b"a"), wrapped)), Err(HsmError::KeyNotFound { .. })));

    let status = wait(hsm.status());
    assert_eq!((status.isolation, status.restarts, &status.fault), (Isolation::Process, 0, &None), "{status:?}");
    assert_eq!((status.label, status.serial), (world.token.label.clone(), world.token.serial.clone()));
    assert_eq!((status.breaker, status.pin, status.hung), (BreakerState::Closed, PinState::Good, 0));
    assert_eq!((status.firmware.as_str(), status.hardware.as_str(), status.cryptoki.as_str()), ("2.6", "2.6", "2.40"));
    assert!(status.process.is_some() && status.latencies.iter().any(|l| l.operation == "signing" && l.count > 0));
}

#[test]
fn what_no_frame_can_carry_is_refused_and_the_rest_goes_on() {
    let world = World::new();
    let hsm = world.provisioned();
    let too_long = wait(hsm.sign_identity(vec![0; 3 * 1024 * 1024]));
    assert!(matches!(&too_long, Err(HsmError::Configuration { what }) if what.contains("bytes")), "{too_long:?}");
    assert!(signs(&hsm));
    assert_eq!(wait(hsm.status()).restarts, 0);
}

#[test]
fn a_module_that_crashes_is_an_error_and_not_the_end() {
    let world = World::new();
    let hsm = world.provisioned();
    wait(hsm.create_sealing_key(KEY)).unwrap();
    let sealed = wait(hsm.seal(KEY, vec![], secret(b"share"))).unwrap();
    for (n, call) in (1..).zip(["C_Decrypt", "C_Sign", "C_GenerateKey", "C_FindObjectsInit"]) {
        world.order(&format!("{call} crash"));
        let crashed = match call {
            "C_Decrypt" => wait(hsm.open(KEY, vec![], sealed.clone())).err(),
            "C_Sign" => wait(hsm.sign_identity(vec![])).err(),
            _ => wait(hsm.create_sealing_key(SealingKeyId([n; 16]))).err(),
        };
        assert!(matches!(&crashed, Some(HsmError::Device { code, .. }) if code.contains("SIGABRT")), "{crashed:?}");
        // As long as it crashes, also while connecting, it is down, and that is shown.
        assert!(matches!(wait(hsm.sign_identity(vec![])), Err(HsmError::Down { .. })));
        let status = wait(hsm.status());
        assert!(status.fault.is_some() && status.breaker != BreakerState::Closed && status.process.is_none());
        assert_eq!(status.label, world.token.label);
        world.order("");
        until(call, || signs(&hsm));
        assert!(wait(hsm.status()).restarts >= u32::from(n));
        assert_eq!(wait(hsm.open(KEY, vec![], sealed.clone())).unwrap().expose(), b"share");
    }
}

#[test]
fn a_process_that_is_killed_under_load_is_replaced_and_nothing_wrong_comes_out() {
    let world = World::new();
    let hsm = world.provisioned();
    wait(hsm.create_sealing_key(KEY)).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..8_u8 {
            let (hsm, stop, done) = (&hsm, &stop, &done);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let plain = [caller; 100];
                    let sealed = wait(hsm.seal(KEY, vec![caller], secret(&plain)));
                    let opened = sealed.and_then(|s| wait(hsm.open(KEY, vec![caller], s)));
                    match opened {
                        Ok(back) => {
                            assert_eq!(back.expose(), plain);
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(e) => assert!(excused(&e), "{e:?}"),
                    }
                }
            });
        }
        for round in 1..=3 {
            let before = done.load(Ordering::Relaxed);
            until("work", || done.load(Ordering::Relaxed) > before + 20);
            world.signal(&hsm, Signal::KILL);
            until("another process", || wait(hsm.status()).restarts >= round);
        }
        let before = done.load(Ordering::Relaxed);
        until("work again", || done.load(Ordering::Relaxed) > before + 20);
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_process_that_is_stopped_keeps_nobody_and_is_replaced() {
    let world = World::new();
    let hsm = world.provisioned();
    let stopped = wait(hsm.status()).process.unwrap();
    world.signal(&hsm, Signal::STOP);
    let late = wait(hsm.sign_identity(b"vote".to_vec()));
    assert_eq!(late, Err(HsmError::Deadline { operation: "signing", started: true }));
    until("another process", || signs(&hsm));
    let status = wait(hsm.status());
    assert!(status.restarts == 1 && status.process.is_some_and(|p| p != stopped), "{status:?}");
    assert!(!std::path::Path::new(&format!("/proc/{stopped}")).exists(), "the old one is still there");
}

#[test]
fn calls_beyond_what_a_stopped_process_takes_in_were_not_started() {
    let world = World::new();
    let hsm = world.provisioned();
    world.signal(&hsm, Signal::STOP);
    // More than a socket holds.
    let calls: Vec<_> = (0..12).map(|_| hsm.sign_identity(vec![7; 256 * 1024])).collect();
    let outcomes: Vec<_> = calls.into_iter().map(|c| wait(c).unwrap_err()).collect();
    let late =
        |begun| outcomes.iter().filter(move |e| matches!(e, HsmError::Deadline { started, .. } if *started == begun));
    assert!(late(true).count() > 0 && late(false).count() > 0, "{outcomes:?}");
    assert_eq!(late(true).count() + late(false).count(), 12, "{outcomes:?}");
    until("another process", || signs(&hsm));
}

#[test]
fn a_module_that_hangs_gives_its_callers_back_and_is_replaced() {
    let world = World::new();
    let hsm = world.provisioned();
    world.order("C_Sign hang");
    let late = wait(hsm.sign_identity(b"vote".to_vec()));
    assert_eq!(late, Err(HsmError::Deadline { operation: "signing", started: true }));
    // The breaker's tries hang too, until no worker comes back.
    until("the end of the process", || wait(hsm.status()).restarts > 0);
    world.order("");
    until("service", || signs(&hsm));
    let status = wait(hsm.status());
    assert_eq!((status.hung, status.fault), (0, None));
}

#[test]
fn s_4_5_a_wrong_pin_is_tried_once_whatever_becomes_of_the_process() {
    let world = World::new();
    let hsm = world.provisioned();
    // Notes each login.
    world.order("C_Login delay_ms=0");
    world.write_pin("not the pin");
    assert_eq!(RemoteHsm::connect(world.config.clone()).err(), Some(HsmError::PinRefused));
    assert_eq!(world.count("C_Login"), 1);
    assert!(signs(&hsm), "another process's try has ended this one's login");

    world.signal(&hsm, Signal::KILL);
    until("the PIN to be refused", || wait(hsm.sign_identity(vec![])) == Err(HsmError::PinRefused));
    assert_eq!(world.count("C_Login"), 2);
    let status = wait(hsm.status());
    assert_eq!((status.pin, status.fault, status.process), (PinState::Refused, Some(HsmError::PinRefused), None));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.count("C_Login"), 2, "it was tried again");
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_by_the_process() {
    let world = World::new();
    let refused = |config: RemoteConfig| match RemoteHsm::connect(config).err() {
        Some(HsmError::Configuration { what }) => what,
        other => panic!("{other:?}"),
    };
    let config = || world.config.clone();
    let without = RemoteHsm::connect(config()).err();
    assert!(matches!(&without, Some(HsmError::KeyNotFound { what }) if what.contains("tally-identity")), "{without:?}");
    let absent = world.dir.path().join("none");
    for (config, words) in [
        (RemoteConfig { module: absent.clone(), ..config() }, "the PKCS#11 module"),
        (RemoteConfig { pin: PinSource::File(absent.clone()), ..config() }, "cannot be read"),
        (RemoteConfig { token_label: "other".into(), ..config() }, "no token"),
        (RemoteConfig { workers: 0, ..config() }, "workers"),
        (RemoteConfig { log_level: "a=b=c".into(), ..config() }, "filter"),
        (RemoteConfig { program: absent, ..config() }, "cannot start"),
    ] {
        let what = refused(config);
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn a_program_that_is_no_hsmd_is_an_error() {
    let world = World::new();
    for (script, words) in [
        ("exit 3", "exit status: 3"),
        // A length that no frame has, and a frame with no known answer.
        ("printf '\\377\\377\\377\\377' >&0; sleep 5", "has ended"),
        ("printf '\\012\\000\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000zz' >&0; sleep 5", "has ended"),
    ] {
        let program = world.script(script);
        let said = RemoteHsm::connect(RemoteConfig { program, ..world.config.clone() }).err().unwrap().to_string();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn where_the_program_should_be_is_said() {
    let said = beside_this_program().unwrap_err().to_string();
    let here = std::env::current_exe().unwrap();
    assert!(said.contains(here.with_file_name("hsmd").to_str().unwrap()) && said.contains("isolation"), "{said}");
}

#[test]
fn a_module_that_crashes_while_it_initialises_is_named() {
    let world = World::new();
    world.order("C_Initialize crash");
    let said = RemoteHsm::connect(world.config.clone()).err().unwrap().to_string();
    let module = world.config.module.to_str().unwrap();
    assert!(said.contains(module) && said.contains("did not initialise") && said.contains("SIGABRT"), "{said}");
}
