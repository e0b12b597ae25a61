//! The HSM port: the node's identity, sealing of shares, keys that sign in the token, and keys that wrap other keys.

mod kek;
mod vault;

pub use kek::*;
pub use vault::*;

use super::Pending;
use crate::digest::TaggedHash;
use crate::dsse::VerifyingKey;
use crate::ids::{Epoch, KeyName, RequestId};
use crate::scheme::HsmScheme;
use crate::secret::SecretBytes;
use crate::spki::PublicKey;

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

/// Which signing key of the token (`CKA_ID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId(pub [u8; 16]);

impl ObjectId {
    /// The signing key of one creation of one key. The request is in it: a creation that is tried again finds what its
    /// first try made, and never what another request made.
    pub fn of(key: &KeyName, request: &RequestId) -> Self {
        let d = TaggedHash::new("tally/v1/signing-key").field(key.as_str().as_bytes()).field(&request.0).finish();
        let mut id = [0; 16];
        id.iter_mut().zip(d.0).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

/// A node's own token.
pub trait Hsm: VaultHsm + Send + Sync {
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

    /// Makes a signing key that never leaves the token, or finds the one that an earlier try made under this id; gives its
    /// public half, after the private half has signed for it.
    fn create_signing_key(&self, id: ObjectId, scheme: HsmScheme) -> Pending<Result<PublicKey, HsmError>>;

    /// Signs: the 32-byte digest by ECDSA and RSA, the message by Ed25519. ECDSA: r and s, 64 bytes, low s; Ed25519: 64
    /// bytes; RSA: PSS with SHA-256 and a salt of 32 bytes. The caller verifies it before it goes any further.
    fn sign(&self, id: ObjectId, scheme: HsmScheme, to_sign: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Makes a KEK (AES-256, encrypts and decrypts by GCM and has no other use) that never leaves the node's tokens. Only the
    /// primary token makes KEKs. Whoever asks again, because the outcome is not known, draws another id.
    fn create_kek(&self, id: KekId) -> Pending<Result<KekMade, HsmError>>;

    /// Gives the standby token a KEK that the primary made; the same again changes nothing. Gives the check value that the
    /// standby finds, for the caller to compare.
    fn replicate_kek(&self, id: KekId, transfer: Vec<u8>) -> Pending<Result<KeyCheckValue, HsmError>>;

    /// Draws a data key of so many bytes in the token and seals it.
    fn generate_data_key(&self, bytes: usize, under: Seal) -> Pending<Result<DataKey, HsmError>>;

    /// Encrypts under a KEK and binds to the AAD.
    fn wrap(&self, under: Seal, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Decrypts what [`Hsm::wrap`] or [`Hsm::generate_data_key`] sealed, by this or the other token of the node, if the AAD
    /// is the same and no byte has changed; [`HsmError::Integrity`] otherwise.
    fn unwrap(&self, under: Seal, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>>;

    /// Decrypts under one KEK and encrypts under another; what is inside is given to nobody.
    fn rewrap(&self, from: Seal, sealed: Vec<u8>, to: Seal) -> Pending<Result<Vec<u8>, HsmError>>;

    /// Destroys a KEK on every token of the node; what it sealed is gone. One that is not there is destroyed.
    fn destroy_kek(&self, id: KekId) -> Pending<Result<(), HsmError>>;

    /// How the token is, after trying it. Answers in any case.
    fn status(&self) -> Pending<HsmStatus>;
}

/// How a token is.
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
    /// The token's hardware version as the token says.
    pub hardware: String,
    /// The token's firmware version as the token says.
    pub firmware: String,
    /// The version of PKCS#11 that the module says it speaks.
    pub cryptoki: String,
    /// Where the module runs.
    pub isolation: Isolation,
    /// The number of the module's process, if it has one of its own that runs.
    pub process: Option<u32>,
    /// How often the module's process has been replaced since the start of the node.
    pub restarts: u32,
    /// What is known of this kind of token, in one line.
    pub capabilities: String,
    /// Workers that can take work.
    pub sessions: u32,
    /// Workers that a call into the module has not given back.
    pub hung: u32,
    /// Operations that wait for a worker.
    pub queued: u32,
    /// Whether operations reach the token.
    pub breaker: BreakerState,
    /// What the token says of the PIN.
    pub pin: PinState,
    /// What the identity key answered when it was tried just now: nothing, if it signed.
    pub fault: Option<HsmError>,
    /// How long ago the identity key last signed, in milliseconds.
    pub proven_ms_ago: Option<u64>,
    /// How long operations that succeeded took, those that have been asked for.
    pub latencies: Vec<Latency>,
    /// How the node's other token is, if it has one.
    pub standby: Option<Box<HsmStatus>>,
}

/// Where a PKCS#11 module runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// In the node's own process: if it crashes, the node does.
    Thread,
    /// In a process of its own, which is killed and replaced when the module crashes or hangs.
    Process,
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread => "thread",
            Self::Process => "process",
        })
    }
}

/// Whether operations reach a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// They do.
    Closed,
    /// They fail at once, until the token has been tried again.
    Open,
    /// The token is being tried again.
    HalfOpen,
}

impl std::fmt::Display for BreakerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// What a token says of its user PIN. The worst that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// Nothing to say.
    Good,
    /// Somebody has tried a wrong PIN since the last right one (`CKF_USER_PIN_COUNT_LOW`).
    CountLow,
    /// One more wrong PIN locks the token (`CKF_USER_PIN_FINAL_TRY`).
    FinalTry,
    /// The token refused our PIN; we do not try again.
    Refused,
    /// The token is locked (`CKF_USER_PIN_LOCKED`).
    Locked,
}

impl std::fmt::Display for PinState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::CountLow => "count low",
            Self::FinalTry => "final try",
            Self::Refused => "refused",
            Self::Locked => "locked",
        })
    }
}

/// How long an operation takes at the token, over the most recent ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// Which.
    pub operation: &'static str,
    /// How often it has succeeded since the start.
    pub count: u64,
    /// The half is faster, in microseconds.
    pub p50_us: u64,
    /// All but one in a hundred are faster, in microseconds.
    pub p99_us: u64,
}

/// What went wrong at the token, split by who has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// The token has no such kind of key.
    #[error("the token does not offer {what}")]
    NotOffered {
        /// Which kind.
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
    /// No answer in time. If it had not been started it never will be, and may be asked for again; if it had, its outcome
    /// is unknown.
    #[error("the token did not answer {operation} in time ({})", if *.started { "outcome unknown" } else { "not started" })]
    Deadline {
        /// What was asked.
        operation: &'static str,
        /// Whether the token had been asked.
        started: bool,
    },
    /// Not asked: the token has failed too often, or hangs in too many calls. It is tried again in the background.
    #[error("the token is down: {why}")]
    Down {
        /// What is wrong.
        why: String,
    },
    /// More work queued than allowed.
    #[error("the token's queue is full")]
    Busy,
}
