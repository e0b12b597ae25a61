//! The offline form of one node's log: two files in a directory. Reading and writing them is the caller's.

use crate::event::LEAF_MAX_BYTES;

/// All leaves, oldest first, each behind its length as four big-endian bytes.
pub const ENTRIES_FILE: &str = "entries.bin";

/// The signed checkpoint over exactly these leaves.
pub const CHECKPOINT_FILE: &str = "checkpoint.txt";

/// Why bytes are not the leaves of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEntries {
    /// The file ends inside an entry.
    #[error("the file ends inside the entry that starts at byte {offset}; it was cut off")]
    Truncated {
        /// Where the entry starts.
        offset: usize,
    },
    /// An entry says that it is larger than [`LEAF_MAX_BYTES`].
    #[error("the entry at byte {offset} says it has {length} bytes; a leaf has at most {}", LEAF_MAX_BYTES)]
    Oversized {
        /// Where the entry starts.
        offset: usize,
        /// What it says.
        length: u32,
    },
}

/// A leaf is larger than [`LEAF_MAX_BYTES`] and cannot be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {length} bytes is larger than {} bytes", LEAF_MAX_BYTES)]
pub struct LeafTooLarge {
    /// Its size.
    pub length: usize,
}

/// Adds one leaf to the bytes of [`ENTRIES_FILE`].
///
/// # Errors
/// [`LeafTooLarge`]; nothing was added.
pub fn append_entry(out: &mut Vec<u8>, leaf: &[u8]) -> Result<(), LeafTooLarge> {
    let too_large = LeafTooLarge { length: leaf.len() };
    if leaf.len() > LEAF_MAX_BYTES {
        return Err(too_large);
    }
    let length = u32::try_from(leaf.len()).map_err(|_| too_large)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(leaf);
    Ok(())
}

/// The bytes of [`ENTRIES_FILE`] for all leaves.
///
/// # Errors
/// [`LeafTooLarge`].
pub fn encode_entries<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, LeafTooLarge> {
    let mut out = Vec::new();
    leaves.into_iter().try_for_each(|leaf| append_entry(&mut out, leaf))?;
    Ok(out)
}

/// Reads the bytes of [`ENTRIES_FILE`].
///
/// # Errors
/// [`BadEntries`], with the place in the file.
pub fn parse_entries(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BadEntries> {
    let mut leaves = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(BadEntries::Truncated { offset })?;
        let length = u32::from_be_bytes(*length);
        let wanted = usize::try_from(length).ok().filter(|n| *n <= LEAF_MAX_BYTES);
        let wanted = wanted.ok_or(BadEntries::Oversized { offset, length })?;
        let (leaf, behind) = behind.split_at_checked(wanted).ok_or(BadEntries::Truncated { offset })?;
        leaves.push(leaf.to_vec());
        rest = behind;
    }
    Ok(leaves)
}
