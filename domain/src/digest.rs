//! SHA-256 digests and the injective hashing that every signed object and session id uses.

use sha2::{Digest as _, Sha256};

/// A 32-byte SHA-256 (or Keccak-256) digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest in `bytes`, if there are exactly 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Hashes a sequence of fields so that no two different sequences give the same input: the tag and every field carry
/// their length as eight big-endian bytes (S-3.19; Kudelski DF2-F-01 is what happens without).
pub struct TaggedHash(Sha256);

impl TaggedHash {
    /// Starts a hash in the domain `tag`.
    pub fn new(tag: &str) -> Self {
        Self(Sha256::new()).field(tag.as_bytes())
    }

    /// Adds one field.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a number as eight big-endian bytes.
    #[must_use]
    pub fn number(self, n: u64) -> Self {
        self.field(&n.to_be_bytes())
    }

    /// The digest over the tag and all fields.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_hash_is_injective_over_field_borders() {
        let a = TaggedHash::new("t").field(b"ab").field(b"c").finish();
        let b = TaggedHash::new("t").field(b"a").field(b"bc").finish();
        assert_ne!(a, b);
    }
}
