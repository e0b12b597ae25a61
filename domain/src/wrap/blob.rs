//! Wrapped data as clients keep it: it names the KEK and the version that can open it, and so can be opened years later.

use super::{EncryptionContext, PLAINTEXT_MAX_BYTES};
use crate::digest::{Digest, TaggedHash};
use crate::ids::{ClusterId, KeyName, NAME_MAX_BYTES, Tenant};
use crate::kek::KekNumber;
use crate::ports::hsm::KekId;

/// The first bytes: what it is, and in which format.
const MAGIC: [u8; 5] = *b"tlyw\x01";

/// What a token adds to a plaintext at most: format, KEK id, IV and tag, with room for another token's ways.
const SEALED_OVERHEAD_MAX_BYTES: usize = 128;

/// Largest wrapped data: of the largest plaintext, under the longest name.
pub const BLOB_MAX_BYTES: usize =
    MAGIC.len() + 1 + NAME_MAX_BYTES + 4 + 16 + 2 + PLAINTEXT_MAX_BYTES + SEALED_OVERHEAD_MAX_BYTES;

/// Wrapped data, taken apart. Nothing in it has been checked yet: opening it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// What opens it, and how long it is.
    pub label: WrapLabel,
    /// What the token sealed.
    pub sealed: Vec<u8>,
}

/// What wrapped data says of itself. The token binds what it seals to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapLabel {
    /// The KEK's name.
    pub kek: KeyName,
    /// Which of its versions.
    pub number: KekNumber,
    /// The version's key on the token.
    pub id: KekId,
    /// Length of the plaintext, in bytes.
    pub bytes: u16,
}

/// Bytes that are no wrapped data of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no wrapped data of this service")]
pub struct BadBlob;

impl WrappedKey {
    /// Magic and format, length and bytes of the KEK's name, version as four big-endian bytes, KEK id, length of the
    /// plaintext as two, what was sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let WrapLabel { kek, number, id, bytes } = &self.label;
        let name = kek.as_str().as_bytes();
        let mut out = MAGIC.to_vec();
        // A name has at most 64 bytes.
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name);
        out.extend_from_slice(&number.0.to_be_bytes());
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend_from_slice(&self.sealed);
        out
    }

    /// Takes wrapped data apart.
    ///
    /// # Errors
    /// [`BadBlob`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadBlob> {
        if bytes.len() > BLOB_MAX_BYTES {
            return Err(BadBlob);
        }
        let rest = bytes.strip_prefix(&MAGIC).ok_or(BadBlob)?;
        let (length, rest) = rest.split_first().ok_or(BadBlob)?;
        let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or(BadBlob)?;
        let (number, rest) = rest.split_first_chunk::<4>().ok_or(BadBlob)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or(BadBlob)?;
        let (plain, sealed) = rest.split_first_chunk::<2>().ok_or(BadBlob)?;
        let name = std::str::from_utf8(name).map_err(|_| BadBlob)?;
        let label = WrapLabel {
            kek: KeyName::parse(name).map_err(|_| BadBlob)?,
            number: KekNumber(u32::from_be_bytes(*number)),
            id: KekId(*id),
            bytes: u16::from_be_bytes(*plain),
        };
        Ok(Self { label, sealed: sealed.to_vec() })
    }
}

impl WrapLabel {
    /// What the token binds sealed bytes to: whose they are, what they say of themselves, and the client's own context. A
    /// token that opens them has checked all of it.
    pub fn aad(&self, cluster: &ClusterId, tenant: &Tenant, context: &EncryptionContext) -> Digest {
        let head = TaggedHash::new("tally/v1/wrapped-key")
            .field(cluster.as_str().as_bytes())
            .field(tenant.as_str().as_bytes())
            .field(self.kek.as_str().as_bytes())
            .number(u64::from(self.number.0))
            .field(&self.id.0)
            .number(u64::from(self.bytes));
        let pairs = context.pairs();
        pairs.fold(head, |hash, (key, value)| hash.field(key.as_bytes()).field(value.as_bytes())).finish()
    }
}
