//! What passes between a node and the process that its PKCS#11 module runs in: frames, over a pair of connected sockets.
//!
//! A frame is `length (4, little endian) || id (8, little endian) || body`; the length counts id and body. Answers carry the
//! id of what they answer and come in any order. A frame that does not read ends the connection.

mod answer;
mod ask;
mod fault;
mod part;
mod status;
mod vault;

pub use answer::{Answer, Carried, Pulse, outcome};
pub use ask::{Ask, Chosen, Hello, Opening};
pub use fault::WireError;
pub use part::Part;
pub use vault::{Made, VaultAsk};

use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use zeroize::Zeroizing;

/// Longest frame: the largest message that a client may have signed (1 MiB with Bitcoin's previous transactions), twice.
pub const FRAME_MAX_BYTES: usize = 2 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 8;

/// A frame, or the body of one. May hold secrets.
pub type Frame = Zeroizing<Vec<u8>>;

/// What the other side sent is not what it may send.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame that does not read")]
pub struct Malformed;

/// Bytes inside of a message. Borrowed, so that a secret is in the frame and nowhere else.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

/// A frame with this body; nothing if it would be too long.
pub fn frame(id: u64, body: &impl Serialize) -> Option<Frame> {
    let size = postcard::experimental::serialized_size(body).ok()?;
    let length = size.checked_add(ID_BYTES).filter(|length| *length <= FRAME_MAX_BYTES)?;
    // Made at its full length: one that grows leaves copies behind.
    let mut frame = Zeroizing::new(vec![0; LENGTH_BYTES + length]);
    let (head, rest) = frame.split_first_chunk_mut::<LENGTH_BYTES>()?;
    *head = u32::try_from(length).ok()?.to_le_bytes();
    let (head, rest) = rest.split_first_chunk_mut::<ID_BYTES>()?;
    *head = id.to_le_bytes();
    postcard::to_slice(body, rest).ok()?;
    Some(frame)
}

/// The next frame's id and body; nothing when the other side has ended between two frames.
pub fn read(from: &mut impl Read) -> std::io::Result<Option<(u64, Frame)>> {
    let (mut length, mut id) = ([0; LENGTH_BYTES], [0; ID_BYTES]);
    match from.read(&mut length) {
        Ok(0) => return Ok(None),
        Ok(n) => from.read_exact(length.get_mut(n..).unwrap_or_default())?,
        Err(e) if e.kind() == ErrorKind::Interrupted => return read(from),
        Err(e) => return Err(e),
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    let body = length.checked_sub(ID_BYTES).filter(|_| length <= FRAME_MAX_BYTES);
    let Some(body) = body else { return Err(std::io::Error::new(ErrorKind::InvalidData, Malformed)) };
    from.read_exact(&mut id)?;
    let mut frame = Zeroizing::new(vec![0; body]);
    from.read_exact(&mut frame)?;
    Ok(Some((u64::from_le_bytes(id), frame)))
}

/// Reads a body to its end.
pub fn body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((body, [])) => Ok(body),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests;
