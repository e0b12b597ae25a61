//! AES-GCM: who makes the IV, the right answers, and how a wrong tag is refused.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::{Class, Fault};
use crate::probe;
use crate::profile::GcmIv;
use crate::seal::encrypt;
use crate::selftest;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::Attribute;

const CALLS: &str = "C_Encrypt or C_Decrypt";

fn usage() -> [Attribute; 4] {
    [Attribute::Encrypt(true), Attribute::Decrypt(true), Attribute::Sensitive(true), Attribute::Extractable(false)]
}

pub fn who_makes_the_iv(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let who = patient.call("C_Encrypt", probe::gcm_iv)?;
    patient.note("gcm_iv", if who == GcmIv::Caller { "caller" } else { "token" });
    Ok(vec![match who {
        GcmIv::Caller => found(Verdict::Ok, "the caller makes it"),
        GcmIv::Token => found(Verdict::Differs, "the token writes its own in place of the caller's"),
    }])
}

pub fn vector(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let who = patient.call("C_Encrypt", probe::gcm_iv)?;
    let how = patient.call(CALLS, |s| selftest::gcm(s, who))?;
    Ok(vec![super::wrap::tested("McGrew and Viega, test case 16", how)])
}

pub fn wrong_tag(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = patient.aes(&usage())?;
    let mut iv = [7; 12];
    let mut sealed = patient.call("C_Encrypt", |s| encrypt(s, key, &mut iv, b"aad", &[1; 32]))?;
    if let Some(last) = sealed.last_mut() {
        *last ^= 1;
    }
    let refused = patient.ask("C_Decrypt", |s| {
        let params = GcmParams::new(&mut iv, b"aad", 128.into())?;
        s.decrypt(&Mechanism::AesGcm(params), key, &sealed)
    });
    Ok(vec![match refused {
        Ok(_) => found(Verdict::Wrong, "it was accepted").so("do not use this token: it does not check what it opens"),
        Err(e) => {
            let said = if let Error::Pkcs11(rv, _) = &e { crate::fault::code_name(*rv) } else { e.to_string() };
            match Fault::from(e).class {
                Class::Input => found(Verdict::Ok, format!("refused with {said}")),
                Class::Doubt => found(Verdict::Differs, format!("refused with {said}, as a broken token would"))
                    .so("nothing: after such an answer the same key is tried on good data"),
                _ => found(Verdict::Differs, format!("refused with {said}"))
                    .so("report this code: until it is known, bad data counts against the token"),
            }
            .optional()
        }
    }])
}

pub fn empty_iv(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = patient.aes(&usage())?;
    let accepted = patient.ask("C_Encrypt", |s| {
        let params = GcmParams::new(&mut [], b"aad", 128.into())?;
        s.encrypt(&Mechanism::AesGcm(params), key, &[1; 32])
    });
    Ok(vec![match accepted {
        Err(_) => found(Verdict::Ok, "an IV of no bytes is refused"),
        Ok(_) => found(Verdict::Differs, "an IV of no bytes is accepted")
            .so("nothing for a node, which always gives 12 bytes; other programs on this token may not"),
    }])
}
