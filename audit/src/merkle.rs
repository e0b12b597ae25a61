//! Merkle trees over leaf hashes as in RFC 6962 section 2.1: frontiers, inclusion proofs, consistency proofs.
//!
//! Everything works on leaf *hashes*: a node keeps 32 bytes a leaf for proofs, and only the [`Frontier`] to append.

use sha2::{Digest as _, Sha256};
use tally_domain::Digest;

/// Largest log. It takes 30,000 leaves a second for 300 years to fill it; a larger size in stored bytes is damage.
pub const SIZE_MAX: u64 = 1 << 48;

/// Hash of a leaf: SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into())
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root of the empty tree: SHA-256 of nothing.
fn empty_root() -> Digest {
    Digest::of(b"")
}

/// What is needed to append and to know the root, without the leaves: the roots of the perfect subtrees, largest and
/// leftmost first, one for each bit that is set in the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Digest>,
}

/// Stored bytes are not a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the frontier of a log")]
pub struct BadFrontier;

impl Frontier {
    /// The frontier of the empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of one leaf.
    pub fn append(&mut self, leaf_hash: Digest) {
        // As in binary counting: each set low bit is a perfect subtree that the new leaf completes to a larger one.
        let mut root = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = node_hash(&left, &root);
            }
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root that a checkpoint states.
    pub fn root(&self) -> Digest {
        let mut smallest_first = self.roots.iter().rev();
        let Some(last) = smallest_first.next() else { return empty_root() };
        smallest_first.fold(*last, |right, left| node_hash(left, &right))
    }

    /// The perfect subtrees, largest and leftmost first.
    pub fn subtrees(&self) -> Vec<Subtree> {
        let lengths = (0..u64::BITS).rev().map(|bit| self.size & 1 << bit).filter(|length| *length > 0);
        let mut start = 0;
        let subtree = |(length, root): (u64, &Digest)| {
            let leaves = start..start + length;
            start = leaves.end;
            Subtree { leaves, root: *root }
        };
        lengths.zip(&self.roots).map(subtree).collect()
    }

    /// Size as eight big-endian bytes, then the roots.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.size.to_be_bytes().to_vec();
        self.roots.iter().for_each(|r| out.extend_from_slice(&r.0));
        out
    }

    /// Reads [`Frontier::to_bytes`].
    ///
    /// # Errors
    /// [`BadFrontier`] when the number of roots does not fit the size, or the size is above [`SIZE_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadFrontier> {
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or(BadFrontier)?;
        let size = u64::from_be_bytes(*size);
        let (roots, left_over) = rest.as_chunks::<32>();
        let fits = u64::try_from(roots.len()).is_ok_and(|n| n == u64::from(size.count_ones()));
        if size > SIZE_MAX || !fits || !left_over.is_empty() {
            return Err(BadFrontier);
        }
        Ok(Self { size, roots: roots.iter().map(|r| Digest(*r)).collect() })
    }
}

/// Leaves that a frontier holds as one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtree {
    /// Which leaves; a power of two of them.
    pub leaves: std::ops::Range<u64>,
    /// Their root.
    pub root: Digest,
}

/// Root over all leaf hashes.
pub fn root(leaf_hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::new();
    leaf_hashes.iter().for_each(|h| frontier.append(*h));
    frontier.root()
}

/// A proof was asked for a leaf or a size that the log does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no leaf or size {asked} in a log of {size} leaves")]
pub struct OutOfRange {
    /// What was asked for.
    pub asked: u64,
    /// Leaves in the log.
    pub size: u64,
}

/// A proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Merkle proof does not verify")]
pub struct BadProof;

/// The audit path of one leaf: PATH(m, D\[n\]) of RFC 6962 section 2.1.1, nearest sibling first.
///
/// # Errors
/// [`OutOfRange`] when there is no such leaf.
pub fn inclusion_proof(leaf_hashes: &[Digest], index: u64) -> Result<Vec<Digest>, OutOfRange> {
    let size = leaf_hashes.len() as u64;
    let out_of_range = OutOfRange { asked: index, size };
    let mut at = usize::try_from(index).ok().filter(|i| *i < leaf_hashes.len()).ok_or(out_of_range)?;
    let mut tree = leaf_hashes;
    let mut path = Vec::new();
    while let Some((left, right)) = split(tree) {
        if at < left.len() {
            path.push(root(right));
            tree = left;
        } else {
            path.push(root(left));
            at -= left.len();
            tree = right;
        }
    }
    path.reverse();
    Ok(path)
}

/// Shows that the log of the first `old_size` leaves is a prefix of the whole: PROOF(m, D\[n\]) of RFC 6962 section
/// 2.1.2. Empty for size 0 and for the whole.
///
/// # Errors
/// [`OutOfRange`] when the log is not that large.
pub fn consistency_proof(leaf_hashes: &[Digest], old_size: u64) -> Result<Vec<Digest>, OutOfRange> {
    let size = leaf_hashes.len() as u64;
    let out_of_range = OutOfRange { asked: old_size, size };
    let mut old = usize::try_from(old_size).ok().filter(|m| *m <= leaf_hashes.len()).ok_or(out_of_range)?;
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut tree = leaf_hashes;
    let mut whole = true;
    let mut proof = Vec::new();
    while old < tree.len() {
        let Some((left, right)) = split(tree) else { break };
        if old <= left.len() {
            proof.push(root(right));
            tree = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            tree = right;
            whole = false;
        }
    }
    // The verifier knows the old root already when the old tree is this very subtree from the left edge on.
    if !whole {
        proof.push(root(tree));
    }
    proof.reverse();
    Ok(proof)
}

/// Left part of the largest power of two below the length, and the rest; nothing for one leaf.
fn split(tree: &[Digest]) -> Option<(&[Digest], &[Digest])> {
    let below = tree.len().checked_sub(1).filter(|n| *n > 0)?;
    tree.split_at_checked(1 << below.ilog2())
}

/// Checks an audit path (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`BadProof`].
pub fn verify_inclusion(
    leaf_hash: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), BadProof> {
    if index >= size {
        return Err(BadProof);
    }
    let (mut index, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return Err(BadProof);
        }
        if index & 1 == 1 || index == last {
            hash = node_hash(sibling, &hash);
            skip_levels_without_sibling(&mut index, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(BadProof) }
}

/// Checks that the tree of `old_root` is a prefix of the tree of `new_root` (RFC 9162 section 2.1.4.2). From the empty
/// tree to any other nothing needs proof: the RFC leaves that case open, and here it takes the empty proof.
///
/// # Errors
/// [`BadProof`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), BadProof> {
    if old_size > new_size {
        return Err(BadProof);
    }
    if old_size == new_size || old_size == 0 {
        let holds = if old_size == 0 { *old_root == empty_root() } else { true };
        let same = old_size != new_size || old_root == new_root;
        return if holds && same && proof.is_empty() { Ok(()) } else { Err(BadProof) };
    }
    let (mut index, mut last) = (old_size - 1, new_size - 1);
    let climb = index.trailing_ones();
    index >>= climb;
    last >>= climb;
    // A perfect old tree is a node of the new one; the proof leaves out what the verifier has.
    let (start, rest) = if old_size.is_power_of_two() && !proof.is_empty() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(BadProof)?
    };
    let (mut old, mut new) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return Err(BadProof);
        }
        if index & 1 == 1 || index == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            skip_levels_without_sibling(&mut index, &mut last);
        } else {
            new = node_hash(&new, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    if last == 0 && old == *old_root && new == *new_root { Ok(()) } else { Err(BadProof) }
}

/// The last node of a level may have no sibling; it is then the same node one level up.
fn skip_levels_without_sibling(index: &mut u64, last: &mut u64) {
    while *index & 1 == 0 && *index != 0 {
        *index >>= 1;
        *last >>= 1;
    }
}
