//! The vault on the disk: what is gone is in no file, and a token takes little room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
mod helpers;
#[path = "support/vault.rs"]
mod vault;

use std::path::Path;
use tally_domain::ports::store::tokens::{KeyWrite, NewToken, Resealed, Vault as _, VaultWrite};
use tally_domain::token::{DataKeyNumber, Reuse};
use tally_store::SqliteStore;
use vault::*;

/// Which of these byte strings are in a file of the directory.
fn found(dir: &Path, needles: &[Vec<u8>]) -> Vec<usize> {
    let files: Vec<Vec<u8>> =
        std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let starts: std::collections::HashMap<&[u8], usize> =
        needles.iter().enumerate().map(|(at, needle)| (&needle[..12], at)).collect();
    let mut hits: Vec<usize> =
        files.iter().flat_map(|file| file.windows(12)).filter_map(|window| starts.get(window).copied()).collect();
    hits.sort_unstable();
    hits.dedup();
    hits
}

fn secrets(numbers: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
    let of = |n: u64| [sealed(n, 1).ciphertext, sealed(n, 1).iv.to_vec(), fingerprint(n).0.to_vec()];
    numbers.flat_map(of).collect()
}

#[test]
fn what_was_shredded_is_in_no_file() {
    let (dir, s) = with_domains();
    let of = |n: u64| NewToken { subject: Some(subject(&format!("customer-number-{n:06}"))), ..new_token(n, n) };
    // In many steps, and tokens are in no order: pages split and rows move.
    for batch in (0..3_000).collect::<Vec<_>>().chunks(50) {
        fits(&s, put(&random(), batch.iter().map(|n| of(*n)).collect()));
    }
    assert!(!found(dir.path(), &secrets(0..3_000)).is_empty());
    let shredded = |n: &u64| n % 3 != 1;
    for batch in (0..3_000).filter(shredded).collect::<Vec<_>>().chunks(100) {
        fits(&s, shred(&random(), batch));
    }
    s.forget().unwrap();
    let left = found(dir.path(), &secrets((0..3_000).filter(shredded)));
    assert_eq!(left.len(), 0, "{} of 6000 secrets are still in a file", left.len());
    assert_eq!(found(dir.path(), &secrets((0..3_000).filter(|n| !shredded(n)))).len(), 3_000);
}

#[test]
fn old_ciphertexts_and_destroyed_keys_are_in_no_file() {
    let (dir, s) = with_domains();
    fits(&s, put(&random(), (0..500).map(|n| new_token(n, n)).collect()));
    fits(&s, VaultWrite::Key(KeyWrite::AddDataKey { domain: random(), key: wrapped(2), shred: false, at: AT }));
    let reseal = |n: u64| Resealed {
        token: token(n),
        from: DataKeyNumber(1),
        old_iv: sealed(n, 1).iv,
        sealed: sealed(n + 10_000, 2),
    };
    fits(&s, VaultWrite::Key(KeyWrite::Reseal { domain: random(), rows: (0..500).map(reseal).collect() }));
    fits(&s, VaultWrite::Key(KeyWrite::RetireDataKey { domain: random(), number: DataKeyNumber(1), at: AT }));
    fits(&s, VaultWrite::DeleteDomain { domain: reusing(), at: AT });
    s.forget().unwrap();
    let old: Vec<Vec<u8>> = (0..500).map(|n| sealed(n, 1).ciphertext).chain([wrapped(1).wrapped]).collect();
    assert_eq!(found(dir.path(), &old), []);
    assert_eq!(found(dir.path(), &[sealed(10_007, 2).ciphertext, wrapped(2).wrapped]), [0, 1]);
}

/// Bytes of the database for each token, at most. A hundred thousand tokens take 313, and 390 where every other one has a
/// subject of its own.
const TOKEN_BYTES_MAX: u64 = 400;

#[test]
fn a_token_takes_little_room() {
    for (tokens, customers, what) in [(20_000_u64, None, "without subjects"), (50_000, Some(25_000), "with subjects")] {
        let (_dir, path) = database();
        let s = SqliteStore::open(&path).unwrap();
        fits(&s, VaultWrite::PutDomain(new_domain(reusing(), Reuse::PerDomain)));
        let of = |n: &u64| {
            let subject = customers.map(|customers: u64| subject(&format!("customer-{}", n % customers)));
            NewToken { subject, ..new_token(*n, *n) }
        };
        for batch in (0..tokens).collect::<Vec<_>>().chunks(1_000) {
            fits(&s, put(&reusing(), batch.iter().map(of).collect()));
        }
        s.forget().unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len() / tokens;
        println!("{bytes} bytes a token {what}, of {tokens}");
        assert!(bytes <= TOKEN_BYTES_MAX, "{bytes} bytes a token {what}");
    }
}
