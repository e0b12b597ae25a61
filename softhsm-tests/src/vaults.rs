//! Keys of token domains: fingerprints, and data keys that never leave the token.

use crate::kind::{Kind, Token};
use crate::process::wait;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::collections::HashSet;
use std::path::Path;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{
    BreakerState, Hsm as _, HsmError, IndexKeyId, KekId, PlainRow, ROWS_MAX, RowSeal, SealedRow, StrictKey,
    VaultHsm as _, VaultKey,
};
use tally_hsm_adapter::Pkcs11Hsm;

fn kek(n: u8) -> KekId {
    KekId([n; 16])
}

fn index(n: u8) -> IndexKeyId {
    IndexKeyId([n; 16])
}

fn made<K: Kind>(dir: &Path, keys: &[VaultKey]) -> (Token, Pkcs11Hsm) {
    let (token, hsm) = Token::ready::<K>(dir);
    keys.iter().for_each(|key| assert_eq!(wait(hsm.create_vault_key(*key)), Ok(None), "it stays on the one token"));
    (token, hsm)
}

fn strict(hsm: &Pkcs11Hsm, n: u8) -> StrictKey {
    StrictKey { kek: kek(n), wrapped: wait(hsm.create_strict_key(kek(n))).unwrap() }
}

fn sealed(hsm: &Pkcs11Hsm, key: &StrictKey, rows: &[(&[u8], &[u8])]) -> Vec<RowSeal> {
    let row = |(aad, plaintext): &(&[u8], &[u8])| PlainRow {
        aad: aad.to_vec(),
        plaintext: SecretBytes::new(plaintext.to_vec()),
    };
    wait(hsm.seal_rows(key.clone(), rows.iter().map(row).collect())).unwrap()
}

fn opened(hsm: &Pkcs11Hsm, key: &StrictKey, aad: &[u8], seal: &RowSeal) -> Result<Option<Vec<u8>>, HsmError> {
    let row = SealedRow { aad: aad.to_vec(), seal: seal.clone() };
    let rows = wait(hsm.open_rows(key.clone(), vec![row]))?;
    Ok(rows.into_iter().next().unwrap().map(|row| row.expose().to_vec()))
}

fn secret_keys(session: &Session, token: bool) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(token)]).unwrap()
}

pub fn fingerprints_tell_inputs_and_keys_apart_and_nothing_else<K: Kind>(dir: &Path) {
    let keys = [VaultKey::Index(index(1)), VaultKey::Index(index(2))];
    let (_token, hsm) = made::<K>(dir, &keys);
    let of = |key, inputs: &[&[u8]]| {
        let inputs = inputs.iter().map(|i| SecretBytes::new(i.to_vec())).collect();
        wait(hsm.fingerprints(key, inputs))
    };
    let one = of(index(1), &[b"a", b"b", b"a"]).unwrap();
    assert_eq!((one[0], one[0] == one[1]), (one[2], false));
    assert_eq!(of(index(1), &[b"b", b"a"]).unwrap(), [one[1], one[0]]);
    assert!(!of(index(2), &[b"a", b"b"]).unwrap().iter().any(|f| one.contains(f)));
    assert_eq!(of(index(1), &[]).unwrap(), []);
    let many: Vec<Vec<u8>> = (0..=ROWS_MAX).map(|n| n.to_be_bytes().to_vec()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let all: HashSet<_> = of(index(1), &many[1..]).unwrap().into_iter().collect();
    assert_eq!(all.len(), ROWS_MAX);
    assert!(matches!(of(index(1), &many), Err(HsmError::Configuration { .. })));
    assert!(matches!(of(index(9), &[b"a"]), Err(HsmError::KeyNotFound { .. })));
    for _ in 0..2 {
        wait(hsm.destroy_vault_key(keys[0])).unwrap();
        assert!(matches!(of(index(1), &[b"a"]), Err(HsmError::KeyNotFound { .. })));
    }
}

pub fn rows_open_under_their_own_key_and_place_only<K: Kind>(dir: &Path) {
    let keys = [VaultKey::Wrapping(kek(1)), VaultKey::Wrapping(kek(2))];
    let (token, hsm) = made::<K>(dir, &keys);
    let (key, other, elsewhere) = (strict(&hsm, 1), strict(&hsm, 1), strict(&hsm, 2));
    let seals = sealed(&hsm, &key, &[(b"row 1", b"4111111111111111"), (b"row 2", b"4111111111111111")]);
    assert_ne!((seals[0].iv, &seals[0].ciphertext), (seals[1].iv, &seals[1].ciphertext));
    assert_eq!(seals[0].ciphertext.len(), 16 + 16);
    assert_eq!(opened(&hsm, &key, b"row 1", &seals[0]).unwrap().unwrap(), b"4111111111111111");
    for (key, aad, seal) in
        [(&key, b"row 2", &seals[0]), (&other, b"row 1", &seals[0]), (&elsewhere, b"row 1", &seals[0])]
    {
        assert_eq!(opened(&hsm, key, aad, seal), Ok(None));
    }
    for at in 0..32 {
        let mut bad = seals[0].clone();
        bad.ciphertext[at] ^= 1;
        assert_eq!(opened(&hsm, &key, b"row 1", &bad), Ok(None));
    }
    // One bad row leaves the others alone.
    let row = |aad: &[u8], seal: &RowSeal| SealedRow { aad: aad.to_vec(), seal: seal.clone() };
    let both = wait(hsm.open_rows(key.clone(), vec![row(b"row 2", &seals[0]), row(b"row 2", &seals[1])])).unwrap();
    assert_eq!(both.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    // A data key opens under the KEK that wrapped it only, and as it was wrapped.
    let foreign = StrictKey { kek: kek(2), wrapped: key.wrapped.clone() };
    let mut flipped = key.clone();
    flipped.wrapped[7] ^= 1;
    let short = StrictKey { wrapped: key.wrapped[..32].to_vec(), ..key.clone() };
    for bad in [&foreign, &flipped, &short] {
        assert_eq!(opened(&hsm, bad, b"row 1", &seals[0]), Err(HsmError::Integrity));
    }
    assert_eq!(wait(hsm.status()).breaker, BreakerState::Closed);
    // What another start has sealed opens after it, and rewrapped too.
    let moved = StrictKey { kek: kek(2), wrapped: wait(hsm.rewrap_strict_key(key.clone(), kek(2))).unwrap() };
    hsm.shutdown();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    for key in [&key, &moved] {
        assert_eq!(opened(&hsm, key, b"row 2", &seals[1]).unwrap().unwrap(), b"4111111111111111");
    }
}

pub fn what_is_destroyed_or_forgotten_is_in_no_session<K: Kind>(dir: &Path) {
    let (token, hsm) = made::<K>(dir, &[VaultKey::Wrapping(kek(1)), VaultKey::Wrapping(kek(2))]);
    let (key, stays) = (strict(&hsm, 1), strict(&hsm, 2));
    let seals = sealed(&hsm, &key, &[(b"a", b"x")]);
    let kept = sealed(&hsm, &stays, &[(b"a", b"y")]);
    // Every worker has the key in a session of its own.
    for _ in 0..32 {
        opened(&hsm, &key, b"a", &seals[0]).unwrap();
    }
    assert!(!secret_keys(&token.beside(), false).is_empty());
    wait(hsm.forget_strict_keys()).unwrap();
    assert_eq!(secret_keys(&token.beside(), false), []);
    assert_eq!(opened(&hsm, &key, b"a", &seals[0]).unwrap().unwrap(), b"x");
    for _ in 0..2 {
        wait(hsm.destroy_vault_key(VaultKey::Wrapping(kek(1)))).unwrap();
        assert_eq!(secret_keys(&token.beside(), false), []);
        for _ in 0..8 {
            let gone = opened(&hsm, &key, b"a", &seals[0]);
            assert!(matches!(gone, Err(HsmError::KeyNotFound { .. })), "{gone:?}");
        }
    }
    for _ in 0..8 {
        assert_eq!(opened(&hsm, &stays, b"a", &kept[0]).unwrap().unwrap(), b"y");
    }
    // More keys than a session keeps.
    let many: Vec<_> = (0..40).map(|_| strict(&hsm, 2)).collect();
    let seals: Vec<_> = many.iter().map(|key| sealed(&hsm, key, &[(b"a", b"z")]).remove(0)).collect();
    for (key, seal) in many.iter().zip(&seals) {
        assert_eq!(opened(&hsm, key, b"a", seal).unwrap().unwrap(), b"z");
    }
}

pub fn s_4_4_keys_of_token_domains_have_one_use_and_never_leave_the_token<K: Kind>(dir: &Path) {
    let (token, hsm) = made::<K>(dir, &[VaultKey::Wrapping(kek(1)), VaultKey::Index(index(2))]);
    let key = strict(&hsm, 1);
    sealed(&hsm, &key, &[(b"a", b"x")]);
    let session = token.beside();
    let of = |id: u8| session.find_objects(&[Attribute::Id(vec![id; 16])]).unwrap()[0];
    let never = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Local(true),
        Attribute::NeverExtractable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Derive(false),
    ];
    let wraps = [
        Attribute::Label("tally-kek-w".into()),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Sign(false),
        Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP]),
    ];
    let authenticates = [
        Attribute::Label("tally-index".into()),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(true),
        Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
    ];
    for (object, own) in [(of(1), &wraps[..]), (of(2), &authenticates[..])] {
        for wanted in never.iter().chain(own) {
            assert_eq!(session.get_attributes(object, &[wanted.attribute_type()]).unwrap().first(), Some(wanted));
        }
        assert!(session.get_attributes(object, &[AttributeType::Value]).unwrap_or_default().is_empty());
        assert!(session.encrypt(&Mechanism::AesEcb, object, &[0; 16]).is_err());
    }
    for data_key in secret_keys(&session, false) {
        assert!(session.get_attributes(data_key, &[AttributeType::Value]).unwrap_or_default().is_empty());
        assert!(session.wrap_key(&Mechanism::AesKeyWrap, of(1), data_key).is_err(), "it left the session");
    }
    // Both are as they must be, each for its own job.
    hsm.shutdown();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    let swapped = wait(hsm.destroy_vault_key(VaultKey::Index(index(1))));
    assert!(matches!(swapped, Err(HsmError::Configuration { .. })), "{swapped:?}");
    assert!(matches!(wait(hsm.create_vault_key(VaultKey::Index(index(2)))), Err(HsmError::KeyExists { .. })));
}
