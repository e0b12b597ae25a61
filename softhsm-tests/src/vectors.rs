//! The token's AES-GCM against the test cases of its authors (McGrew and Viega, "The Galois/Counter Mode of Operation",
//! appendix B, cases 13 to 16: the ones with 256-bit keys and 96-bit IVs), with imported keys.

use crate::kind::{Kind, Token};
use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::path::Path;
use tally_hsm_adapter::testing::PIN;

const KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const IV: &str = "cafebabefacedbaddecaf888";
const AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const CIPHER: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                      8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";

struct Case {
    key: String,
    iv: String,
    aad: &'static str,
    plain: String,
    cipher: String,
    tag: &'static str,
}

fn cases() -> [Case; 4] {
    let zero = |aad, plain: &str, cipher: &str, tag| Case {
        key: "00".repeat(32),
        iv: "00".repeat(12),
        aad,
        plain: plain.into(),
        cipher: cipher.into(),
        tag,
    };
    let long = |aad, bytes: usize, tag| Case {
        key: KEY.into(),
        iv: IV.into(),
        aad,
        plain: PLAIN[..2 * bytes].into(),
        cipher: CIPHER[..2 * bytes].into(),
        tag,
    };
    let block = "cea7403d4d606b6e074ec5d3baf39d18";
    [
        zero("", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        zero("", &"00".repeat(16), block, "d0d1c8a799996bf0265b98b5d48ab919"),
        long("", 64, "b094dac5d93471bdec1a502270e3cc6c"),
        long(AAD, 60, "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]
}

pub fn gcm_of_the_token_gives_the_vectors_of_its_authors<K: Kind>(dir: &Path) {
    let token = Token::create::<K>(dir);
    let context = cryptoki::context::Pkcs11::new(&token.real).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let session = token.beside();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    for case in cases() {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Value(bytes(&case.key)),
        ];
        let key = session.create_object(&template).unwrap();
        let (aad, plain) = (bytes(case.aad), bytes(&case.plain));
        let sealed = [bytes(&case.cipher), bytes(case.tag)].concat();
        let iv = bytes(&case.iv);
        let encrypted = {
            let mut iv = iv.clone();
            let params = GcmParams::new(&mut iv, &aad, 128.into()).unwrap();
            session.encrypt(&Mechanism::AesGcm(params), key, &plain).unwrap()
        };
        assert_eq!(encrypted, sealed, "{}", case.tag);
        let decrypt = |sealed: &[u8]| {
            let mut iv = iv.clone();
            let params = GcmParams::new(&mut iv, &aad, 128.into()).unwrap();
            session.decrypt(&Mechanism::AesGcm(params), key, sealed)
        };
        assert_eq!(decrypt(&sealed).unwrap(), plain, "{}", case.tag);
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(decrypt(&flipped).is_err(), "{} with byte {at} changed", case.tag);
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}
