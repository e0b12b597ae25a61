//! Tokens that hang, break, go away, come back, or are changed by others.

use crate::faults::Faults;
use crate::kind::Kind;
use crate::matrix::connect_matrix;
use crate::process::{LONG, in_another_process, until, wait};
use std::path::Path;
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, PinState, SealingKeyId};
use tally_hsm_adapter::{Config, Pkcs11Hsm, provision};

const KEY: SealingKeyId = SealingKeyId([1; 16]);
const WORKERS: u32 = 2;

/// A token behind the faulting module, and what was sealed on it.
fn ready<K: Kind>(dir: &Path, deadline: Duration) -> (crate::kind::Token, Faults, Pkcs11Hsm, Vec<u8>) {
    let (token, faults) = Faults::token::<K>(dir);
    faults.end();
    provision(token.config()).unwrap();
    let blob = {
        let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
        wait(hsm.create_sealing_key(KEY)).unwrap();
        wait(hsm.seal(KEY, vec![], secret())).unwrap()
    };
    let hsm = Pkcs11Hsm::connect(Config { workers: WORKERS, deadline, ..token.config() }).unwrap();
    (token, faults, hsm, blob)
}

fn secret() -> SecretBytes {
    SecretBytes::new(b"a share".to_vec())
}

fn opened(hsm: &Pkcs11Hsm, blob: &[u8]) -> Result<(), HsmError> {
    wait(hsm.open(KEY, vec![], blob.to_vec())).map(|p| assert_eq!(p.expose(), secret().expose()))
}

fn signs(hsm: &Pkcs11Hsm) -> bool {
    wait(hsm.sign_identity(b"vote".to_vec())).is_ok()
}

pub fn a_call_that_hangs_gives_its_caller_back_and_others_are_served<K: Kind>(dir: &Path) {
    let (_token, faults, hsm, blob) = ready::<K>(dir, Duration::from_secs(4));
    // One of each kind of hold: using keys, and changing them.
    for (call, hung) in [("C_Decrypt", "opening"), ("C_GenerateKey", "making a key")] {
        faults.order(&format!("{call} hang count=1"));
        let begun = Instant::now();
        let late = match call {
            "C_Decrypt" => opened(&hsm, &blob),
            _ => wait(hsm.create_sealing_key(SealingKeyId([2; 16]))),
        };
        assert_eq!(late, Err(HsmError::Deadline { operation: hung, started: true }));
        assert!(begun.elapsed() < LONG);
        // The call still hangs. Everything else goes on, keys included.
        until("a worker in place of the one that hangs", || wait(hsm.status()).sessions == WORKERS);
        assert_eq!(wait(hsm.status()).hung, 1);
        assert!(signs(&hsm));
        opened(&hsm, &blob).unwrap();
        wait(hsm.create_sealing_key(SealingKeyId([3; 16]))).unwrap();
        wait(hsm.destroy_sealing_key(SealingKeyId([3; 16]))).unwrap();
        faults.end();
        until("the hung worker to come back", || wait(hsm.status()).hung == 0);
    }
    // What had been started came about after all; its caller was told that this is not known.
    assert!(matches!(wait(hsm.create_sealing_key(SealingKeyId([2; 16]))), Err(HsmError::KeyExists { .. })));
}

pub fn when_all_workers_hang_the_answer_is_down_at_once<K: Kind>(dir: &Path) {
    let (_token, faults, hsm, blob) = ready::<K>(dir, Duration::from_millis(500));
    faults.order("C_Decrypt hang");
    let calls: Vec<_> = (0..64).map(|_| hsm.open(KEY, vec![], blob.clone())).collect();
    let answers: Vec<_> = calls.into_iter().map(|c| wait(c).err().unwrap()).collect();
    let started = answers.iter().filter(|e| matches!(e, HsmError::Deadline { started: true, .. })).count();
    assert!((1..=2 * WORKERS as usize).contains(&started), "{answers:?}");
    assert!(answers.iter().all(|e| matches!(e, HsmError::Deadline { .. } | HsmError::Down { .. })), "{answers:?}");
    // Until no worker is left: as long as there is one, it tries the token, which still signs.
    until("down", || {
        let refused = opened(&hsm, &blob);
        matches!(refused, Err(HsmError::Down { .. })) && wait(hsm.status()).hung == 2 * WORKERS
    });
    let before = faults.count("C_Decrypt");
    for _ in 0..1_000 {
        assert!(matches!(opened(&hsm, &blob), Err(HsmError::Down { .. })));
    }
    assert_eq!(faults.count("C_Decrypt"), before, "a token that is down is asked");
    let status = wait(hsm.status());
    assert!(matches!(status.fault, Some(HsmError::Down { .. })) && status.hung > 0, "{status:?}");
    faults.end();
    until("service", || opened(&hsm, &blob).is_ok() && signs(&hsm));
    until("all workers", || wait(hsm.status()).hung == 0);
    assert_eq!(wait(hsm.status()).sessions, WORKERS);
}

pub fn the_breaker_keeps_callers_from_a_broken_token_and_lets_them_back<K: Kind>(dir: &Path) {
    let (_token, faults, hsm, blob) = ready::<K>(dir, LONG);
    // The data's fault: never the token's.
    let mut bad = blob.clone();
    bad[20] ^= 1;
    for _ in 0..20 {
        assert_eq!(opened(&hsm, &bad), Err(HsmError::Integrity));
    }
    assert_eq!(wait(hsm.status()).breaker, BreakerState::Closed);

    faults.order("C_SignInit rv=0x30");
    until("an open breaker", || matches!(wait(hsm.sign_identity(vec![])), Err(HsmError::Down { .. })));
    let status = wait(hsm.status());
    assert_ne!(status.breaker, BreakerState::Closed);
    assert!(matches!(&status.fault, Some(HsmError::Down { why }) if why.contains("CKR_DEVICE_ERROR")), "{status:?}");
    // It is tried in the background, ever less often.
    let before = faults.count("C_SignInit");
    std::thread::sleep(Duration::from_secs(1));
    let tries = faults.count("C_SignInit") - before;
    assert!((1..20).contains(&tries), "{tries}");
    faults.end();
    until("service", || signs(&hsm));
    assert_eq!(wait(hsm.status()).breaker, BreakerState::Closed);
    opened(&hsm, &blob).unwrap();
}

pub fn s_4_5_a_pin_that_is_refused_later_is_tried_once<K: Kind>(dir: &Path) {
    let (token, faults, hsm, blob) = ready::<K>(dir, LONG);
    let slot = token.raw().1.id();
    faults.order(&format!("C_SignInit close_all={slot} count=1\nC_Login rv=0xa0\n"));
    for _ in 0..10 {
        assert_eq!(wait(hsm.sign_identity(vec![])), Err(HsmError::PinRefused));
        assert_eq!(opened(&hsm, &blob), Err(HsmError::PinRefused));
    }
    let status = wait(hsm.status());
    assert_eq!((status.pin, status.fault), (PinState::Refused, Some(HsmError::PinRefused)));
    drop(hsm);
    assert_eq!(Pkcs11Hsm::connect(token.config()).err(), Some(HsmError::PinRefused));
    assert_eq!(faults.count("C_Login"), 1);
    // Even if it would be accepted now: an operator has to look.
    faults.end();
    assert_eq!(Pkcs11Hsm::connect(token.config()).err(), Some(HsmError::PinRefused));
}

pub fn s_4_5_a_pin_changed_elsewhere_does_not_disturb_a_login_and_refuses_the_next<K: Kind>(dir: &Path) {
    const NAME: &str = "s_4_5_a_pin_changed_elsewhere_does_not_disturb_a_login_and_refuses_the_next";
    let (token, _faults, hsm, blob) = ready::<K>(dir, LONG);
    in_another_process::<K>(NAME, dir, &token, "wrong-pin");
    let warned = if K::TELLS_WRONG_PINS { PinState::CountLow } else { PinState::Good };
    assert_eq!(wait(hsm.status()).pin, warned);
    in_another_process::<K>(NAME, dir, &token, "change-pin");
    assert!(signs(&hsm));
    opened(&hsm, &blob).unwrap();
    in_another_process::<K>(NAME, dir, &token, "be-refused");
}

pub fn s_4_6_a_token_that_was_away_is_found_again<K: Kind>(dir: &Path) {
    let (_token, _faults, hsm, blob) = ready::<K>(dir, LONG);
    let (here, away) = (K::storage(dir), dir.join("away"));
    std::fs::rename(&here, &away).unwrap();
    for n in 0..10 {
        // A key that cannot be found is not a key that is not there.
        let (read, made) = (opened(&hsm, &blob), wait(hsm.create_sealing_key(SealingKeyId([9; 16]))));
        assert!(matches!(made, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{n}: {made:?}");
        let away = matches!(read, Err(HsmError::Device { .. } | HsmError::Down { .. }));
        assert!(away || (K::READS_WHILE_AWAY && read.is_ok()), "{n}: {read:?}");
    }
    if !K::READS_WHILE_AWAY {
        until("down", || matches!(wait(hsm.sign_identity(vec![])), Err(HsmError::Down { .. })));
        // Long enough for the module to be started anew while there is nothing to find.
        std::thread::sleep(Duration::from_secs(2));
        assert!(wait(hsm.status()).fault.is_some());
    }
    std::fs::rename(&away, &here).unwrap();
    until("the token", || opened(&hsm, &blob).is_ok() && signs(&hsm));
    let status = wait(hsm.status());
    assert_eq!((status.breaker, status.fault), (BreakerState::Closed, None));
    wait(hsm.create_sealing_key(SealingKeyId([9; 16]))).unwrap();
}

pub fn a_token_that_was_re_initialised_is_not_ours<K: Kind>(dir: &Path) {
    let (token, _faults, hsm, blob) = ready::<K>(dir, LONG);
    in_another_process::<K>("a_token_that_was_re_initialised_is_not_ours", dir, &token, "re-initialise");
    for n in 0..10 {
        // Same label, same PIN, and as far as this process sees the same serial number; a key made on it would be lost.
        let made = wait(hsm.create_sealing_key(SealingKeyId([9; 16])));
        assert!(matches!(made, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{n}: {made:?}");
        let lost = opened(&hsm, &blob);
        assert!(matches!(lost, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{n}: {lost:?}");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(!signs(&hsm) && wait(hsm.status()).fault.is_some());
    drop(hsm);
    let connected = Pkcs11Hsm::connect(token.config()).err();
    match &connected {
        Some(HsmError::KeyNotFound { .. } | HsmError::Device { .. }) => {}
        Some(HsmError::Configuration { what }) if what.contains("there is no token with label `node-1` and serial") => {
        }
        other => panic!("{other:?}"),
    }
}

pub fn connecting_fails_with_a_reason_and_works_afterwards<K: Kind>(dir: &Path) {
    let (token, faults) = Faults::token::<K>(dir);
    faults.end();
    provision(token.config()).unwrap();
    connect_matrix(&token, &faults);
}
