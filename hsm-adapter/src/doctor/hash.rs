//! HMAC-SHA-256, which a node does not use yet.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType};

/// RFC 4231, test case 6: a key that is longer than a block.
const KEY: [u8; 131] = [0xaa; 131];
const DATA: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
const MAC: [u8; 32] = [
    0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6,
    0x21, 0x37, 0x28, 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54,
];

/// RFC 4231, test case 2: a key of four bytes.
const SHORT_KEY: &[u8] = b"Jefe";

pub fn hmac(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let usage = [Attribute::Sign(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
    let key = patient.imported(KeyType::GENERIC_SECRET, &KEY, &usage)?;
    let mac = patient.call("C_Sign", |s| s.sign(&Mechanism::Sha256Hmac, key, DATA))?;
    if mac != MAC {
        return Ok(vec![found(Verdict::Wrong, "not the answer of RFC 4231, test case 6")]);
    }
    let short = patient
        .imported(KeyType::GENERIC_SECRET, SHORT_KEY, &usage)
        .and_then(|key| patient.call("C_Sign", |s| s.sign(&Mechanism::Sha256Hmac, key, DATA)));
    let what = "RFC 4231, test case 6";
    Ok(vec![match short {
        Ok(_) => found(Verdict::Ok, what),
        Err(refused) => found(Verdict::Differs, format!("{what}; a key of 4 bytes is refused ({})", refused.error)),
    }])
}
