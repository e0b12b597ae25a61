//! AES-256-GCM on the token. A sealed blob is `version (1) || IV (12) || ciphertext || tag (16)`.

use crate::fault::{Fault, device, fault};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::HsmError;

const VERSION: u8 = 1;
const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TAG_BITS: u64 = 128;

/// What is sealed and opened to learn whether the token works. Not secret.
const PROBE: &[u8] = b"tally/v1/sealing-probe";

/// Encrypts under a fresh IV from the token (S-4.3).
pub fn seal(session: &Session, key: ObjectHandle, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut iv = [0; IV_BYTES];
    session.generate_random_slice(&mut iv).map_err(|e| fault("C_GenerateRandom", &e))?;
    let drawn = iv;
    let encrypted = encrypt(session, key, &mut iv, aad, plaintext)?;
    // A token may put an IV of its own in place of ours; then ours would not open what it made.
    if iv != drawn || encrypted.len() != plaintext.len() + TAG_BYTES {
        let code = "another IV or length than asked for".into();
        return Err(HsmError::Device { operation: "C_Encrypt", code }.into());
    }
    Ok([&[VERSION], drawn.as_slice(), &encrypted].concat())
}

/// Decrypts what [`seal`] gave. Shape first: SoftHSM takes an IV of any length.
pub fn open(session: &Session, key: ObjectHandle, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, Fault> {
    let Some((&[VERSION], rest)) = sealed.split_first_chunk::<1>() else { return Err(HsmError::Integrity.into()) };
    let Some((&iv, encrypted)) = rest.split_first_chunk::<IV_BYTES>() else { return Err(HsmError::Integrity.into()) };
    if encrypted.len() < TAG_BYTES {
        return Err(HsmError::Integrity.into());
    }
    match decrypt(session, key, iv, aad, encrypted) {
        Ok(plaintext) if plaintext.len() + TAG_BYTES == encrypted.len() => Ok(plaintext),
        Ok(_) => Err(HsmError::Device { operation: "C_Decrypt", code: "another length than sealed".into() }.into()),
        Err(Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange, _)) => {
            Err(HsmError::Integrity.into())
        }
        // SoftHSM's answer to a wrong tag, and anybody's to a broken token.
        Err(e @ Error::Pkcs11(RvError::GeneralError, _)) => {
            if probe(session, key)? {
                Err(HsmError::Integrity.into())
            } else {
                Err(device("C_Decrypt", &e).into())
            }
        }
        Err(e) => Err(fault("C_Decrypt", &e)),
    }
}

/// Whether the key seals and opens here and now.
fn probe(session: &Session, key: ObjectHandle) -> Result<bool, Fault> {
    let mut iv = [0; IV_BYTES];
    session.generate_random_slice(&mut iv).map_err(|e| fault("C_GenerateRandom", &e))?;
    let encrypted = encrypt(session, key, &mut iv, PROBE, PROBE)?;
    let back = decrypt(session, key, iv, PROBE, &encrypted).map_err(|e| fault("C_Decrypt", &e))?;
    Ok(back.expose() == PROBE)
}

fn encrypt(
    session: &Session,
    key: ObjectHandle,
    iv: &mut [u8; IV_BYTES],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Fault> {
    let params = GcmParams::new(iv, aad, TAG_BITS.into()).map_err(|e| fault("C_EncryptInit", &e))?;
    session.encrypt(&Mechanism::AesGcm(params), key, plaintext).map_err(|e| fault("C_Encrypt", &e))
}

fn decrypt(
    session: &Session,
    key: ObjectHandle,
    mut iv: [u8; IV_BYTES],
    aad: &[u8],
    encrypted: &[u8],
) -> Result<SecretBytes, Error> {
    let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
    session.decrypt(&Mechanism::AesGcm(params), key, encrypted).map(SecretBytes::new)
}
