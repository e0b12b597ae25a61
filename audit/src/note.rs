//! C2SP signed notes (c2sp.org/signed-note): text, an empty line, one signature line.
//!
//! Read strictly: exactly one signature, by the expected key under the expected name. The specification lets readers
//! skip signatures of keys that they do not know; here such a line makes the note invalid, so that no byte of a note
//! can be changed unseen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tally_domain::dsse::VerifyingKey;

/// Largest note. The text of a checkpoint is three lines whose longest is the origin, two names of 64 bytes.
pub const NOTE_MAX_BYTES: usize = 1024;

/// Signature type of Ed25519.
const TYPE_ED25519: &[u8] = &[0x01];

/// Signature type of ECDSA P-256 with SHA-256, r and s: 0xff marks a type without a number, spelt out behind it.
const TYPE_P256: &[u8] = b"\xfftally/ecdsa-p256-sha256";

/// Why a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNote {
    /// Larger than [`NOTE_MAX_BYTES`].
    #[error("the note is larger than {} bytes", NOTE_MAX_BYTES)]
    Oversized,
    /// Not text, an empty line and exactly one signature line.
    #[error("the note is not text, an empty line and one signature line `— NAME BASE64`")]
    Form,
    /// Signed under another name or with another key.
    #[error("the note is signed with another key than the expected one")]
    OtherKey,
    /// The signature does not verify.
    #[error("the note's signature does not verify")]
    Signature,
    /// The text is not origin, size and root in their one form.
    #[error("the note's text is not a checkpoint: origin, size in decimal, root in base64, one a line")]
    Checkpoint,
    /// The checkpoint of another log.
    #[error("the checkpoint is of another log than the expected one")]
    OtherLog,
}

/// First four bytes of SHA-256(name || 0x0A || type || public key): tells which key signed.
pub fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name).chain_update([b'\n']);
    let hash = match key {
        VerifyingKey::Ed25519(k) => hash.chain_update(TYPE_ED25519).chain_update(k.as_bytes()),
        VerifyingKey::P256(k) => hash.chain_update(TYPE_P256).chain_update(k.to_sec1_point(true).as_bytes()),
    };
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    [a, b, c, d]
}

/// Puts a signature over `text` under it. `text` ends with a newline; the signature is over exactly its bytes.
pub fn assemble(text: &str, name: &str, key: &VerifyingKey, signature: &[u8]) -> String {
    let mut blob = key_id(name, key).to_vec();
    blob.extend_from_slice(signature);
    format!("{text}\n— {name} {}\n", STANDARD.encode(blob))
}

/// Checks the one signature; gives the text, with its last newline.
///
/// # Errors
/// [`BadNote`].
pub fn open<'a>(note: &'a str, name: &str, key: &VerifyingKey) -> Result<&'a str, BadNote> {
    if note.len() > NOTE_MAX_BYTES {
        return Err(BadNote::Oversized);
    }
    if note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(BadNote::Form);
    }
    let (text, line) = note.rsplit_once("\n\n").ok_or(BadNote::Form)?;
    let text = note.get(..=text.len()).ok_or(BadNote::Form)?;
    let line = line.strip_suffix('\n').and_then(|l| l.strip_prefix("— ")).ok_or(BadNote::Form)?;
    let (signer, blob) = line.split_once(' ').ok_or(BadNote::Form)?;
    // The standard engine refuses missing padding and stray bits, so a signature has one spelling.
    let blob = STANDARD.decode(blob).map_err(|_| BadNote::Form)?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or(BadNote::Form)?;
    if signer != name || *id != key_id(name, key) {
        return Err(BadNote::OtherKey);
    }
    key.verify(text.as_bytes(), signature).map_err(|_| BadNote::Signature)?;
    Ok(text)
}
