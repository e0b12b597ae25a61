//! The form of messages between parties: version, round, a 32-byte binding, then the body. One decoder for all of them.

use crate::fault::{BadMessage, Fault};
use crate::session::SessionId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, PartyIndex};
use zeroize::Zeroizing;

/// Largest message of any protocol here; what peer links must let through (key generation of DKLs23 needs 150 KiB a pair).
pub const MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// Version, round and binding in front of the body.
pub const HEADER_BYTES: usize = 2 + 32;

/// First byte of every message.
const VERSION: u8 = 1;

/// Which machine a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KeygenDkls,
    KeygenFrost,
    OfflineDkls,
    OfflineFrost,
}

impl Kind {
    /// Rounds in which messages are sent.
    pub(crate) fn rounds(self) -> u8 {
        match self {
            Self::KeygenDkls => 3,
            Self::KeygenFrost | Self::OfflineDkls => 2,
            Self::OfflineFrost => 1,
        }
    }

    /// Longest message: what the largest honest one takes, rounded up to a power of two.
    fn message_max_bytes(self) -> usize {
        match self {
            // 256 proofs of the base OT, about 520 bytes each.
            Self::KeygenDkls => MESSAGE_MAX_BYTES,
            // 4 * 416 scalars of OT payload in round 2.
            Self::OfflineDkls => 64 * 1024,
            // 16 coefficient commitments, a Schnorr proof and entropy.
            Self::KeygenFrost => 1024,
            // Two points.
            Self::OfflineFrost => 128,
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::KeygenDkls => 1,
            Self::KeygenFrost => 2,
            Self::OfflineDkls => 3,
            Self::OfflineFrost => 4,
        }
    }
}

/// Where a message belongs: `sid ‖ round ‖ from ‖ to` of S-3.19.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    pub(crate) session: SessionId,
    pub(crate) round: u8,
    pub(crate) from: PartyIndex,
    pub(crate) to: PartyIndex,
}

impl Address {
    fn binding(&self) -> Digest {
        TaggedHash::new("tally/v1/message")
            .field(self.session.as_bytes())
            .number(self.kind.number())
            .number(u64::from(self.round))
            .field(&[self.from.get(), self.to.get()])
            .finish()
    }

    /// The message with `body` for this address.
    pub(crate) fn seal(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&[VERSION, self.round]);
        bytes.extend_from_slice(self.binding().as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Reads the round, before anything else is believed.
pub(crate) fn round_of(kind: Kind, bytes: &[u8]) -> Result<u8, BadMessage> {
    if bytes.len() > kind.message_max_bytes() {
        return Err(BadMessage::Oversized);
    }
    match bytes {
        [VERSION, round, ..] if bytes.len() >= HEADER_BYTES => Ok(*round),
        [VERSION, ..] | [] => Err(BadMessage::Malformed),
        _ => Err(BadMessage::Version),
    }
}

/// The body of a message that is for exactly this address.
pub(crate) fn open(address: &Address, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadMessage> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(BadMessage::Malformed)?;
    if header.ends_with(address.binding().as_bytes()) {
        Ok(Zeroizing::new(body.to_vec()))
    } else {
        Err(BadMessage::OtherSession)
    }
}

/// Encodes into memory that is zeroed when dropped and never grown, so no copy stays behind.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let bug = |_| Fault::Bug { what: "encoding" };
    let size = postcard::ser_flavors::Size::default();
    let size = postcard::serialize_with_flavor::<T, _, usize>(value, size).map_err(bug)?;
    let mut bytes = Zeroizing::new(vec![0; size]);
    postcard::to_slice(value, &mut bytes).map_err(bug)?;
    Ok(bytes)
}

/// Decodes the one canonical encoding of a value: no trailing bytes, no longer form of a number or point (S-3.21).
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let canonical = encode(&value).ok()?;
    (rest.is_empty() && canonical.as_slice() == bytes).then_some(value)
}
