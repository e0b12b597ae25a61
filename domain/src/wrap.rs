//! What a client asks of a KEK: to draw a data key, to wrap one, to open it again, or to wrap it anew.

mod blob;
mod context;

pub use blob::{BLOB_MAX_BYTES, BadBlob, WrapLabel, WrappedKey};
pub use context::{BadContext, CONTEXT_KEY_MAX_BYTES, CONTEXT_PAIRS_MAX, CONTEXT_VALUE_MAX_BYTES, EncryptionContext};

use crate::digest::{Digest, TaggedHash};
use crate::intent::{Action, BadIntent, decode_canonical};
use crate::kek::KekNumber;
use context::Pair;
use prost::Message as _;

/// Lengths of a data key that the token draws: from AES-128 to a key for HMAC-SHA-512 or AES-256-XTS.
pub const DATA_KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Most bytes that are wrapped as they are given, as in cloud key services: a key, and not the data itself.
pub const PLAINTEXT_MAX_BYTES: usize = 4_096;

/// Bytes of the salt in a commitment: as strong as the hash.
pub const SALT_BYTES: usize = 32;

/// Which of the four it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WrapKind {
    /// Draw a data key.
    GenerateDataKey,
    /// Wrap what the client has.
    Wrap,
    /// Open what was wrapped.
    Unwrap,
    /// Open it and wrap it anew, and show it to nobody.
    Rewrap,
}

impl WrapKind {
    /// The name in policy, logs and commands.
    pub fn as_str(self) -> &'static str {
        self.action().as_str()
    }

    /// The intent's action.
    pub fn action(self) -> Action {
        match self {
            Self::GenerateDataKey => Action::GenerateDataKey,
            Self::Wrap => Action::Wrap,
            Self::Unwrap => Action::Unwrap,
            Self::Rewrap => Action::Rewrap,
        }
    }

    /// The kind for an intent's action, if it is one of the four.
    pub fn of(action: Action) -> Option<Self> {
        [Self::GenerateDataKey, Self::Wrap, Self::Unwrap, Self::Rewrap].into_iter().find(|k| k.action() == action)
    }
}

/// What a client asks for: the content of an intent. It holds nothing secret: a plaintext is in it as a commitment, and
/// travels beside the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapSpec {
    /// What the wrapped data is bound to, and must be opened with.
    pub context: EncryptionContext,
    /// What to do.
    pub call: WrapCall,
}

/// What to do. A version is the one to wrap with; without it the newest that is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrapCall {
    /// Draw a data key.
    GenerateDataKey {
        /// Of how many bytes; see [`DATA_KEY_BYTES`].
        bytes: usize,
        /// Whether the client wants to see it.
        plaintext: bool,
        /// With which version.
        version: Option<KekNumber>,
    },
    /// Wrap what travels beside the intent.
    Wrap {
        /// [`commitment`] of it.
        commitment: Digest,
        /// With which version.
        version: Option<KekNumber>,
    },
    /// Open what travels beside the intent.
    Unwrap {
        /// SHA-256 of it.
        blob: Digest,
    },
    /// Open what travels beside the intent and wrap it anew.
    Rewrap {
        /// SHA-256 of it.
        blob: Digest,
        /// With which version.
        version: Option<KekNumber>,
    },
}

impl WrapCall {
    /// Which of the four it is.
    pub fn kind(&self) -> WrapKind {
        match self {
            Self::GenerateDataKey { .. } => WrapKind::GenerateDataKey,
            Self::Wrap { .. } => WrapKind::Wrap,
            Self::Unwrap { .. } => WrapKind::Unwrap,
            Self::Rewrap { .. } => WrapKind::Rewrap,
        }
    }
}

/// Binds an intent to a plaintext without saying anything about it, however few values it may have: the salt is random
/// and is shown to the node only.
pub fn commitment(salt: &[u8; SALT_BYTES], plaintext: &[u8]) -> Digest {
    TaggedHash::new("tally/v1/wrap-plaintext").field(salt).field(plaintext).finish()
}

/// [`WrapSpec`] as protobuf; field numbers are those of `WrapSpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(message, repeated, tag = "1")]
    context: Vec<Pair>,
    #[prost(uint32, tag = "2")]
    call: u32,
    #[prost(uint32, tag = "3")]
    version: u32,
    #[prost(uint32, tag = "4")]
    bytes: u32,
    #[prost(bool, tag = "5")]
    plaintext: bool,
    #[prost(bytes = "vec", tag = "6")]
    digest: Vec<u8>,
}

impl WrapSpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let number = |version: &Option<KekNumber>| version.map_or(0, |v| v.0);
        let (version, bytes, plaintext, digest) = match &self.call {
            WrapCall::GenerateDataKey { bytes, plaintext, version } => {
                (number(version), u32::try_from(*bytes).unwrap_or(u32::MAX), *plaintext, Vec::new())
            }
            WrapCall::Wrap { commitment: digest, version } | WrapCall::Rewrap { blob: digest, version } => {
                (number(version), 0, false, digest.0.to_vec())
            }
            WrapCall::Unwrap { blob } => (0, 0, false, blob.0.to_vec()),
        };
        let call = self.call.kind().action().number();
        Body { context: self.context.to_pairs(), call, version, bytes, plaintext, digest }.encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let spec = Self::from_body(&body)?;
        // Whatever a call has no use for must not be there.
        if spec.to_bytes() == bytes { Ok(spec) } else { Err(BadIntent::NotCanonical) }
    }

    fn from_body(b: &Body) -> Result<Self, BadIntent> {
        let field = |field| BadIntent::Field { field };
        let version = (b.version != 0).then_some(KekNumber(b.version));
        let digest = || Digest::from_slice(&b.digest).ok_or(field("digest"));
        let kind = Action::from_number(b.call).and_then(WrapKind::of).ok_or(field("call"))?;
        let call = match kind {
            WrapKind::GenerateDataKey => {
                let bytes = usize::try_from(b.bytes).unwrap_or(usize::MAX);
                if !DATA_KEY_BYTES.contains(&bytes) {
                    return Err(field("bytes"));
                }
                WrapCall::GenerateDataKey { bytes, plaintext: b.plaintext, version }
            }
            WrapKind::Wrap => WrapCall::Wrap { commitment: digest()?, version },
            WrapKind::Unwrap => WrapCall::Unwrap { blob: digest()? },
            WrapKind::Rewrap => WrapCall::Rewrap { blob: digest()?, version },
        };
        Ok(Self { context: EncryptionContext::from_ordered(&b.context).ok_or(field("context"))?, call })
    }
}

/// What rules are asked about one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapFacts<'a> {
    /// Which call.
    pub kind: WrapKind,
    /// What the data is bound to.
    pub context: &'a EncryptionContext,
    /// Length of what is or will be wrapped.
    pub bytes: usize,
    /// Whether the client is shown a plaintext.
    pub plaintext: bool,
    /// The version that wraps; to unwrap, the one that has wrapped.
    pub version: KekNumber,
}
