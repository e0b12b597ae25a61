//! AES-256-GCM on the token. A blob that a sealing key sealed is `2 (1) || IV (12) || ciphertext || tag (16)`, one that a KEK
//! sealed is `3 (1) || KEK id (16) || IV (12) || ciphertext || tag (16)`; the ciphertext is that of `digest (32) || plaintext`.
//!
//! The tag is checked inside the token. The digest is checked here: it catches what goes wrong between the token and us,
//! where nobody but the plaintext's user would notice.

use crate::desk::Desk;
use crate::fault::{Class, Fault};
use crate::iv::IV_BYTES;
use crate::keys::Key;
use crate::profile::GcmIv;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use tally_domain::SecretBytes;
use tally_domain::digest::TaggedHash;
use tally_domain::ports::hsm::{HsmError, KeyCheckValue};

/// First byte of what a sealing key sealed.
const SEALED: u8 = 2;

/// First byte of what a KEK sealed.
const WRAPPED: u8 = 3;

const TAG_BYTES: usize = 16;
const TAG_BITS: u64 = 128;
const DIGEST_BYTES: usize = 32;

/// AAD of a check value (docs/adr/0006).
const CHECK_VALUE: &[u8] = b"tally/v1/kcv";

/// What is sealed and opened to learn whether the token works. Not secret.
const PROBE: &[u8] = b"tally/v1/sealing-probe";

/// Encrypts under a fresh IV (S-4.3), and opens what came out before it is relied on.
pub fn seal(desk: &Desk, key: Key, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Fault> {
    desk.with_key(key, |session, handle| {
        let sealed = sealed(desk, session, handle, key, aad, plaintext)?;
        match opened(session, handle, key, aad, &sealed) {
            Ok(back) if back.expose() == plaintext => Ok(sealed),
            Ok(_) => Err(Fault::broken("C_Encrypt", "another ciphertext than asked for")),
            Err(e) if e.class == Class::Input => Err(Fault::broken("C_Encrypt", "a ciphertext that does not open")),
            Err(e) => Err(e),
        }
    })
}

/// Decrypts what [`seal`] gave.
pub fn open(desk: &Desk, key: Key, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, Fault> {
    let in_doubt = |outcome: &Result<_, Fault>| outcome.as_ref().is_err_and(|e: &Fault| e.class == Class::Doubt);
    desk.with_key(key, |session, handle| {
        let first = opened(session, handle, key, aad, sealed);
        // SoftHSM's answer to a wrong tag, and anybody's to a broken token: the same key tells which (S-4.2). Bad data is
        // bad again afterwards; what was an accident of the token is not.
        if !in_doubt(&first) || !probe(desk, session, handle, key)? {
            return first;
        }
        let second = opened(session, handle, key, aad, sealed);
        if in_doubt(&second) { Err(HsmError::Integrity.into()) } else { second }
    })
}

/// Whether the key seals and opens here and now.
pub fn probe(desk: &Desk, session: &Session, handle: ObjectHandle, key: Key) -> Result<bool, Fault> {
    let sealed = sealed(desk, session, handle, key, PROBE, PROBE)?;
    match opened(session, handle, key, PROBE, &sealed) {
        Ok(back) => Ok(back.expose() == PROBE),
        // Nobody gave this data but the token itself.
        Err(e) if e.class == Class::Input => Ok(false),
        Err(e) => Err(e),
    }
}

/// Refuses a token whose keys have no check values.
pub fn must_have_check_values(desk: &Desk) -> Result<(), Fault> {
    match desk.gcm_iv() {
        GcmIv::Caller => Ok(()),
        GcmIv::Token => {
            let what = "the token makes the IVs of AES-GCM by itself: there are no check values, and so no KEKs".into();
            Err(HsmError::Configuration { what }.into())
        }
    }
}

/// A key's check value: the first bytes of the tag over nothing, under an IV that nothing is ever sealed with
/// (docs/adr/0006).
pub fn check_value(desk: &Desk, key: Key) -> Result<KeyCheckValue, Fault> {
    must_have_check_values(desk)?;
    desk.with_key(key, |session, handle| {
        let tag = encrypt(session, handle, &mut [0; IV_BYTES], CHECK_VALUE, &[])?;
        // A wrong one would be believed for as long as the key lives: the token looks at it again.
        decrypt(session, handle, [0; IV_BYTES], CHECK_VALUE, &tag).map_err(|fault| match fault.class {
            Class::Input | Class::Doubt => Fault::broken("C_Encrypt", "a tag that does not check"),
            _ => fault,
        })?;
        match (tag.len(), tag.first_chunk()) {
            (TAG_BYTES, Some(first)) => Ok(KeyCheckValue(*first)),
            _ => Err(Fault::broken("C_Encrypt", "another length than asked for")),
        }
    })
}

fn sealed(
    desk: &Desk,
    session: &Session,
    handle: ObjectHandle,
    key: Key,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Fault> {
    let who = desk.gcm_iv();
    let iv = if who == GcmIv::Caller { desk.fresh_iv(session)? } else { [0; IV_BYTES] };
    let (mut used, digest) = (iv, digest(key, aad, plaintext));
    let framed = SecretBytes::new([&digest, plaintext].concat());
    let encrypted = encrypt(session, handle, &mut used, aad, framed.expose())?;
    // A token that makes the IV has put it in place of ours; another must leave ours alone.
    let as_asked = (used == iv) == (who == GcmIv::Caller);
    if !as_asked || encrypted.len() != framed.len() + TAG_BYTES {
        return Err(Fault::broken("C_Encrypt", "another IV or length than asked for"));
    }
    Ok([header(key).as_slice(), &used, &encrypted].concat())
}

/// Shape first: SoftHSM takes an IV of any length.
fn opened(session: &Session, handle: ObjectHandle, key: Key, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, Fault> {
    let Some(rest) = sealed.strip_prefix(header(key).as_slice()) else { return Err(HsmError::Integrity.into()) };
    let Some((&iv, encrypted)) = rest.split_first_chunk::<IV_BYTES>() else { return Err(HsmError::Integrity.into()) };
    if encrypted.len() < DIGEST_BYTES + TAG_BYTES {
        return Err(HsmError::Integrity.into());
    }
    let framed = decrypt(session, handle, iv, aad, encrypted)?;
    match framed.expose().split_first_chunk::<DIGEST_BYTES>() {
        Some((said, plaintext)) if *said == digest(key, aad, plaintext) => Ok(SecretBytes::new(plaintext.to_vec())),
        _ => Err(Fault::broken("C_Decrypt", "another plaintext than sealed")),
    }
}

/// How what a key sealed begins.
fn header(key: Key) -> Vec<u8> {
    match key {
        Key::Kek(id) => [&[WRAPPED], id.0.as_slice()].concat(),
        Key::Sealing(_) | Key::Identity | Key::Transfer | Key::Signing(..) | Key::Vault(_) => vec![SEALED],
    }
}

fn digest(key: Key, aad: &[u8], plaintext: &[u8]) -> [u8; DIGEST_BYTES] {
    let tagged = match key {
        Key::Kek(id) => TaggedHash::new("tally/v1/wrapped").field(&id.0),
        Key::Sealing(_) | Key::Identity | Key::Transfer | Key::Signing(..) | Key::Vault(_) => {
            TaggedHash::new("tally/v1/sealed")
        }
    };
    tagged.field(aad).field(plaintext).finish().0
}

/// Which of the two makes the IV, seen with `key`.
pub fn who_makes_the_iv(session: &Session, key: ObjectHandle) -> Result<GcmIv, Fault> {
    let mut iv = [0; IV_BYTES];
    encrypt(session, key, &mut iv, PROBE, PROBE)?;
    Ok(if iv == [0; IV_BYTES] { GcmIv::Caller } else { GcmIv::Token })
}

/// Encrypts; `iv` is then the one that was used.
pub fn encrypt(
    session: &Session,
    key: ObjectHandle,
    iv: &mut [u8; IV_BYTES],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Fault> {
    let params = GcmParams::new(iv, aad, TAG_BITS.into())?;
    Ok(session.encrypt(&Mechanism::AesGcm(params), key, plaintext)?)
}

/// Decrypts, if the tag is right.
pub fn decrypt(
    session: &Session,
    key: ObjectHandle,
    mut iv: [u8; IV_BYTES],
    aad: &[u8],
    encrypted: &[u8],
) -> Result<SecretBytes, Fault> {
    let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
    Ok(session.decrypt(&Mechanism::AesGcm(params), key, encrypted).map(SecretBytes::new)?)
}
