//! What token domains ask of the token: fingerprints, always; and in strict domains the encryption of card numbers.
//!
//! All that is done often takes many rows at once: one call, one place in the queue, one key.

use super::super::Pending;
use super::{HsmError, KekId};
use crate::secret::SecretBytes;
use crate::token::Fingerprint;

/// Rows in one call: a network HSM answers about a thousand a second, and one call must end within its deadline.
pub const ROWS_MAX: usize = 256;

/// Which blind-index key of the token (`CKA_ID`); drawn for each creation, like a [`KekId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexKeyId(pub [u8; 16]);

/// A key of a token domain that only the node's tokens ever have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VaultKey {
    /// Wraps and unwraps data keys that stay in the token (KEK-W), and has no other use: AES-KW, RFC 3394.
    Wrapping(KekId),
    /// Authenticates card numbers, and has no other use: HMAC-SHA-256.
    Index(IndexKeyId),
}

/// A data key that only a token can unwrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictKey {
    /// The KEK-W.
    pub kek: KekId,
    /// The data key under it.
    pub wrapped: Vec<u8>,
}

/// What is to be sealed.
pub struct PlainRow {
    /// Additional authenticated data.
    pub aad: Vec<u8>,
    /// The card number.
    pub plaintext: SecretBytes,
}

/// What was sealed by AES-256-GCM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSeal {
    /// The IV.
    pub iv: [u8; 12],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// What is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Additional authenticated data.
    pub aad: Vec<u8>,
    /// What was sealed.
    pub seal: RowSeal,
}

/// What of a token serves the vault of card numbers. Calls with more than [`ROWS_MAX`] rows are refused.
pub trait VaultHsm {
    /// Makes a key. Whoever asks again, because the outcome is not known, draws another id. Where the node has two tokens it
    /// gives the key under the transfer key that they share, for [`VaultHsm::replicate_vault_key`]; else the key never leaves.
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<Option<Vec<u8>>, HsmError>>;

    /// Gives the standby token a key that the primary has made. One that is there already stays.
    fn replicate_vault_key(&self, key: VaultKey, transfer: Vec<u8>) -> Pending<Result<(), HsmError>>;

    /// Destroys a key on every token. One that is not there is destroyed. With a KEK-W go the data keys that were unwrapped.
    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>>;

    /// HMAC-SHA-256 of each input under a blind-index key.
    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>>;

    /// Draws a data key in the token and wraps it; itself it is gone then.
    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Unwraps a data key in the token and wraps it with another KEK-W.
    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Encrypts each row in the token.
    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>>;

    /// Decrypts each row in the token; nothing in place of one that was changed or is bound to something else.
    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>>;

    /// Has every token forget all data keys that it has unwrapped.
    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>>;
}
