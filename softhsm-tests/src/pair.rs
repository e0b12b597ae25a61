//! Two tokens of one node. The second is reached through another copy of the module, so that faults meet only the first.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::process::{until, wait};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{BreakerState, Hsm, HsmError, KekId, KekMade, Seal, SealingKeyId};
use tally_hsm_adapter::{Config, Pkcs11Hsm, Role, TokenPair, provision, provision_pair};

/// Calls that hang are given up after so long.
const DEADLINE: Duration = Duration::from_millis(500);

const CALLERS: u32 = 8;

/// A token that meets no faults. To be made before anything is done with the module: a token that comes later is not seen.
pub fn another<K: Kind>(dir: &Path) -> Token {
    let copy = dir.join("second.so");
    if !copy.exists() {
        std::fs::copy(K::module(), &copy).unwrap();
    }
    Token { module: copy.clone(), real: copy, ..Token::create::<K>(dir) }
}

/// Two tokens that are a pair, the first behind the faulting module.
fn two<K: Kind>(dir: &Path) -> (Token, Token, Faults) {
    let (first, faults) = Faults::token::<K>(dir);
    faults.end();
    let second = another::<K>(dir);
    let identity = provision_pair(first.config(), second.config()).unwrap();
    assert_eq!(provision_pair(first.config(), second.config()).unwrap(), identity, "a pair stays one");
    assert_eq!(provision(first.config()).unwrap(), identity, "the node is the primary's identity");
    (first, second, faults)
}

fn ready<K: Kind>(dir: &Path) -> (Token, Token, Faults, TokenPair) {
    let (first, second, faults) = two::<K>(dir);
    let pair = TokenPair::connect(first.config(), second.config()).unwrap();
    (first, second, faults, pair)
}

pub fn kek(n: u8) -> KekId {
    KekId([n; 16])
}

pub fn under(n: u8) -> Seal {
    Seal { kek: kek(n), aad: b"aad".to_vec() }
}

pub fn secret() -> SecretBytes {
    SecretBytes::new(b"a data key".to_vec())
}

pub fn unwraps(hsm: &dyn Hsm, n: u8, sealed: &[u8]) -> Result<(), HsmError> {
    wait(hsm.unwrap(under(n), sealed.to_vec())).map(|p| assert_eq!(p.expose(), secret().expose()))
}

/// Makes a KEK that both tokens have.
fn shared(pair: &TokenPair, n: u8) -> KekMade {
    let made = wait(pair.create_kek(kek(n))).unwrap();
    let taken = wait(pair.replicate_kek(kek(n), made.transfer.clone().unwrap())).unwrap();
    assert_eq!(taken, made.check_value);
    made
}

fn one_as(token: &Token, role: Role) -> Result<Pkcs11Hsm, HsmError> {
    Pkcs11Hsm::connect(Config { role, ..token.config() })
}

fn labelled(session: &Session, label: &str) -> ObjectHandle {
    let found = session.find_objects(&[Attribute::Label(label.into())]).unwrap();
    assert_eq!(found.len(), 1, "{label}");
    found[0]
}

pub fn a_kek_of_the_primary_is_given_to_the_standby_and_both_open_what_either_sealed<K: Kind>(dir: &Path) {
    let (first, second, _faults, pair) = ready::<K>(dir);
    let made = shared(&pair, 1);
    let transfer = made.transfer.unwrap();
    assert_eq!(transfer.len(), 40, "a 256-bit key under AES-KW");
    assert_eq!(wait(pair.replicate_kek(kek(1), transfer.clone())).unwrap(), made.check_value, "again changes nothing");
    let other = shared(&pair, 2);
    assert_ne!(other.check_value, made.check_value);
    let drawn = wait(pair.generate_data_key(32, under(1))).unwrap();
    let status = wait(pair.status());
    assert_eq!((status.serial, status.standby.unwrap().serial), (first.serial.clone(), second.serial.clone()));
    drop(pair);

    let primary = one_as(&first, Role::Primary).unwrap();
    let standby = one_as(&second, Role::Standby).unwrap();
    assert_ne!(primary.identity(), standby.identity());
    for (from, to) in [(&primary, &standby), (&standby, &primary)] {
        let sealed = wait(from.wrap(under(1), secret())).unwrap();
        unwraps(to, 1, &sealed).unwrap();
        let again = wait(to.rewrap(under(1), sealed, under(2))).unwrap();
        unwraps(from, 2, &again).unwrap();
        let opened = wait(to.unwrap(under(1), drawn.sealed.clone())).unwrap();
        assert_eq!(opened.expose(), drawn.plaintext.expose());
    }
    // Each does its own part, and says so.
    for refused in [wait(standby.create_kek(kek(3))).map(drop), wait(primary.replicate_kek(kek(1), transfer)).map(drop)]
    {
        assert!(matches!(&refused, Err(HsmError::Configuration { what }) if what.contains("standby")), "{refused:?}");
    }
    assert!(matches!(wait(primary.create_kek(kek(1))), Err(HsmError::KeyExists { .. })));
}

pub fn s_4_4_what_two_tokens_share_never_leaves_them<K: Kind>(dir: &Path) {
    let (first, second, _faults, pair) = ready::<K>(dir);
    shared(&pair, 1);
    let kept = [
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    let jobs = |encrypts: bool, mechanism| {
        [
            Attribute::Encrypt(encrypts),
            Attribute::Decrypt(encrypts),
            Attribute::Wrap(!encrypts),
            Attribute::Unwrap(!encrypts),
            Attribute::AllowedMechanisms(vec![mechanism]),
        ]
    };
    let kinds = [
        ("tally-kek", jobs(true, MechanismType::AES_GCM)),
        ("tally-transfer", jobs(false, MechanismType::AES_KEY_WRAP)),
    ];
    for token in [&first, &second] {
        let session = token.beside();
        for (label, jobs) in &kinds {
            let key = labelled(&session, label);
            for wanted in kept.iter().chain(jobs) {
                assert_eq!(
                    session.get_attributes(key, &[wanted.attribute_type()]).unwrap().first(),
                    Some(wanted),
                    "{label}"
                );
            }
            assert!(session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default().is_empty());
            assert!(session.update_attributes(key, &[Attribute::Extractable(true)]).is_err());
            assert!(session.update_attributes(key, &[Attribute::Encrypt(true)]).is_err());
        }
        // Nothing is left of what they came by: no RSA key, no key of a session.
        for (class, number) in
            [(ObjectClass::SECRET_KEY, 2), (ObjectClass::PRIVATE_KEY, 1), (ObjectClass::PUBLIC_KEY, 1)]
        {
            assert_eq!(session.find_objects(&[Attribute::Class(class)]).unwrap().len(), number, "{class}");
        }
    }
}

/// The key 00 01 .. 1f, whose check value was computed with OpenSSL.
pub fn a_check_value_is_the_one_that_its_definition_gives<K: Kind>(dir: &Path) {
    let (_first, second, _faults, pair) = ready::<K>(dir);
    let session = second.beside();
    let known = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM]),
        Attribute::Label("tally-kek".into()),
        Attribute::Id(vec![7; 16]),
        Attribute::Value((0..32).collect()),
    ];
    session.create_object(&known).unwrap();
    let value = wait(pair.replicate_kek(kek(7), vec![0; 40])).unwrap();
    assert_eq!(value.to_string(), "FB7C3C");
}

pub fn s_4_2_a_changed_transfer_is_integrity_and_the_token_stays_in_use<K: Kind>(dir: &Path) {
    let (_first, _second, _faults, pair) = ready::<K>(dir);
    let made = wait(pair.create_kek(kek(1))).unwrap();
    let transfer = made.transfer.unwrap();
    let mut bad: Vec<Vec<u8>> = vec![vec![], transfer[..32].to_vec(), [transfer.as_slice(), &[0; 8]].concat()];
    bad.extend((0..transfer.len()).map(|at| {
        let mut flipped = transfer.clone();
        flipped[at] ^= 0x10;
        flipped
    }));
    for blob in bad {
        assert_eq!(wait(pair.replicate_kek(kek(1), blob)), Err(HsmError::Integrity));
    }
    let standby = wait(pair.status()).standby.unwrap();
    assert_eq!((standby.breaker, standby.fault), (BreakerState::Closed, None));
    assert_eq!(wait(pair.replicate_kek(kek(1), transfer)).unwrap(), made.check_value);
}

pub fn tokens_that_are_no_pair_are_refused_with_a_reason<K: Kind>(dir: &Path) {
    let refused = |outcome: Result<(), HsmError>, why: &str| {
        assert!(matches!(&outcome, Err(HsmError::Configuration { what }) if what.contains(why)), "{outcome:?}");
    };
    // Of one module, here: two tokens of one library have a login each.
    let [one, two, three, four] = [(); 4].map(|()| Token::create::<K>(dir));
    for token in [&one, &two] {
        provision(token.config()).unwrap();
        refused(one_as(token, Role::Primary).map(drop), "no transfer key");
    }
    refused(provision_pair(one.config(), one.config()).map(drop), "as primary and as standby");
    provision_pair(one.config(), two.config()).unwrap();
    refused(TokenPair::connect(one.config(), one.config()).map(drop), "as primary and as standby");
    // A token with a key that came from another is not one that stands alone.
    let pair = TokenPair::connect(one.config(), two.config()).unwrap();
    shared(&pair, 1);
    drop(pair);
    refused(one_as(&one, Role::Only).map(drop), "with another token, but none");
    // Half of one pair, and half of another.
    refused(provision_pair(one.config(), three.config()).map(drop), "only the token");
    refused(provision_pair(three.config(), two.config()).map(drop), "only the token");
    provision_pair(three.config(), four.config()).unwrap();
    refused(provision_pair(one.config(), four.config()).map(drop), "not a pair");
    let mixed = TokenPair::connect(one.config(), four.config()).unwrap();
    let standby = wait(mixed.status()).standby.unwrap();
    refused(standby.fault.map_or(Ok(()), Err), "not a pair");
    let sealed = wait(mixed.wrap(under(1), secret())).unwrap();
    unwraps(&mixed, 1, &sealed).unwrap();
}

pub fn a_node_starts_without_its_standby_and_says_so<K: Kind>(dir: &Path) {
    let (first, second, faults, pair) = ready::<K>(dir);
    let made = shared(&pair, 1);
    drop(pair);
    let gone = Config { token_serial: Some("0000".into()), ..second.config() };
    let pair = TokenPair::connect(first.config(), gone).unwrap();
    let sealed = wait(pair.wrap(under(1), secret())).unwrap();
    let status = wait(pair.status());
    let standby = status.standby.unwrap();
    assert_eq!((status.fault, standby.sessions, standby.breaker), (None, 0, BreakerState::Open));
    assert!(matches!(&standby.fault, Some(HsmError::Configuration { what }) if what.contains("0000")));
    // What needs the other token fails with what is wrong with it; what would be lost on the primary is its own error.
    let taken = wait(pair.replicate_kek(kek(1), made.transfer.unwrap())).map(drop);
    for needs in [taken, wait(pair.destroy_kek(kek(1)))] {
        assert!(matches!(&needs, Err(HsmError::Configuration { what }) if what.contains("0000")), "{needs:?}");
    }
    faults.order("C_DecryptInit rv=0x30");
    let lost = unwraps(&pair, 1, &sealed);
    assert!(
        matches!(lost, Err(HsmError::Device { .. } | HsmError::Down { .. } | HsmError::KeyNotFound { .. })),
        "{lost:?}"
    );
}

pub fn a_primary_that_breaks_under_load_loses_no_call_that_had_not_started<K: Kind>(dir: &Path) {
    let (first, second, faults) = two::<K>(dir);
    let config = |token: &Token| Config { workers: 2, deadline: DEADLINE, ..token.config() };
    let patient = Config { workers: 2, ..second.config() };
    let pair = TokenPair::connect(config(&first), patient).unwrap();
    shared(&pair, 1);
    for (fault, may_be_lost) in [
        ("* rv=0x30", false),
        ("C_EncryptInit rv=0x32\nC_DecryptInit rv=0x32\nC_SignInit rv=0x32", false),
        ("C_EncryptInit rv=0x5\nC_DecryptInit rv=0x5\nC_SignInit rv=0x5\nC_OpenSession rv=0x5", false),
        ("C_Encrypt hang\nC_Decrypt hang", true),
    ] {
        let (stop, done, lost) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let sealed = wait(pair.wrap(under(1), secret()));
                        match sealed.and_then(|sealed| unwraps(&pair, 1, &sealed)) {
                            Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => lost.lock().unwrap().push(error),
                        }
                    }
                });
            }
            let more = |what: &str| {
                let before = done.load(Ordering::Relaxed);
                until(what, || done.load(Ordering::Relaxed) > before + 200);
            };
            more("work at the primary");
            faults.order(fault);
            until("faults", || !std::fs::read_to_string(dir.join("faulted")).unwrap_or_default().is_empty());
            more("work at the standby");
            faults.end();
            until("the primary", || wait(pair.status()).fault.is_none());
            more("work at the primary again");
            stop.store(true, Ordering::Relaxed);
        });
        for error in lost.into_inner().unwrap() {
            let started = matches!(error, HsmError::Deadline { started: true, .. });
            assert!(may_be_lost && started, "{fault}: {error}");
        }
        let status = wait(pair.status());
        assert_eq!((status.breaker, status.standby.unwrap().breaker), (BreakerState::Closed, BreakerState::Closed));
    }
    // The primary is asked again, and not only the standby.
    faults.order("C_EncryptInit delay_ms=0");
    wait(pair.wrap(under(1), secret())).unwrap();
    assert!(faults.count("C_EncryptInit") > 0);
}

pub fn creation_and_signing_never_fail_over<K: Kind>(dir: &Path) {
    let (_first, second, faults, pair) = ready::<K>(dir);
    shared(&pair, 1);
    let sealed = wait(pair.wrap(under(1), secret())).unwrap();
    let mut changed = sealed.clone();
    changed[40] ^= 1;
    let before = second.beside().find_objects(&[]).unwrap().len();
    faults.order("* rv=0x30");
    for _ in 0..4 {
        unwraps(&pair, 1, &sealed).unwrap();
        assert_eq!(unwraps(&pair, 1, &changed), Err(HsmError::Integrity));
        let primary_only = [
            wait(pair.create_kek(kek(2))).map(drop),
            wait(pair.create_sealing_key(SealingKeyId([3; 16]))),
            wait(pair.seal(SealingKeyId([1; 16]), vec![], secret())).map(drop),
            wait(pair.sign_identity(b"vote".to_vec())).map(drop),
            // The standby has no such KEK: what is wrong with the primary is the answer.
            wait(pair.wrap(under(9), secret())).map(drop),
        ];
        for refused in primary_only {
            assert!(matches!(refused, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{refused:?}");
        }
    }
    assert_eq!(second.beside().find_objects(&[]).unwrap().len(), before, "something was made on the standby");
    faults.end();
    until("the primary", || wait(pair.sign_identity(vec![])).is_ok());
    // The primary works and does not have it, though the standby does: nothing is opened behind its back.
    wait(pair.destroy_kek(kek(1))).unwrap();
    let missing = unwraps(&pair, 1, &sealed);
    assert!(matches!(missing, Err(HsmError::KeyNotFound { .. })), "{missing:?}");
}

pub fn a_kek_is_destroyed_on_both_tokens_or_not_destroyed<K: Kind>(dir: &Path) {
    let (first, second, faults, pair) = ready::<K>(dir);
    shared(&pair, 1);
    let sealed = wait(pair.wrap(under(1), secret())).unwrap();
    faults.order("* rv=0x30");
    for _ in 0..4 {
        let away = wait(pair.destroy_kek(kek(1)));
        assert!(matches!(away, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{away:?}");
    }
    faults.end();
    until("both", || wait(pair.destroy_kek(kek(1))).is_ok());
    wait(pair.destroy_kek(kek(1))).unwrap();
    drop(pair);
    for (token, role) in [(&first, Role::Primary), (&second, Role::Standby)] {
        let gone = unwraps(&one_as(token, role).unwrap(), 1, &sealed);
        assert!(matches!(gone, Err(HsmError::KeyNotFound { .. })), "{gone:?}");
    }
}
