//! Keys of token domains on two tokens of one node: made on the first, given to the second, used on either, destroyed on both.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::pair::{another, kek};
use crate::process::{until, wait};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use std::path::Path;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{
    BreakerState, Hsm, HsmError, IndexKeyId, PlainRow, RowSeal, SealedRow, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;
use tally_hsm_adapter::{Config, Pkcs11Hsm, Role, TokenPair, provision_pair};

/// No KEK of these tests has this id.
const INDEX_ID: IndexKeyId = IndexKeyId([21; 16]);

const INDEX: VaultKey = VaultKey::Index(INDEX_ID);

fn ready<K: Kind>(dir: &Path) -> (Token, Token, Faults, TokenPair) {
    let (first, faults) = Faults::token::<K>(dir);
    faults.end();
    let second = another::<K>(dir);
    provision_pair(first.config(), second.config()).unwrap();
    let pair = TokenPair::connect(first.config(), second.config()).unwrap();
    (first, second, faults, pair)
}

/// Makes a key that both tokens have; gives it as it travelled.
fn shared(pair: &TokenPair, key: VaultKey) -> Vec<u8> {
    let transfer = wait(pair.create_vault_key(key)).unwrap().unwrap();
    wait(pair.replicate_vault_key(key, transfer.clone())).unwrap();
    transfer
}

fn prints(hsm: &dyn Hsm) -> Result<Vec<Fingerprint>, HsmError> {
    let inputs = [&b"one"[..], b"other"].map(|input| SecretBytes::new(input.to_vec()));
    wait(hsm.fingerprints(INDEX_ID, inputs.into()))
}

fn sealed(hsm: &dyn Hsm, key: &StrictKey) -> RowSeal {
    let row = PlainRow { aad: b"aad".to_vec(), plaintext: SecretBytes::new(b"card".to_vec()) };
    wait(hsm.seal_rows(key.clone(), vec![row])).unwrap().remove(0)
}

fn opened(hsm: &dyn Hsm, key: &StrictKey, seal: &RowSeal) -> Result<(), HsmError> {
    let row = SealedRow { aad: b"aad".to_vec(), seal: seal.clone() };
    let rows = wait(hsm.open_rows(key.clone(), vec![row]))?;
    assert_eq!(rows[0].as_ref().unwrap().expose(), b"card");
    Ok(())
}

fn one_as(token: &Token, role: Role) -> Result<Pkcs11Hsm, HsmError> {
    Pkcs11Hsm::connect(Config { role, ..token.config() })
}

pub fn keys_of_token_domains_are_on_both_tokens_and_either_does_the_work<K: Kind>(dir: &Path) {
    let (first, second, faults, pair) = ready::<K>(dir);
    let transfer = shared(&pair, INDEX);
    assert_eq!(transfer.len(), 40, "a 256-bit key under AES-KW");
    wait(pair.replicate_vault_key(INDEX, transfer.clone())).unwrap();
    for n in [1, 2] {
        shared(&pair, VaultKey::Wrapping(kek(n)));
    }
    let strict = StrictKey { kek: kek(1), wrapped: wait(pair.create_strict_key(kek(1))).unwrap() };
    let (before, seal) = (prints(&pair).unwrap(), sealed(&pair, &strict));
    assert!(before[0] != before[1]);

    faults.order("* rv=0x30");
    for _ in 0..4 {
        assert_eq!(prints(&pair).unwrap(), before);
        opened(&pair, &strict, &seal).unwrap();
        let made = wait(pair.create_vault_key(VaultKey::Index(IndexKeyId([9; 16]))));
        assert!(matches!(made, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{made:?}");
    }
    let meanwhile = sealed(&pair, &strict);
    let again = StrictKey { kek: kek(2), wrapped: wait(pair.rewrap_strict_key(strict.clone(), kek(2))).unwrap() };
    opened(&pair, &again, &meanwhile).unwrap();
    faults.end();
    until("the primary", || wait(pair.status()).fault.is_none());
    opened(&pair, &again, &meanwhile).unwrap();
    drop(pair);

    let (primary, standby) = (one_as(&first, Role::Primary).unwrap(), one_as(&second, Role::Standby).unwrap());
    for hsm in [&primary, &standby] {
        assert_eq!(prints(hsm).unwrap(), before);
        opened(hsm, &again, &seal).unwrap();
    }
    // Each does its own part, and says so.
    let made = wait(standby.create_vault_key(VaultKey::Index(IndexKeyId([3; 16])))).map(drop);
    for refused in [made, wait(primary.replicate_vault_key(INDEX, transfer))] {
        assert!(matches!(&refused, Err(HsmError::Configuration { what }) if what.contains("standby")), "{refused:?}");
    }
    assert!(matches!(wait(primary.create_vault_key(INDEX)), Err(HsmError::KeyExists { .. })));
    // A token with a key that another has, too, is not one that stands alone.
    drop((primary, standby));
    let alone = one_as(&first, Role::Only).map(drop);
    assert!(matches!(&alone, Err(HsmError::Configuration { what }) if what.contains("another token")), "{alone:?}");
}

pub fn s_4_4_keys_of_token_domains_that_two_tokens_share_never_leave_them<K: Kind>(dir: &Path) {
    let (first, second, _faults, pair) = ready::<K>(dir);
    shared(&pair, INDEX);
    shared(&pair, VaultKey::Wrapping(kek(1)));
    let kept = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Derive(false),
    ];
    let kinds = [("tally-index", KeyType::GENERIC_SECRET, true), ("tally-kek-w", KeyType::AES, false)];
    for token in [&first, &second] {
        let session = token.beside();
        for (label, key_type, signs) in kinds {
            let found = session.find_objects(&[Attribute::Label(label.into())]).unwrap();
            assert_eq!(found.len(), 1, "{label}");
            let jobs = [
                Attribute::KeyType(key_type),
                Attribute::Sign(signs),
                Attribute::Wrap(!signs),
                Attribute::Unwrap(!signs),
            ];
            for wanted in kept.iter().chain(&jobs) {
                let given = session.get_attributes(found[0], &[wanted.attribute_type()]).unwrap();
                assert_eq!(given.first(), Some(wanted), "{label}");
            }
            assert!(session.get_attributes(found[0], &[AttributeType::Value]).unwrap_or_default().is_empty());
            assert!(session.update_attributes(found[0], &[Attribute::Extractable(true)]).is_err());
        }
        // The transfer key, and these two: nothing is left of what they came by.
        assert_eq!(session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap().len(), 3);
    }
}

pub fn a_changed_key_of_a_domain_is_not_taken_and_one_is_destroyed_on_both_tokens_or_not_at_all<K: Kind>(dir: &Path) {
    let (first, second, faults, pair) = ready::<K>(dir);
    let transfer = wait(pair.create_vault_key(INDEX)).unwrap().unwrap();
    for at in [0, 7, 39] {
        let mut bad = transfer.clone();
        bad[at] ^= 0x10;
        assert_eq!(wait(pair.replicate_vault_key(INDEX, bad)), Err(HsmError::Integrity));
    }
    let standby = wait(pair.status()).standby.unwrap();
    assert_eq!((standby.breaker, standby.fault), (BreakerState::Closed, None));
    wait(pair.replicate_vault_key(INDEX, transfer)).unwrap();
    shared(&pair, VaultKey::Wrapping(kek(1)));
    let strict = StrictKey { kek: kek(1), wrapped: wait(pair.create_strict_key(kek(1))).unwrap() };
    let seal = sealed(&pair, &strict);

    faults.order("* rv=0x30");
    for _ in 0..4 {
        let away = wait(pair.destroy_vault_key(INDEX));
        assert!(matches!(away, Err(HsmError::Device { .. } | HsmError::Down { .. })), "{away:?}");
    }
    faults.end();
    for key in [INDEX, VaultKey::Wrapping(kek(1))] {
        until("both", || wait(pair.destroy_vault_key(key)).is_ok());
        wait(pair.destroy_vault_key(key)).unwrap();
    }
    drop(pair);
    for (token, role) in [(&first, Role::Primary), (&second, Role::Standby)] {
        let hsm = one_as(token, role).unwrap();
        for gone in [prints(&hsm).map(drop), opened(&hsm, &strict, &seal)] {
            assert!(matches!(gone, Err(HsmError::KeyNotFound { .. })), "{gone:?}");
        }
    }
}
