//! The vault as it grows: how long a lookup takes among ten thousand tokens and among a million, in turns, and how much room
//! a token takes; and what one grouped insert costs.
//!
//! `cargo bench -p tally-store --bench vault`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "a measuring program, run by hand"
)]

#[path = "../tests/support/helpers.rs"]
mod helpers;
#[path = "../tests/support/vault.rs"]
mod vault;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tally_domain::ports::store::tokens::{Vault as _, VaultWrite};
use tally_domain::token::{IndexKeyNumber, Reuse};
use tally_store::SqliteStore;
use vault::*;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

/// Rows of one step, as of one message of a stream.
const GROUP: usize = 256;

/// Lookups of each kind in each store, by turns.
const ROUNDS: u64 = 40;
const LOOKUPS: u64 = 250;

struct Filled {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: SqliteStore,
    tokens: u64,
    found: [Vec<Duration>; 2],
}

fn filled(tokens: u64) -> Filled {
    let (dir, path) = database();
    let store = SqliteStore::open(&path).unwrap();
    fits(&store, VaultWrite::PutDomain(new_domain(reusing(), Reuse::PerDomain)));
    let mut steps = Vec::new();
    for batch in (0..tokens).collect::<Vec<_>>().chunks(GROUP) {
        let rows = batch.iter().map(|n| new_token(*n, *n)).collect();
        let began = Instant::now();
        fits(&store, put(&reusing(), rows));
        steps.push(began.elapsed());
    }
    let last = steps.split_off(steps.len() - steps.len().min(200));
    let step = p50(last);
    println!(
        "{tokens} tokens; a step of {GROUP} at its end, p50: {:.2} ms, {:.0} tokens/s",
        step.as_secs_f64() * 1e3,
        GROUP as f64 / step.as_secs_f64()
    );
    Filled { _dir: dir, path, store, tokens, found: [Vec::new(), Vec::new()] }
}

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

impl Filled {
    fn look(&mut self, round: u64) {
        for at in 0..LOOKUPS {
            // Over all of them, in no order.
            let n = (round * LOOKUPS + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.tokens;
            let (token, key) = (token(n), (IndexKeyNumber(1), fingerprint(n)));
            let began = Instant::now();
            assert!(black_box(self.store.token(&reusing(), &token).unwrap()).is_some());
            self.found[0].push(began.elapsed());
            let began = Instant::now();
            assert_eq!(black_box(self.store.tokens_of_card(&reusing(), key, None, 100).unwrap()).len(), 1);
            self.found[1].push(began.elapsed());
        }
    }
}

fn main() {
    let (mut few, mut many) = (filled(FEW), filled(MANY));
    for round in 0..ROUNDS {
        few.look(round);
        many.look(round);
    }
    for (kind, what) in ["by its token", "by its card"].iter().enumerate() {
        let [few, many] = [&few, &many].map(|filled| p50(filled.found[kind].clone()).as_secs_f64() * 1e6);
        println!("a lookup {what}, p50: {few:.1} us of {FEW}, {many:.1} us of {MANY}: {:.2} times", many / few);
    }
    for filled in [&few, &many] {
        filled.store.forget().unwrap();
        let bytes = std::fs::metadata(&filled.path).unwrap().len() / filled.tokens;
        println!("{bytes} bytes a token of {}", filled.tokens);
    }
}
