//! Every fault of every call by which a KEK gets from one token to the other, at either end; and of pairing.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::matrix::{excused, faults_of};
use crate::pair::{another, kek, secret, under, unwraps};
use crate::process::{case, until, wait};
use std::path::Path;
use std::time::Duration;
use tally_domain::ports::hsm::{Hsm, HsmError, KekId, KekMade};
use tally_hsm_adapter::{Config, TokenPair, provision_pair};

/// Short, so that a call that hangs does not make the test long; many times what an operation takes.
const DEADLINE: Duration = Duration::from_millis(800);

/// At the end that makes a KEK, and at the end that takes it.
const CALLS: [&str; 9] = [
    "primary C_WrapKey",
    "primary C_UnwrapKey",
    "primary C_GenerateKey",
    "primary C_DestroyObject",
    "primary C_FindObjects",
    "primary C_Encrypt",
    "standby C_UnwrapKey",
    "standby C_GetAttributeValue",
    "standby C_Encrypt",
];

/// Calls by which two tokens become a pair.
const PAIRING: [&str; 6] =
    ["C_GenerateKeyPair", "C_CreateObject", "C_WrapKey", "C_UnwrapKey", "C_DestroyObject", "C_FindObjects"];

pub fn every_fault_of_a_transfer_has_a_typed_answer_and_an_end<K: Kind>(dir: &Path) {
    let Some(case) = case::<K>("every_fault_of_a_transfer_has_a_typed_answer_and_an_end", &CALLS) else { return };
    let (end, call) = case.split_once(' ').unwrap();
    let (faulted, faults) = Faults::token::<K>(dir);
    faults.end();
    let healthy = another::<K>(dir);
    let (primary, standby) = if end == "primary" { (&faulted, &healthy) } else { (&healthy, &faulted) };
    provision_pair(primary.config(), standby.config()).unwrap();
    let config = |token: &Token| Config { deadline: DEADLINE, ..token.config() };
    let pair = TokenPair::connect(config(primary), config(standby)).unwrap();
    let slot = faulted.raw().1.id();
    for (n, fault) in (1_u8..).zip(faults_of(call, slot)) {
        let what = format!("{case} {fault}");
        // A busy machine may fail what no fault does; what is made at a token that is well is made in the end.
        let made = if end == "primary" {
            faults.order(&format!("{call} {fault}\n"));
            wait(pair.create_kek(kek(n)))
        } else {
            let made = made(&pair, kek(n), &what);
            faults.order(&format!("{call} {fault}\n"));
            Ok(made)
        };
        assert!(made.as_ref().err().is_none_or(excused), "{what}: making: {:?}", made.err());
        let taken = made.as_ref().ok().map(|made| {
            let taken = wait(pair.replicate_kek(kek(n), made.transfer.clone().unwrap()));
            // By Integrity the token would say that the blob is bad.
            assert!(taken.as_ref().err().is_none_or(excused), "{what}: taking: {:?}", taken.err());
            taken
        });
        assert!(faults.count(call) > 0, "{what}: was not met");
        faults.end();
        until(&format!("{what}: no recovery"), || {
            let status = wait(pair.status());
            let well = |fault: &Option<HsmError>, sessions, hung| (fault.is_none(), sessions, hung) == (true, 4, 0);
            let other = status.standby.unwrap();
            well(&status.fault, status.sessions, status.hung) && well(&other.fault, other.sessions, other.hung)
        });
        // What was said to be made or taken is: with that check value, and on both tokens the same key.
        if let Ok(made) = &made {
            let again = wait(pair.replicate_kek(kek(n), made.transfer.clone().unwrap())).unwrap();
            assert_eq!(again, made.check_value, "{what}");
            assert!(taken.and_then(Result::ok).is_none_or(|said| said == again), "{what}: another check value");
            let sealed = wait(pair.wrap(under(n), secret())).unwrap();
            faults.order("C_DecryptInit rv=0x30");
            unwraps(&pair, n, &sealed).unwrap();
            faults.end();
        }
        until(&format!("{what}: not destroyed"), || wait(pair.destroy_kek(kek(n))).is_ok());
    }
}

pub fn pairing_that_is_disturbed_can_be_done_again<K: Kind>(dir: &Path) {
    let Some(call) = case::<K>("pairing_that_is_disturbed_can_be_done_again", &PAIRING) else { return };
    // Each needs two tokens, and RSA keys for them: so not every fault at both ends.
    let cases =
        [("primary", "rv=0x30 after count=1"), ("standby", "rv=0x30 after count=1"), ("primary", "flip count=1")];
    let tokens = cases.map(|_| (Faults::token::<K>(dir), another::<K>(dir)));
    for ((end, fault), ((faulted, faults), healthy)) in cases.into_iter().zip(tokens) {
        let (primary, standby) = if end == "primary" { (&faulted, &healthy) } else { (&healthy, &faulted) };
        faults.order(&format!("{call} {fault}\n"));
        let disturbed = provision_pair(primary.config(), standby.config()).err();
        assert!(disturbed.as_ref().is_none_or(excused), "{end} {call} {fault}: {disturbed:?}");
        faults.end();
        let again = provision_pair(primary.config(), standby.config());
        assert!(again.is_ok(), "{end} {call} {fault}: {disturbed:?} and then {:?}", again.err());
        let pair = TokenPair::connect(primary.config(), standby.config()).unwrap();
        assert_eq!(wait(pair.status()).standby.unwrap().fault, None, "{end} {call} {fault}");
    }
}

/// A KEK made at a token that is well, however busy the machine is.
fn made(pair: &TokenPair, id: KekId, what: &str) -> KekMade {
    let mut made = None;
    until(&format!("{what}: not made"), || {
        made = wait(pair.create_kek(id)).ok();
        if made.is_none() {
            // It may have been made and not said so.
            let _gone = wait(pair.destroy_kek(id));
        }
        made.is_some()
    });
    made.unwrap()
}
