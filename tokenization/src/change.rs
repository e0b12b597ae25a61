//! What a client wants to become of a token domain.

use prost::Message as _;
use tally_domain::intent::{BadIntent, decode_canonical};

/// Which key of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RotatedKey {
    /// The KEK: data keys are wrapped anew.
    Kek,
    /// The data key: card numbers are sealed anew.
    Data,
    /// The blind-index key: fingerprints are made anew.
    Index,
}

/// What is to become of a domain: the content of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainChange {
    /// Bring everything under a new key.
    Rotate(RotatedKey),
    /// Bring everything under new keys, and destroy the old ones: what was deleted is then gone from old copies too.
    Shred,
    /// Stop a rotation for now. That of a KEK is over at once.
    Pause(RotatedKey),
    /// Let it go on.
    Continue(RotatedKey),
    /// Destroy a version that nothing depends on.
    Retire(RotatedKey, u32),
    /// Give and reveal nothing.
    Suspend,
    /// Give and reveal again.
    Resume,
    /// Destroy all keys, at once and for good.
    Delete,
}

impl RotatedKey {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kek, Self::Data, Self::Index];

    /// The word in commands, rules and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kek => "kek",
            Self::Data => "data",
            Self::Index => "index",
        }
    }

    /// The key of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == word)
    }

    fn number(self) -> u32 {
        match self {
            Self::Kek => 1,
            Self::Data => 2,
            Self::Index => 3,
        }
    }
}

impl DomainChange {
    /// The word in rules and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate(_) => "rotate",
            Self::Shred => "shred",
            Self::Pause(_) => "pause",
            Self::Continue(_) => "continue",
            Self::Retire(..) => "retire",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        }
    }

    /// The key that it is about, if one.
    pub fn key(self) -> Option<RotatedKey> {
        match self {
            Self::Rotate(key) | Self::Pause(key) | Self::Continue(key) | Self::Retire(key, _) => Some(key),
            Self::Shred | Self::Suspend | Self::Resume | Self::Delete => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Rotate(_) => 1,
            Self::Shred => 2,
            Self::Pause(_) => 3,
            Self::Continue(_) => 4,
            Self::Retire(..) => 5,
            Self::Suspend => 6,
            Self::Resume => 7,
            Self::Delete => 8,
        }
    }
}

/// In words, for the log.
impl std::fmt::Display for DomainChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retire(key, number) => write!(f, "retire version {number} of the {} key", key.as_str()),
            Self::Rotate(key) => write!(f, "rotate the {} key", key.as_str()),
            Self::Pause(key) => write!(f, "pause the rotation of the {} key", key.as_str()),
            Self::Continue(key) => write!(f, "continue the rotation of the {} key", key.as_str()),
            Self::Shred | Self::Suspend | Self::Resume | Self::Delete => f.write_str(self.as_str()),
        }
    }
}

/// [`DomainChange`] as protobuf; field numbers are those of `DomainChangeBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    change: u32,
    #[prost(uint32, tag = "2")]
    key: u32,
    #[prost(uint32, tag = "3")]
    version: u32,
}

impl DomainChange {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(self) -> Vec<u8> {
        let version = if let Self::Retire(_, version) = self { version } else { 0 };
        Body { change: self.number(), key: self.key().map_or(0, RotatedKey::number), version }.encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let body: Body = decode_canonical(bytes)?;
        let bad = |field| BadIntent::Field { field };
        let key = || RotatedKey::ALL.into_iter().find(|key| key.number() == body.key).ok_or(bad("key"));
        let change = match body.change {
            1 => Self::Rotate(key()?),
            2 => Self::Shred,
            3 => Self::Pause(key()?),
            4 => Self::Continue(key()?),
            5 if body.version > 0 => Self::Retire(key()?, body.version),
            5 => return Err(bad("version")),
            6 => Self::Suspend,
            7 => Self::Resume,
            8 => Self::Delete,
            _ => return Err(bad("change")),
        };
        // Whatever a change has no use for must not be there.
        if change.to_bytes() == bytes { Ok(change) } else { Err(BadIntent::NotCanonical) }
    }
}
