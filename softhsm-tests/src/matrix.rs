//! Every fault of every call: a typed answer, never a wrong one, and an end when the fault ends.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::process::{case, until, wait};
use std::path::Path;
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{Hsm, HsmError, KekId, KeyCheckValue, Seal, SealingKeyId};
use tally_hsm_adapter::{Config, Pkcs11Hsm, provision};

/// Short, so that a call that hangs does not make the test long; many times what an operation takes.
const DEADLINE: Duration = Duration::from_millis(800);

/// Longer than [`DEADLINE`].
const TOO_LONG: &str = "delay_ms=1200 count=1";

/// The call has been made; its reply says that the device is broken.
const LOST: &str = "rv=0x30 after count=1";

/// The calls that an adapter makes once it is connected.
const CALLS: [&str; 18] = [
    "C_SignInit",
    "C_Sign",
    "C_EncryptInit",
    "C_Encrypt",
    "C_DecryptInit",
    "C_Decrypt",
    "C_GenerateRandom",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_GetAttributeValue",
    "C_GenerateKey",
    "C_DestroyObject",
    "C_OpenSession",
    "C_CloseSession",
    "C_GetSessionInfo",
    "C_GetTokenInfo",
    "C_Login",
];

/// Calls that give out data.
const GIVING: [&str; 7] =
    ["C_Sign", "C_Encrypt", "C_Decrypt", "C_GenerateRandom", "C_FindObjects", "C_GetAttributeValue", "C_GenerateKey"];

/// Calls that are made again while an operation is under way: their second reply can be lost too.
const TWICE: [&str; 5] = ["C_Sign", "C_Encrypt", "C_Decrypt", "C_FindObjects", "C_GetAttributeValue"];

/// A return code of each class, and some that do not belong: session, login, device, memory, general, failed, input, refused,
/// handle, stuck operation, not initialized, a vendor's.
const CODES: [&str; 13] =
    ["0xb3", "0x101", "0x30", "0x32", "0x31", "0x5", "0x6", "0x40", "0x70", "0x60", "0x90", "0x190", "0x80000001"];

/// What is asked of the adapter in each case, and what came of it.
struct Asked {
    signed: Result<(), HsmError>,
    opened: Result<(), HsmError>,
    sealed: Result<Vec<u8>, HsmError>,
    made: Result<(), HsmError>,
    destroyed: Result<(), HsmError>,
    unwrapped: Result<(), HsmError>,
    /// Bytes of a data key, and the same sealed.
    drawn: Result<(Vec<u8>, Vec<u8>), HsmError>,
    kek_made: Result<KeyCheckValue, HsmError>,
    kek_destroyed: Result<(), HsmError>,
}

/// What was sealed before the faults.
struct Lasting {
    sealed: Vec<u8>,
    wrapped: Vec<u8>,
}

pub fn every_fault_of_every_call_has_a_typed_answer_and_an_end<K: Kind>(dir: &Path) {
    let Some(call) = case::<K>("every_fault_of_every_call_has_a_typed_answer_and_an_end", &CALLS) else { return };
    let (token, faults) = Faults::token::<K>(dir);
    faults.end();
    provision(token.config()).unwrap();
    let lasting = {
        let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
        wait(hsm.create_sealing_key(LASTING)).unwrap();
        wait(hsm.create_kek(LASTING_KEK)).unwrap();
        Lasting {
            sealed: wait(hsm.seal(LASTING, b"aad".to_vec(), secret())).unwrap(),
            wrapped: wait(hsm.wrap(under(LASTING_KEK), secret())).unwrap(),
        }
    };
    let hsm = Pkcs11Hsm::connect(Config { deadline: DEADLINE, ..token.config() }).unwrap();
    let slot = token.raw().1.id();
    // A login is made when the old one is lost.
    let first = if call == "C_Login" { format!("C_SignInit close_all={slot} count=1\n") } else { String::new() };
    for (n, fault) in (1_u8..).zip(faults_of(&call, slot)) {
        let what = format!("{call} {fault}");
        // Each has an id of its own, as all keys have.
        let fresh = Fresh { sealing: SealingKeyId([n; 16]), kek: KekId([0x80 | n; 16]) };
        faults.order(&format!("{first}{call} {fault}\n"));
        let asked = ask(&hsm, &fresh, &lasting);
        wait(hsm.status());
        assert!(faults.count(&call) > 0, "{what}: was not met");
        check(&asked, &what, call == "C_Decrypt" && fault.contains("rv=0x40"));
        if fault == LOST {
            reconciled(&asked, &call);
        }
        faults.end();
        recovered(&hsm, &lasting, &what);
        settled(&hsm, fresh.sealing, &asked, &what);
        settled_keks(&hsm, fresh.kek, &asked, &what);
    }
}

const LASTING: SealingKeyId = SealingKeyId([0xff; 16]);
const LASTING_KEK: KekId = KekId([0xfe; 16]);

/// Keys that a case makes and destroys.
struct Fresh {
    sealing: SealingKeyId,
    kek: KekId,
}

fn under(kek: KekId) -> Seal {
    Seal { kek, aad: b"aad".to_vec() }
}

/// The faults of a call.
pub fn faults_of(call: &str, slot: u64) -> Vec<String> {
    let mut all: Vec<String> = CODES.iter().map(|code| format!("rv={code} count=1")).collect();
    // For as long as they last: the breaker opens, or the retries are used up.
    all.extend(["rv=0x30", "rv=0x5", "rv=0xb3"].map(String::from));
    // The reply is lost; the call has been made.
    all.extend([LOST, "rv=0xb3 after count=1"].map(String::from));
    if TWICE.contains(&call) {
        all.extend(["rv=0x30 skip=1 count=1", "rv=0x30 after skip=1 count=1"].map(String::from));
    }
    all.extend([format!("close_all={slot} count=1"), format!("close_all={slot} rv=0xb3 count=1")]);
    if GIVING.contains(&call) {
        all.extend(["flip count=1", "flip"].map(String::from));
    }
    all.extend([TOO_LONG, "hang count=1"].map(String::from));
    all
}

fn ask(hsm: &Pkcs11Hsm, fresh: &Fresh, lasting: &Lasting) -> Asked {
    let signed = wait(hsm.sign_identity(b"vote".to_vec()));
    let opened = wait(hsm.open(LASTING, b"aad".to_vec(), lasting.sealed.clone()));
    let sealed = wait(hsm.seal(LASTING, b"aad".to_vec(), secret()));
    let unwrapped = wait(hsm.unwrap(under(LASTING_KEK), lasting.wrapped.clone()));
    let drawn = wait(hsm.generate_data_key(32, under(LASTING_KEK)));
    let made = wait(hsm.create_sealing_key(fresh.sealing));
    let kek_made = wait(hsm.create_kek(fresh.kek));
    let right = |p: SecretBytes| assert_eq!(p.expose(), secret().expose(), "a wrong plaintext");
    Asked {
        signed: signed.map(|s| hsm.identity().verify(b"vote", &s).expect("a wrong signature")),
        opened: opened.map(right),
        sealed,
        unwrapped: unwrapped.map(right),
        drawn: drawn.map(|key| (key.plaintext.expose().to_vec(), key.sealed)),
        made,
        destroyed: wait(hsm.destroy_sealing_key(fresh.sealing)),
        kek_made: kek_made.map(|made| made.check_value),
        kek_destroyed: wait(hsm.destroy_kek(fresh.kek)),
    }
}

/// What may be said while the token is at fault: that it is, or that it did not answer. Never that data or keys are bad.
pub fn excused(error: &HsmError) -> bool {
    matches!(
        error,
        HsmError::Device { .. } | HsmError::Deadline { .. } | HsmError::Down { .. } | HsmError::Configuration { .. }
    )
}

fn check(asked: &Asked, what: &str, may_be_integrity: bool) {
    for (operation, error) in [
        ("signing", asked.signed.as_ref().err()),
        ("sealing", asked.sealed.as_ref().err()),
        ("making", asked.made.as_ref().err()),
        ("drawing a data key", asked.drawn.as_ref().err()),
        ("making a KEK", asked.kek_made.as_ref().err()),
        // One that was never made is destroyed too.
        ("destroying a KEK", asked.kek_destroyed.as_ref().err()),
    ] {
        assert!(error.is_none_or(excused), "{what}: {operation}: {error:?}");
    }
    for (operation, error) in [("opening", asked.opened.as_ref().err()), ("unwrapping", asked.unwrapped.as_ref().err())]
    {
        assert!(
            error.is_none_or(|e| excused(e) || (may_be_integrity && *e == HsmError::Integrity)),
            "{what}: {operation}: {error:?}"
        );
    }
    // The key may never have been made.
    let destroyed = asked.destroyed.as_ref().err();
    let unmade = asked.made.is_err();
    assert!(
        destroyed.is_none_or(|e| excused(e) || (unmade && matches!(e, HsmError::KeyNotFound { .. }))),
        "{what}: destroying: {destroyed:?}"
    );
}

/// What changes the token is looked for before its reply is believed to be the truth.
fn reconciled(asked: &Asked, call: &str) {
    let outcome = match call {
        "C_GenerateKey" => &asked.made,
        "C_DestroyObject" => &asked.destroyed,
        _ => return,
    };
    // On a machine so busy that the deadline passes, the outcome is unknown after all.
    assert!(matches!(outcome, Ok(()) | Err(HsmError::Deadline { .. })), "{call}: {outcome:?}");
}

fn recovered(hsm: &Pkcs11Hsm, lasting: &Lasting, what: &str) {
    until(&format!("{what}: no recovery"), || {
        wait(hsm.sign_identity(b"again".to_vec())).is_ok()
            && wait(hsm.open(LASTING, b"aad".to_vec(), lasting.sealed.clone())).is_ok()
            && wait(hsm.unwrap(under(LASTING_KEK), lasting.wrapped.clone())).is_ok()
    });
    until(&format!("{what}: workers missing"), || {
        let status = wait(hsm.status());
        (status.sessions, status.hung, status.fault) == (4, 0, None)
    });
}

/// What was said to be done is done.
fn settled(hsm: &Pkcs11Hsm, fresh: SealingKeyId, asked: &Asked, what: &str) {
    if let Ok(sealed) = &asked.sealed {
        let opened = wait(hsm.open(LASTING, b"aad".to_vec(), sealed.clone()));
        assert!(opened.is_ok(), "{what}: what was sealed does not open: {:?}", opened.err());
    }
    let there = match wait(hsm.seal(fresh, vec![], secret())) {
        Ok(_) => true,
        Err(HsmError::KeyNotFound { .. }) => false,
        Err(other) => panic!("{what}: {other}"),
    };
    match (&asked.made, &asked.destroyed) {
        // It may come about at any time.
        (Err(HsmError::Deadline { started: true, .. }), _) => {}
        (_, Ok(())) => assert!(!there, "{what}: the key was not destroyed"),
        // An outcome that is unknown may be either; one that had not been started must not come about.
        (Ok(()), Err(HsmError::Down { .. } | HsmError::Deadline { started: false, .. })) => {
            assert!(there, "{what}: the key was not made, or was destroyed");
        }
        (_, Err(HsmError::KeyNotFound { .. })) => assert!(!there, "{what}: the key is there after all"),
        _ => {}
    }
    if there {
        wait(hsm.destroy_sealing_key(fresh)).unwrap();
    }
}

/// What was said of KEKs holds.
fn settled_keks(hsm: &Pkcs11Hsm, fresh: KekId, asked: &Asked, what: &str) {
    if let Ok((plain, sealed)) = &asked.drawn {
        let unwrapped = wait(hsm.unwrap(under(LASTING_KEK), sealed.clone()));
        let unwrapped = unwrapped.unwrap_or_else(|e| panic!("{what}: a data key does not unwrap: {e}"));
        assert_eq!(unwrapped.expose(), plain, "{what}");
    }
    let there = match wait(hsm.wrap(under(fresh), secret())) {
        Ok(_) => true,
        Err(HsmError::KeyNotFound { .. }) => false,
        Err(other) => panic!("{what}: {other}"),
    };
    let may_come_about = matches!(asked.kek_made, Err(HsmError::Deadline { started: true, .. }));
    assert!(may_come_about || asked.kek_destroyed.is_err() || !there, "{what}: the KEK was not destroyed");
    wait(hsm.destroy_kek(fresh)).unwrap();
    assert!(matches!(wait(hsm.wrap(under(fresh), secret())), Err(HsmError::KeyNotFound { .. })), "{what}");
}

fn secret() -> SecretBytes {
    SecretBytes::new(b"a share".to_vec())
}

/// Connecting too.
pub fn connect_matrix(token: &Token, faults: &Faults) {
    const CALLS: [&str; 22] = [
        "C_GetSlotList",
        "C_OpenSession",
        "C_Login",
        "C_GetSessionInfo",
        "C_FindObjectsInit",
        "C_FindObjects",
        "C_GetAttributeValue",
        "C_SignInit",
        "C_Sign",
        "C_GetTokenInfo",
        "C_GenerateKey",
        "C_EncryptInit",
        "C_Encrypt",
        "C_WrapKey",
        "C_UnwrapKey",
        "C_GetMechanismList",
        "C_GetMechanismInfo",
        "C_GenerateKeyPair",
        "C_CreateObject",
        "C_DecryptInit",
        "C_Decrypt",
        "C_DestroyObject",
    ];
    for call in CALLS {
        for code in ["0x30", "0x5", "0xb3", "0x80000001"] {
            // For as long as it lasts: one is survived.
            faults.order(&format!("{call} rv={code}"));
            let outcome = Pkcs11Hsm::connect(token.config());
            assert!(faults.count(call) > 0, "{call} is not made");
            match outcome.err() {
                // The session's state is asked for only where something is amiss.
                None => assert_eq!(call, "C_GetSessionInfo", "{code}"),
                Some(HsmError::Device { .. } | HsmError::Configuration { .. }) => {}
                Some(other) => panic!("{call} {code}: {other}"),
            }
            faults.end();
        }
    }
    for (call, mechanism) in [("C_Encrypt", "AES-GCM"), ("C_Decrypt", "AES-GCM"), ("C_WrapKey", "AES-KW")] {
        // The token computes something else, in its self-test and ever after.
        faults.order(&format!("{call} flip"));
        let outcome = Pkcs11Hsm::connect(token.config()).err();
        let names = |what: &str| what.contains(mechanism) && what.contains("self-test");
        assert!(matches!(&outcome, Some(HsmError::Configuration { what }) if names(what)), "{call}: {outcome:?}");
    }
    // A token that imports nothing is tested without vectors.
    faults.order("C_CreateObject rv=0xd1");
    let status = wait(Pkcs11Hsm::connect(token.config()).unwrap().status());
    assert!(
        faults.count("C_CreateObject") > 0 && status.capabilities.contains("self-test by round trip"),
        "{status:?}"
    );
    faults.end();
    let status = wait(Pkcs11Hsm::connect(token.config()).unwrap().status());
    assert!(status.capabilities.contains("self-test by vectors"), "{status:?}");
}
