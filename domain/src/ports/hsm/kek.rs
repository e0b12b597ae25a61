//! Key-encryption keys (KEKs): what wraps other keys and never leaves the token.

use crate::secret::SecretBytes;

/// Which KEK of the token (`CKA_ID`). Drawn for each creation, so that one that was tried again, or whose outcome is not
/// known, makes another object: two creations never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekId(pub [u8; 16]);

/// Tells whether two tokens, or a token and a written record, hold the same KEK. Says nothing useful about the key: see
/// docs/adr/0006 for how it is computed and why not as by ANSI X9.24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCheckValue(pub [u8; 3]);

impl std::fmt::Display for KeyCheckValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// What the token has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekMade {
    /// Its check value.
    pub check_value: KeyCheckValue,
    /// The KEK under the transfer key that the node's two tokens share (AES-KW, RFC 3394), where there are two:
    /// [`super::Hsm::replicate_kek`] takes it. Without it the KEK stays on the token that made it, for ever.
    pub transfer: Option<Vec<u8>>,
}

/// Where something is sealed: the KEK, and what the sealed bytes are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The KEK.
    pub kek: KekId,
    /// Additional authenticated data.
    pub aad: Vec<u8>,
}

/// A data key that was just made: its bytes, and the same under a KEK.
pub struct DataKey {
    /// The key.
    pub plaintext: SecretBytes,
    /// The key, sealed.
    pub sealed: Vec<u8>,
}
