//! Secret bytes: zeroed on drop, and without the traits that leak (no `Clone`, `Debug`, `Serialize`, `PartialEq`).

use zeroize::Zeroizing;

/// A share, PIN or other secret as bytes. Reading one is always spelt [`SecretBytes::expose`], so it can be searched for.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
