//! What other processes do to a token, and what becomes of a process that is a copy of ours.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::process::{fork, in_another_process, wait};
use std::path::Path;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, KekId, ObjectId, PinState, Seal, SealingKeyId};
use tally_domain::{HsmScheme, SecretBytes};
use tally_hsm_adapter::{Pkcs11Hsm, provision};

fn secret() -> SecretBytes {
    SecretBytes::new(b"a share".to_vec())
}

pub fn keys_that_another_process_deleted_are_not_found_and_the_token_stays_in_use<K: Kind>(dir: &Path) {
    const NAME: &str = "keys_that_another_process_deleted_are_not_found_and_the_token_stays_in_use";
    let (token, hsm) = Token::ready::<K>(dir);
    let under = || Seal { kek: KekId([2; 16]), aad: vec![] };
    let (sealing, signing) = (SealingKeyId([1; 16]), ObjectId([3; 16]));
    wait(hsm.create_sealing_key(sealing)).unwrap();
    wait(hsm.create_kek(under().kek)).unwrap();
    wait(hsm.create_signing_key(signing, HsmScheme::EcdsaP256)).unwrap();
    // Used once, so that their handles are known.
    let sealed = wait(hsm.seal(sealing, vec![], secret())).unwrap();
    let wrapped = wait(hsm.wrap(under(), secret())).unwrap();
    wait(hsm.sign(signing, HsmScheme::EcdsaP256, vec![1; 32])).unwrap();

    in_another_process::<K>(NAME, dir, &token, "delete-all-but-the-identity");
    for _ in 0..5 {
        let gone = [
            wait(hsm.open(sealing, vec![], sealed.clone())).map(drop),
            wait(hsm.seal(sealing, vec![], secret())).map(drop),
            wait(hsm.unwrap(under(), wrapped.clone())).map(drop),
            wait(hsm.sign(signing, HsmScheme::EcdsaP256, vec![1; 32])).map(drop),
            wait(hsm.destroy_sealing_key(sealing)),
        ];
        for outcome in gone {
            assert!(matches!(outcome, Err(HsmError::KeyNotFound { .. })), "{outcome:?}");
        }
        wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
    }
    let status = wait(hsm.status());
    assert_eq!((status.breaker, status.fault), (BreakerState::Closed, None));
    wait(hsm.create_sealing_key(sealing)).unwrap();
    assert_eq!(wait(hsm.open(sealing, vec![], sealed)).map(drop), Err(HsmError::Integrity));
}

pub fn an_identity_that_another_process_deleted_is_another_token<K: Kind>(dir: &Path) {
    const NAME: &str = "an_identity_that_another_process_deleted_is_another_token";
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
    in_another_process::<K>(NAME, dir, &token, "delete-all");
    for _ in 0..5 {
        let signed = wait(hsm.sign_identity(b"vote".to_vec())).map(drop);
        let made = wait(hsm.create_sealing_key(SealingKeyId([1; 16])));
        for refused in [signed, made] {
            assert!(matches!(refused, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{refused:?}");
        }
    }
}

pub fn s_4_5_a_pin_that_others_have_locked_does_not_disturb_a_login_and_is_tried_once<K: Kind>(dir: &Path) {
    const NAME: &str = "s_4_5_a_pin_that_others_have_locked_does_not_disturb_a_login_and_is_tried_once";
    let (token, faults) = Faults::token::<K>(dir);
    // Nothing is done to it; it is counted.
    faults.order("C_Login delay_ms=0");
    provision(token.config()).unwrap();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    in_another_process::<K>(NAME, dir, &token, "wrong-pins");
    wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
    hsm.shutdown();

    faults.order("C_Login delay_ms=0");
    if !K::PIN_LOCKS {
        assert_eq!(wait(Pkcs11Hsm::connect(token.config()).unwrap().status()).pin, PinState::Good);
        return;
    }
    match Pkcs11Hsm::connect(token.config()).err() {
        Some(HsmError::Configuration { what }) => assert!(what.contains("locked"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(Pkcs11Hsm::connect(token.config()).err(), Some(HsmError::PinRefused));
    assert_eq!(faults.count("C_Login"), 1);
    in_another_process::<K>(NAME, dir, &token, "unlock-pin");
    in_another_process::<K>(NAME, dir, &token, "sign");
}

pub fn s_4_5_a_pin_changed_elsewhere_is_tried_once_when_the_login_is_lost<K: Kind>(dir: &Path) {
    const NAME: &str = "s_4_5_a_pin_changed_elsewhere_is_tried_once_when_the_login_is_lost";
    let (token, faults) = Faults::token::<K>(dir);
    faults.end();
    provision(token.config()).unwrap();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    in_another_process::<K>(NAME, dir, &token, "change-pin");
    let slot = token.raw().1.id();
    faults.order(&format!("C_SignInit close_all={slot} count=1\nC_Login delay_ms=0\n"));
    for _ in 0..5 {
        let signed = wait(hsm.sign_identity(b"vote".to_vec())).map(drop);
        assert_eq!(signed, if K::SEES_A_NEW_PIN { Err(HsmError::PinRefused) } else { Ok(()) });
    }
    assert_eq!(faults.count("C_Login"), 1);
    if !K::SEES_A_NEW_PIN {
        return;
    }
    let status = wait(hsm.status());
    assert_eq!((status.pin, status.fault), (PinState::Refused, Some(HsmError::PinRefused)));
}

pub fn a_forked_child_is_refused_and_does_not_disturb_its_parent<K: Kind>(dir: &Path) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(SealingKeyId([1; 16]))).unwrap();
    let sealed = wait(hsm.seal(SealingKeyId([1; 16]), vec![], secret())).unwrap();
    let mut hsm = Some(hsm);
    let fine = fork(|| {
        // The copy that the child has; the parent's is as it was.
        let copy = hsm.take().unwrap();
        let signed = wait(copy.sign_identity(b"vote".to_vec())).map(drop);
        let opened = wait(copy.open(SealingKeyId([1; 16]), vec![], sealed.clone())).map(drop);
        let refused = |r: Result<(), HsmError>| matches!(r, Err(HsmError::Down { why }) if why.contains("fork"));
        drop(copy);
        let connected = Pkcs11Hsm::connect(token.config()).err();
        let again = matches!(connected, Some(HsmError::Configuration { what }) if what.contains("fork"));
        refused(signed) && refused(opened) && again
    });
    assert!(fine, "the child was not refused");
    let hsm = hsm.unwrap();
    assert_eq!(wait(hsm.open(SealingKeyId([1; 16]), vec![], sealed)).unwrap().expose(), secret().expose());
    wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
    assert_eq!(wait(hsm.status()).fault, None);
}
