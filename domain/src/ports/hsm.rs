//! The HSM port: the node's identity, and sealing of shares.

use super::Pending;
use crate::digest::TaggedHash;
use crate::dsse::VerifyingKey;
use crate::ids::{Epoch, KeyName, RequestId};
use crate::secret::SecretBytes;

/// Which sealing key: one for each (key, epoch), found on the token by this id (`CKA_ID`). Destroying it shreds the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingKeyId(pub [u8; 16]);

impl SealingKeyId {
    /// The sealing key of one creation of one key. The request is in it, so that a failed creation leaves nothing to collide with.
    pub fn of(key: &KeyName, epoch: Epoch, request: &RequestId) -> Self {
        let d = TaggedHash::new("tally/v1/sealing-key")
            .field(key.as_str().as_bytes())
            .number(u64::from(epoch.0))
            .field(&request.0)
            .finish();
        let mut id = [0; 16];
        id.iter_mut().zip(d.0).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

/// A node's own token.
pub trait Hsm: Send + Sync {
    /// Public half of the identity key.
    fn identity(&self) -> VerifyingKey;

    /// Signs with the identity key (Ed25519 over the message as it is).
    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Makes a sealing key that never leaves the token. Making one that exists is an error.
    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>>;

    /// Encrypts and binds to `aad`.
    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Decrypts what [`Hsm::seal`] gave, if `aad` is the same and no byte has changed.
    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>>;

    /// Destroys a sealing key; what it sealed is gone.
    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>>;

    /// Whether the token answers; what and where it is.
    fn status(&self) -> Pending<Result<HsmStatus, HsmError>>;
}

/// What and where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmStatus {
    /// Path of the PKCS#11 module.
    pub module: String,
    /// Manufacturer and model as the token says.
    pub model: String,
    /// Token label.
    pub label: String,
    /// Token serial number.
    pub serial: String,
    /// Worker sessions open.
    pub sessions: u32,
}

/// What went wrong at the token, split by who has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The sealed bytes or what they are bound to are not what was sealed.
    #[error("the sealed data does not check: it was changed, or belongs elsewhere")]
    Integrity,
    /// No such key on the token.
    #[error("the token has no {what}; it may be another token, or the key was destroyed")]
    KeyNotFound {
        /// Which key.
        what: String,
    },
    /// There is one already.
    #[error("the token already has a {what}")]
    KeyExists {
        /// Which key.
        what: String,
    },
    /// Module, token or PIN are not as configured. Needs an operator; is not retried.
    #[error("{what}")]
    Configuration {
        /// What is wrong and what to do, without secrets.
        what: String,
    },
    /// The PIN was refused once; the adapter does not try again, because a token locks after a few tries.
    #[error("the token refused the PIN; check the PIN file and restart the node (it will not try again by itself)")]
    PinRefused,
    /// The token or its session is gone, or answers with a device error.
    #[error("the token does not work: {operation} failed with {code}")]
    Device {
        /// What was asked.
        operation: &'static str,
        /// The PKCS#11 return code's name.
        code: String,
    },
    /// No answer in time.
    #[error("the token did not answer {operation} in time")]
    Deadline {
        /// What was asked.
        operation: &'static str,
    },
    /// More work queued than allowed.
    #[error("the token's queue is full")]
    Busy,
}
