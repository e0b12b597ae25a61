//! RFC 6962 trees against the vectors of the certificate-transparency reference implementations, and against the
//! RFC's own recursive definition for every size up to 40.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

use sha2::{Digest as _, Sha256};
use tally_audit::merkle::*;
use tally_domain::Digest;

/// Leaves and roots of merkletree/merkle_tree_test.cc and trillian's merkle/log_verifier_test.go.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Leaf (from 0), size, proof.
const INCLUSION: [(u64, usize, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Old size, new size, proof.
const CONSISTENCY: [(usize, usize, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn digest(hex_digits: &str) -> Digest {
    Digest::from_slice(&hex::decode(hex_digits).unwrap()).unwrap()
}

fn vector_leaves() -> Vec<Digest> {
    LEAVES.iter().map(|l| leaf_hash(&hex::decode(l).unwrap())).collect()
}

fn many(n: u64) -> Vec<Digest> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
fn mth(d: &[Digest]) -> Digest {
    match d {
        [] => Digest(Sha256::digest(b"").into()),
        [one] => *one,
        _ => {
            let k = (1..d.len()).rev().find(|k| k.is_power_of_two()).unwrap();
            let both = [&[1][..], &mth(&d[..k]).0, &mth(&d[k..]).0].concat();
            Digest(Sha256::digest(both).into())
        }
    }
}

#[test]
fn roots_are_those_of_the_published_vectors() {
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), digest(EMPTY));
    for (leaf, expected) in vector_leaves().into_iter().zip(ROOTS) {
        frontier.append(leaf);
        assert_eq!(frontier.root(), digest(expected));
    }
}

#[test]
fn proofs_are_those_of_the_published_vectors() {
    let leaves = vector_leaves();
    for (index, size, proof) in INCLUSION {
        let proof: Vec<_> = proof.iter().map(|h| digest(h)).collect();
        assert_eq!(inclusion_proof(&leaves[..size], index).unwrap(), proof);
        let leaf = &leaves[usize::try_from(index).unwrap()];
        verify_inclusion(leaf, index, size as u64, &proof, &digest(ROOTS[size - 1])).unwrap();
    }
    for (old, new, proof) in CONSISTENCY {
        let proof: Vec<_> = proof.iter().map(|h| digest(h)).collect();
        assert_eq!(consistency_proof(&leaves[..new], old as u64).unwrap(), proof);
        let (old_root, new_root) = (digest(ROOTS[old - 1]), digest(ROOTS[new - 1]));
        verify_consistency(old as u64, &old_root, new as u64, &new_root, &proof).unwrap();
    }
}

#[test]
fn frontier_is_the_recursive_definition_and_reads_back() {
    let leaves = many(40);
    let mut frontier = Frontier::new();
    for n in 0..=leaves.len() {
        assert_eq!((frontier.size(), frontier.root()), (n as u64, mth(&leaves[..n])));
        let bytes = frontier.to_bytes();
        frontier = Frontier::from_bytes(&bytes).unwrap();
        assert!(Frontier::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_err());
        if let Some(leaf) = leaves.get(n) {
            frontier.append(*leaf);
        }
    }
    assert!(Frontier::from_bytes(&[[0x80, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 32]].concat()).is_err());
}

#[test]
fn inclusion_holds_for_the_leaf_at_its_place_and_for_nothing_else() {
    for size in 1..=40u64 {
        let leaves = many(size);
        let root = mth(&leaves);
        for index in 0..size {
            let leaf = leaves[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(&leaves, index).unwrap();
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
            assert_eq!(verify_inclusion(&leaf_hash(b"other"), index, size, &proof, &root), Err(BadProof));
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &leaf_hash(b"other")), Err(BadProof));
            for other in (0..size + 2).filter(|o| *o != index) {
                assert_eq!(verify_inclusion(&leaf, other, size, &proof, &root), Err(BadProof));
            }
            for i in 0..proof.len() {
                let mut bad = proof.clone();
                bad[i].0[7] ^= 1;
                assert_eq!(verify_inclusion(&leaf, index, size, &bad, &root), Err(BadProof));
            }
            assert_eq!(verify_inclusion(&leaf, index, size, &[&proof[..], &[root]].concat(), &root), Err(BadProof));
            if let [short @ .., _] = proof.as_slice() {
                assert_eq!(verify_inclusion(&leaf, index, size, short, &root), Err(BadProof));
            }
        }
        assert_eq!(inclusion_proof(&leaves, size), Err(OutOfRange { asked: size, size }));
    }
    assert!(inclusion_proof(&[], 0).is_err());
}

#[test]
fn consistency_holds_for_prefixes_and_for_nothing_else() {
    let leaves = many(24);
    let root = |n: u64| mth(&leaves[..usize::try_from(n).unwrap()]);
    for new in 0..=24u64 {
        for old in 0..=new {
            let proof = consistency_proof(&leaves[..usize::try_from(new).unwrap()], old).unwrap();
            assert_eq!(verify_consistency(old, &root(old), new, &root(new), &proof), Ok(()), "{old} {new}");
            let other = leaf_hash(b"other");
            assert_eq!(verify_consistency(old, &other, new, &root(new), &proof), Err(BadProof), "{old} {new}");
            if old > 0 {
                assert_eq!(verify_consistency(old, &root(old), new, &other, &proof), Err(BadProof), "{old} {new}");
            }
            for i in 0..proof.len() {
                let mut bad = proof.clone();
                bad[i].0[7] ^= 1;
                assert_eq!(verify_consistency(old, &root(old), new, &root(new), &bad), Err(BadProof));
            }
            let long = [&proof[..], &[root(new)]].concat();
            assert_eq!(verify_consistency(old, &root(old), new, &root(new), &long), Err(BadProof));
            for wrong in (1..=new).filter(|w| *w != old) {
                assert_eq!(verify_consistency(wrong, &root(old), new, &root(new), &proof), Err(BadProof));
            }
        }
        assert!(consistency_proof(&leaves[..usize::try_from(new).unwrap()], new + 1).is_err());
    }
    assert_eq!(verify_consistency(2, &root(2), 1, &root(1), &[]), Err(BadProof));
}

#[test]
fn a_frontier_is_its_subtrees() {
    let leaves: Vec<_> = (0..70_u8).map(|n| leaf_hash(&[n])).collect();
    let mut frontier = Frontier::new();
    for size in 0..=leaves.len() {
        let subtrees = frontier.subtrees();
        let mut next = 0;
        for subtree in &subtrees {
            let (from, to) = (subtree.leaves.start as usize, subtree.leaves.end as usize);
            assert!(from == next && (to - from).is_power_of_two());
            assert_eq!(subtree.root, mth(&leaves[from..to]));
            next = to;
        }
        assert_eq!((next, subtrees.len()), (size, size.count_ones() as usize));
        leaves.get(size).into_iter().for_each(|leaf| frontier.append(*leaf));
    }
}
