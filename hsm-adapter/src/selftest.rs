//! What the token computes, held against published answers before anything is offered: AES-GCM and AES-KW, with keys that
//! are public and live in a session. A token that computes something else is not used.

use crate::config::configuration;
use crate::fault::{Class, Fault};
use crate::iv::IV_BYTES;
use crate::profile::{GcmIv, SelfTest, UnwrapValueLen};
use crate::seal::{decrypt, encrypt};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test case 16.
const GCM_KEY: [u8; 32] = [
    0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08, 0xfe, 0xff, 0xe9,
    0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
];
const GCM_IV: [u8; 12] = [0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88];
const GCM_AAD: [u8; 20] = [
    0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda,
    0xd2,
];
const GCM_PLAIN: [u8; 60] = [
    0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a, 0x86, 0xa7, 0xa9,
    0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68,
    0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba,
    0x63, 0x7b, 0x39,
];
/// Ciphertext and tag.
const GCM_SEALED: [u8; 76] = [
    0x52, 0x2d, 0xc1, 0xf0, 0x99, 0x56, 0x7d, 0x07, 0xf4, 0x7f, 0x37, 0xa3, 0x2a, 0x84, 0x42, 0x7d, 0x64, 0x3a, 0x8c,
    0xdc, 0xbf, 0xe5, 0xc0, 0xc9, 0x75, 0x98, 0xa2, 0xbd, 0x25, 0x55, 0xd1, 0xaa, 0x8c, 0xb0, 0x8e, 0x48, 0x59, 0x0d,
    0xbb, 0x3d, 0xa7, 0xb0, 0x8b, 0x10, 0x56, 0x82, 0x88, 0x38, 0xc5, 0xf6, 0x1e, 0x63, 0x93, 0xba, 0x7a, 0x0a, 0xbc,
    0xc9, 0xf6, 0x62, 0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68, 0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55, 0x1b,
];

/// RFC 3394, section 4.6: a 256-bit key wrapped under a 256-bit key.
const KW_KEY: [u8; 32] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12,
    0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
];
const KW_DATA: [u8; 32] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
];
const KW_WRAPPED: [u8; 40] = [
    0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc, 0xb3, 0x5c, 0xfb, 0x87, 0xf8, 0x26, 0x3f, 0x57, 0x86,
    0xe2, 0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7, 0x1a, 0x99, 0xf4, 0x3b, 0xfb, 0x98, 0x8b, 0x9b, 0x7a, 0x02,
    0xdd, 0x21,
];

const KEY_BYTES: u64 = 32;

/// For people.
const GCM: &str = "AES-GCM";

/// For people.
pub const KEY_WRAP: &str = "AES-KW (RFC 3394)";

/// Tests the mechanisms that are used, by vectors if the token lets us import their keys. What it makes in the session it
/// destroys again; what is stored on the token is not touched.
pub fn run(session: &Session, gcm_iv: GcmIv, value_len: UnwrapValueLen) -> Result<SelfTest, Fault> {
    let how = on_bench(session, gcm_iv, value_len, |bench| bench.gcm().and_then(|()| bench.key_wrap()))?;
    if how == SelfTest::RoundTrip {
        tracing::warn!("the token imports no keys: it was tested without vectors, by undoing what it did");
    }
    Ok(how)
}

/// Tests AES-GCM alone.
pub fn gcm(session: &Session, gcm_iv: GcmIv) -> Result<SelfTest, Fault> {
    on_bench(session, gcm_iv, UnwrapValueLen::Unavailable, |bench| bench.gcm())
}

/// Tests AES-KW alone.
pub fn key_wrap(session: &Session, gcm_iv: GcmIv, value_len: UnwrapValueLen) -> Result<SelfTest, Fault> {
    on_bench(session, gcm_iv, value_len, |bench| bench.key_wrap())
}

fn on_bench(
    session: &Session,
    gcm_iv: GcmIv,
    value_len: UnwrapValueLen,
    test: impl FnOnce(&mut Bench<'_>) -> Result<(), Fault>,
) -> Result<SelfTest, Fault> {
    let mut bench = Bench { session, how: SelfTest::Vectors, gcm_iv, value_len, made: Vec::new() };
    let outcome = test(&mut bench);
    let cleared = bench.made.iter().try_for_each(|object| session.destroy_object(*object));
    outcome?;
    cleared?;
    Ok(bench.how)
}

/// The session, what is known of its token, and what was made in it.
struct Bench<'a> {
    session: &'a Session,
    how: SelfTest,
    gcm_iv: GcmIv,
    value_len: UnwrapValueLen,
    made: Vec<ObjectHandle>,
}

impl Bench<'_> {
    fn gcm(&mut self) -> Result<(), Fault> {
        let key = self.key(&GCM_KEY, &[Attribute::Encrypt(true), Attribute::Decrypt(true), sensitive(), kept()])?;
        let mut iv = GCM_IV;
        let sealed = encrypt(self.session, key, &mut iv, &GCM_AAD, &GCM_PLAIN)?;
        if self.how == SelfTest::Vectors && self.gcm_iv == GcmIv::Caller && sealed != GCM_SEALED {
            return Err(wrong(GCM));
        }
        let open = |iv: [u8; IV_BYTES], sealed: &[u8]| decrypt(self.session, key, iv, &GCM_AAD, sealed);
        if !refuses(open(iv, &flipped(&sealed)))? || understood(GCM, open(iv, &sealed))?.expose() != GCM_PLAIN {
            return Err(wrong(GCM));
        }
        if self.how == SelfTest::Vectors && understood(GCM, open(GCM_IV, &GCM_SEALED))?.expose() != GCM_PLAIN {
            return Err(wrong(GCM));
        }
        Ok(())
    }

    /// A token that does not wrap keys is not asked to.
    fn key_wrap(&mut self) -> Result<(), Fault> {
        if self.value_len == UnwrapValueLen::Unavailable {
            return Ok(());
        }
        let wrapping = self.key(&KW_KEY, &[Attribute::Wrap(true), Attribute::Unwrap(true), sensitive(), kept()])?;
        let data = self.key(&KW_DATA, &[Attribute::Encrypt(true), sensitive(), Attribute::Extractable(true)])?;
        let wrapped = self.session.wrap_key(&Mechanism::AesKeyWrap, wrapping, data)?;
        if self.how == SelfTest::Vectors && wrapped != KW_WRAPPED {
            return Err(wrong(KEY_WRAP));
        }
        let mut template = vec![Attribute::Decrypt(true), sensitive(), kept()];
        template.extend(common());
        template.extend(self.value_len.attribute(KEY_BYTES));
        let unwrap = |bytes: &[u8]| {
            self.session.unwrap_key(&Mechanism::AesKeyWrap, wrapping, bytes, &template).map_err(Fault::from)
        };
        let accepted = unwrap(&flipped(&wrapped));
        self.made.extend(accepted.as_ref().ok());
        if !refuses(accepted)? {
            return Err(wrong(KEY_WRAP));
        }
        let back = understood(KEY_WRAP, unwrap(&wrapped))?;
        self.made.push(back);
        // What was unwrapped cannot be read. It opens what the key that was wrapped has sealed.
        let mut iv = GCM_IV;
        let sealed = encrypt(self.session, data, &mut iv, &GCM_AAD, &GCM_PLAIN)?;
        let opened = understood(KEY_WRAP, decrypt(self.session, back, iv, &GCM_AAD, &sealed))?;
        if opened.expose() == GCM_PLAIN { Ok(()) } else { Err(wrong(KEY_WRAP)) }
    }

    /// A key of this session: the published one, or where the token imports none, one of its own.
    fn key(&mut self, value: &[u8], usage: &[Attribute]) -> Result<ObjectHandle, Fault> {
        let template: Vec<_> = common().into_iter().chain(usage.iter().cloned()).collect();
        if self.how == SelfTest::Vectors {
            let with_value: Vec<_> = template.iter().cloned().chain([Attribute::Value(value.to_vec())]).collect();
            match self.session.create_object(&with_value).map_err(Fault::from) {
                Ok(key) => {
                    self.made.push(key);
                    return Ok(key);
                }
                Err(refused) if refused.class == Class::Refused => self.how = SelfTest::RoundTrip,
                Err(fault) => return Err(fault),
            }
        }
        let with_length: Vec<_> = template.into_iter().chain([Attribute::ValueLen(KEY_BYTES.into())]).collect();
        let key = self.session.generate_key(&Mechanism::AesKeyGen, &with_length)?;
        self.made.push(key);
        Ok(key)
    }
}

fn common() -> [Attribute; 4] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
    ]
}

fn sensitive() -> Attribute {
    Attribute::Sensitive(true)
}

fn kept() -> Attribute {
    Attribute::Extractable(false)
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.last_mut().into_iter().for_each(|last| *last ^= 1);
    bytes
}

/// Whether the token refused bad data. It may say so with any code, a broken device's too (`hsm.md` 1.1); what follows
/// tells whether it works.
fn refuses<T>(outcome: Result<T, Fault>) -> Result<bool, Fault> {
    match outcome {
        Ok(_) => Ok(false),
        Err(fault) if fault.class == Class::Session => Err(fault),
        Err(_) => Ok(true),
    }
}

/// Good data that the token takes for bad is a wrong answer.
pub fn understood<T>(mechanism: &str, outcome: Result<T, Fault>) -> Result<T, Fault> {
    outcome.map_err(|fault| match fault.class {
        Class::Input | Class::Doubt => wrong(mechanism),
        _ => fault,
    })
}

fn wrong(mechanism: &str) -> Fault {
    configuration(format!("the token fails the self-test of {mechanism}: it does not give the right answer")).into()
}
