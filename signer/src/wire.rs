//! Session messages between members: a version byte, then postcard. gRPC carries them as opaque bytes.

use tally_domain::Digest;

/// Version of the session messages; another one is refused.
const VERSION: u8 = 1;

/// What members say to each other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Message {
    /// Fresh randomness of this session, and what the sender believes the session is for: whoever differs is seen
    /// before any arithmetic.
    Hello { nonce: [u8; 32], about: [u8; 32] },
    /// A message of the threshold protocol. `echo` is the hash of all hellos as the sender received them: if one
    /// member told different members different things, it shows here (S-3.17).
    Protocol { echo: [u8; 32], bytes: Vec<u8> },
    /// An encoded statement: a vote, or a key record's signature.
    Statement(Vec<u8>),
    /// A released partial signature.
    Partial(Vec<u8>),
    /// The sender has left, with its reason word.
    Abort(String),
    /// Encoded votes of voters outside S, which the leader has asked.
    Votes(Vec<Vec<u8>>),
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        // Encoding to memory of types without maps, floats or unsized sequences cannot fail; an empty message would
        // be refused by the receiver.
        out.extend(postcard::to_stdvec(self).unwrap_or_default());
        out
    }

    /// Reads exactly one message; `None` for anything else, trailing bytes included.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        match postcard::take_from_bytes(rest) {
            Ok((message, [])) => Some(message),
            _ => None,
        }
    }
}

/// Hash of all hellos in the order of their party index.
pub(crate) fn echo(hellos: &std::collections::BTreeMap<tally_domain::PartyIndex, [u8; 32]>) -> Digest {
    hellos
        .iter()
        .fold(tally_domain::digest::TaggedHash::new("tally/v1/echo"), |h, (p, nonce)| h.field(&[p.get()]).field(nonce))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_other_versions_and_garbage_are_refused() {
        let good = Message::Partial(vec![1, 2, 3]).encode();
        assert_eq!(Message::decode(&good), Some(Message::Partial(vec![1, 2, 3])));
        let mut trailing = good.clone();
        trailing.push(0);
        assert_eq!(Message::decode(&trailing), None);
        let mut version = good.clone();
        version[0] = 2;
        assert_eq!(Message::decode(&version), None);
        assert_eq!(Message::decode(&good[..good.len() - 1]), None);
        assert_eq!(Message::decode(&[]), None);
    }
}
