//! Two makes of modules in one process: neither disturbs the other, and what one has sealed or wrapped the other opens.

use crate::faults::Faults;
use crate::kind::{Kind, Token};
use crate::process::{until, wait};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{Hsm, HsmError, KekId, Seal, SealingKeyId};
use tally_hsm_adapter::{Pkcs11Hsm, TokenPair, provision_pair};

/// Wraps and seals; known to both.
const KEY: [u8; 32] = [0x42; 32];
const AAD: &[u8] = b"who and what for";

/// A module with a known key, whatever it is used for.
struct Module {
    session: Session,
    key: ObjectHandle,
}

impl Module {
    fn new<K: Kind>(dir: &Path) -> Self {
        let session = Token::create::<K>(dir).alone();
        let usage = [
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ];
        let key = import(&session, &KEY, &usage);
        Self { session, key }
    }

    fn seal(&self, iv: [u8; 12], plain: &[u8]) -> Vec<u8> {
        let mut iv = iv;
        let params = GcmParams::new(&mut iv, AAD, 128.into()).unwrap();
        self.session.encrypt(&Mechanism::AesGcm(params), self.key, plain).unwrap()
    }

    fn open(&self, iv: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut iv = iv;
        let params = GcmParams::new(&mut iv, aad, 128.into()).unwrap();
        self.session.decrypt(&Mechanism::AesGcm(params), self.key, sealed).ok()
    }

    fn wrap(&self, secret: &[u8; 32]) -> Vec<u8> {
        let readable = [Attribute::Sensitive(false), Attribute::Extractable(true)];
        let secret = import(&self.session, secret, &readable);
        self.session.wrap_key(&Mechanism::AesKeyWrap, self.key, secret).unwrap()
    }

    fn unwrap(&self, blob: &[u8]) -> Option<Vec<u8>> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let key = self.session.unwrap_key(&Mechanism::AesKeyWrap, self.key, blob, &template).ok()?;
        match self.session.get_attributes(key, &[AttributeType::Value]).unwrap().pop() {
            Some(Attribute::Value(value)) => Some(value),
            other => panic!("{other:?}"),
        }
    }
}

fn import(session: &Session, value: &[u8; 32], usage: &[Attribute]) -> ObjectHandle {
    let common = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Value(value.to_vec()),
    ];
    let template: Vec<_> = common.into_iter().chain(usage.iter().cloned()).collect();
    session.create_object(&template).unwrap()
}

pub fn what_one_module_seals_and_wraps_the_other_opens<A: Kind, B: Kind>(dir: &Path) {
    let modules = [Module::new::<A>(dir), Module::new::<B>(dir)];
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, to) = (&modules[from], &modules[to]);
        for length in [0, 1, 31, 32, 4096] {
            let (iv, plain) = ([length as u8; 12], vec![0x5a; length]);
            let sealed = from.seal(iv, &plain);
            assert_eq!(sealed, to.seal(iv, &plain));
            assert_eq!(to.open(iv, AAD, &sealed), Some(plain));
            let changed = [&sealed[..sealed.len() - 1], &[sealed[sealed.len() - 1] ^ 1]].concat();
            assert_eq!((to.open(iv, AAD, &changed), to.open(iv, b"", &sealed)), (None, None));
        }
        let secret = [0x77; 32];
        let wrapped = from.wrap(&secret);
        assert_eq!(wrapped, to.wrap(&secret));
        assert_eq!(to.unwrap(&wrapped), Some(secret.to_vec()));
        assert_eq!(to.unwrap(&[&wrapped[..39], &[wrapped[39] ^ 1]].concat()), None);
    }
}

pub fn both_serve_one_process_and_one_goes_without_the_other<A: Kind, B: Kind>(dir: &Path) {
    let (first, first_token) = ready::<A>(dir);
    let (second, _) = ready::<B>(dir);
    assert_ne!(first.identity(), second.identity());
    let until = Instant::now() + Duration::from_secs(1);
    std::thread::scope(|scope| {
        for hsm in [&first, &first, &second, &second] {
            scope.spawn(move || {
                while Instant::now() < until {
                    serves(hsm);
                }
            });
        }
    });
    // What one sealed is nothing to the other: each has a key of its own under this id.
    let sealed = wait(first.seal(ID, vec![], SecretBytes::new(b"x".to_vec()))).unwrap();
    assert!(wait(second.open(ID, vec![], sealed.clone())).is_err());
    first.shutdown();
    serves(&second);
    let first = Pkcs11Hsm::connect(first_token.config()).unwrap();
    assert_eq!(wait(first.open(ID, vec![], sealed)).unwrap().expose(), b"x");
    serves(&second);
}

const ID: SealingKeyId = SealingKeyId([1; 16]);

fn ready<K: Kind>(dir: &Path) -> (Pkcs11Hsm, Token) {
    let (token, hsm) = Token::ready::<K>(dir);
    wait(hsm.create_sealing_key(ID)).unwrap();
    (hsm, token)
}

fn serves(hsm: &Pkcs11Hsm) {
    let sealed = wait(hsm.seal(ID, b"aad".to_vec(), SecretBytes::new(b"share".to_vec()))).unwrap();
    assert_eq!(wait(hsm.open(ID, b"aad".to_vec(), sealed)).unwrap().expose(), b"share");
    let signature = wait(hsm.sign_identity(b"vote".to_vec())).unwrap();
    hsm.identity().verify(b"vote", &signature).unwrap();
}

pub fn a_standby_of_another_make_opens_what_the_primary_wrapped<A: Kind, B: Kind>(dir: &Path) {
    let (primary, faults) = Faults::token::<A>(dir);
    faults.end();
    let standby = Token::create::<B>(dir);
    provision_pair(primary.config(), standby.config()).unwrap();
    let pair = TokenPair::connect(primary.config(), standby.config()).unwrap();
    let under = || Seal { kek: KekId([1; 16]), aad: b"order 7".to_vec() };
    let secret = || SecretBytes::new(b"a data key".to_vec());
    let made = wait(pair.create_kek(under().kek)).unwrap();
    assert_eq!(wait(pair.replicate_kek(under().kek, made.transfer.unwrap())).unwrap(), made.check_value);

    let by_primary = wait(pair.wrap(under(), secret())).unwrap();
    faults.order("* rv=0x30");
    assert_eq!(wait(pair.unwrap(under(), by_primary.clone())).unwrap().expose(), secret().expose());
    let mut changed = by_primary.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(wait(pair.unwrap(under(), changed)).err(), Some(HsmError::Integrity));
    let by_standby = wait(pair.wrap(under(), secret())).unwrap();
    let drawn = wait(pair.generate_data_key(32, under())).unwrap();
    faults.end();
    until("the primary", || wait(pair.status()).fault.is_none());
    // What the standby did, the primary undoes.
    for sealed in [by_primary, by_standby] {
        assert_eq!(wait(pair.unwrap(under(), sealed)).unwrap().expose(), secret().expose());
    }
    assert_eq!(wait(pair.unwrap(under(), drawn.sealed)).unwrap().expose(), drawn.plaintext.expose());
    let status = wait(pair.status());
    let makes = [&status.capabilities, &status.standby.unwrap().capabilities].map(|c| c.contains("kryoptic"));
    assert_ne!(makes[0], makes[1]);
}
