//! Wrapping keys under keys: AES-KW (RFC 3394) and AES-KWP (RFC 5649).

use super::patient::Patient;
use super::unlisted::kwp_of_the_standard;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use crate::probe;
use crate::profile::{SelfTest, UnwrapValueLen};
use crate::selftest;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectHandle};

/// RFC 5649, section 6: 20 octets of key data under a 192-bit key.
const KWP_KEY: [u8; 24] = [
    0x58, 0x40, 0xdf, 0x6e, 0x29, 0xb0, 0x2a, 0xf1, 0xab, 0x49, 0x3b, 0x70, 0x5b, 0xf1, 0x6e, 0xa1, 0xae, 0x83, 0x38,
    0xf4, 0xdc, 0xc1, 0x76, 0xa8,
];
const KWP_DATA: [u8; 20] = [
    0xc3, 0x7b, 0x7e, 0x64, 0x92, 0x58, 0x43, 0x40, 0xbe, 0xd1, 0x22, 0x07, 0x80, 0x89, 0x41, 0x15, 0x50, 0x68, 0xf7,
    0x38,
];
const KWP_WRAPPED: [u8; 32] = [
    0x13, 0x8b, 0xde, 0xaa, 0x9b, 0x8f, 0xa7, 0xfc, 0x61, 0xf9, 0x77, 0x42, 0xe7, 0x22, 0x48, 0xee, 0x5a, 0xe6, 0xae,
    0x53, 0x60, 0xd1, 0xae, 0x6a, 0x5f, 0x54, 0xf3, 0x73, 0xfa, 0x54, 0x3b, 0x6a,
];

/// Numbers of AES-KWP: of PKCS#11 3.0, and of PKCS#11 2.40 for a mechanism that some take for the same.
const KWP: u64 = 0x210b;
const KEY_WRAP_PAD: u64 = 0x210a;

pub fn value_len(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let seen = patient.call("C_WrapKey or C_UnwrapKey", probe::unwrap_value_len)?;
    let (word, finding) = match seen {
        UnwrapValueLen::Allowed => ("allowed", found(Verdict::Ok, "a template for unwrapping may have a length")),
        UnwrapValueLen::Forbidden => {
            ("forbidden", found(Verdict::Differs, "a template for unwrapping must not have a length"))
        }
        UnwrapValueLen::Required => {
            ("required", found(Verdict::Differs, "a template for unwrapping must have a length"))
        }
        UnwrapValueLen::Unavailable => (
            "unavailable",
            found(Verdict::NotOffered, "the token does not wrap keys as RFC 3394 says")
                .so("the node's KEKs cannot be given to or taken from another token"),
        ),
    };
    patient.note("unwrap_value_len", word);
    Ok(vec![finding])
}

pub fn vector(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let len = patient.call("C_WrapKey or C_UnwrapKey", probe::unwrap_value_len)?;
    let who = patient.call("C_Encrypt", probe::gcm_iv)?;
    if len == UnwrapValueLen::Unavailable {
        return Ok(vec![found(Verdict::NotOffered, "see AES-KW lengths")]);
    }
    let how = patient.call("C_WrapKey or C_UnwrapKey", |s| selftest::key_wrap(s, who, len))?;
    Ok(vec![tested("RFC 3394, section 4.6", how)])
}

/// What a self-test that passed comes to.
pub fn tested(vector: &str, how: SelfTest) -> Finding {
    match how {
        SelfTest::Vectors => found(Verdict::Ok, vector),
        SelfTest::RoundTrip => found(Verdict::Differs, "the token imports no keys: tested by undoing what it did"),
    }
}

fn wrapping(patient: &Patient<'_>, value: &[u8]) -> Result<ObjectHandle, Fault> {
    let usage =
        [Attribute::Wrap(true), Attribute::Unwrap(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
    patient.imported(KeyType::AES, value, &usage)
}

fn data(patient: &Patient<'_>) -> Result<ObjectHandle, Fault> {
    let usage = [Attribute::Sensitive(true), Attribute::Extractable(true)];
    patient.imported(KeyType::GENERIC_SECRET, &KWP_DATA, &usage)
}

pub fn odd_length(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (key, data) = (wrapping(patient, &[7; 32])?, data(patient)?);
    let wrapped = patient.ask("C_WrapKey", |s| s.wrap_key(&Mechanism::AesKeyWrap, key, data));
    Ok(vec![match wrapped {
        Err(e) => found(Verdict::Ok, format!("20 bytes are refused ({})", Fault::from(e).error)),
        Ok(bytes) => found(Verdict::Differs, format!("20 bytes become {}: zeros are added in silence", bytes.len()))
            .so("nothing for a node, which wraps 32 bytes only; a key of another length comes back longer"),
    }])
}

pub fn kwp(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (key, data) = (wrapping(patient, &KWP_KEY)?, data(patient)?);
    let standard = Mechanism::VendorDefined(kwp_of_the_standard());
    let mut findings = Vec::new();
    for (number, mechanism) in [(KWP, standard), (KEY_WRAP_PAD, Mechanism::AesKeyWrapPad)] {
        let answer = patient.ask("C_WrapKey", |s| s.wrap_key(&mechanism, key, data));
        if answer.is_ok() && findings.iter().all(|f: &Finding| f.verdict.is_bad()) {
            patient.note("kwp_mechanism", number);
        }
        findings.push(kwp_finding(number, answer).optional());
    }
    Ok(findings)
}

fn kwp_finding(number: u64, answer: Result<Vec<u8>, Error>) -> Finding {
    match answer {
        Ok(bytes) if bytes == KWP_WRAPPED => found(Verdict::Ok, format!("{number:#06x}: RFC 5649, section 6")),
        Ok(bytes) => {
            let what = format!("{number:#06x} gives other bytes than RFC 5649 ({} of them)", bytes.len());
            found(Verdict::Differs, what).so("nothing for a node: it does not use KWP for keys of odd length")
        }
        Err(e) => found(Verdict::NotOffered, format!("{number:#06x}: {}", Fault::from(e).error)),
    }
}
