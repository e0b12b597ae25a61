//! Signing's steps as the store grows: what claim, vote, release and completion take among ten thousand requests, a million
//! and ten million, in turns, one at a time and sixteen at once, beside a bare grouped fsync; what reads take; and how much
//! room a request takes.
//!
//! What is measured has leaves and blobs of the sizes that a node writes. What the stores are filled with has rows of true
//! shape in every table and index, under random ids, but small blobs: large ones only stand where the last row stands, and
//! deepen no index.
//!
//! `cargo bench -p tally-store --bench requests`; `-- --count 1000000` for no more than that.
//! `cargo bench -p tally-store --bench requests -- --into FILE --count N` fills the store of a node that is stopped, to
//! measure one cluster before and after. The file is lost if the filler dies. The node's next start reads the new leaves
//! once, to sign them; and what it explains within ten minutes of the filling has them all in its window.
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

use helpers::{key, tenant, wait};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tally_audit::{Event, What};
use tally_domain::ports::store::tokens::Vault as _;
use tally_domain::ports::store::{AttemptId, ClaimRequest, Step, Store as _, Write};
use tally_domain::{Action, Attempt, ClientId, Digest, Incarnation, NodeName, RequestId, UnixMillis};
use tally_store::SqliteStore;

const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];

/// Requests of one transaction while filling: each one writes nearly every page of an index once.
const BATCH: u64 = 1_000_000;

/// Leaves that a node writes for a request, in four to five steps.
const LEAVES: u64 = 4;

/// Turns, and what is done of everything in each.
const ROUNDS: u64 = 40;
const EACH: u64 = 25;

/// Callers at once.
const CALLERS: u64 = 16;

const AT: UnixMillis = UnixMillis(1_795_298_460_000);

/// Bytes of the leaves of each step: intent and decision, vote, release, result.
const LEAF_BYTES: [&[usize]; 4] = [&[330, 240], &[750], &[1_450], &[280]];
const STEPS: [&str; 4] = ["claim", "vote", "release", "completion"];

/// The same for every store, in no order.
fn id(n: u64) -> RequestId {
    let mut id = [0; 16];
    for (half, bytes) in id.chunks_mut(8).enumerate() {
        let mut z = (2 * n + half as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
    }
    RequestId(id)
}

/// Step `nth` of request `n`.
fn step(n: u64, nth: usize) -> Step {
    let blob = |bytes: usize| vec![0x5a; bytes];
    let (tenant, request) = (tenant(), id(n));
    let attempt = AttemptId { tenant: tenant.clone(), request, attempt: Attempt(1) };
    let write = match nth {
        0 => Write::ClaimRequest(ClaimRequest {
            tenant,
            request,
            intent_digest: Digest::of(&request.0),
            client: ClientId::parse("payouts-1").unwrap(),
            key: key("fast"),
            action: Action::Sign,
            at: AT,
        }),
        1 => Write::Vote { attempt, statement: blob(690), body: blob(220) },
        2 => Write::Release { attempt, partial: blob(185), certificate: blob(1_380) },
        _ => Write::Complete { tenant, request, result: blob(1_550), at: AT },
    };
    Step { writes: vec![write], leaves: LEAF_BYTES[nth].iter().map(|bytes| blob(*bytes)).collect() }
}

/// Adds requests to a file that nobody has open.
fn fill(path: &Path, count: u64) {
    drop(SqliteStore::open(path).unwrap());
    let mut c = Connection::open(path).unwrap();
    let mode: String = c.pragma_update_and_check(None, "journal_mode", "OFF", |row| row.get(0)).unwrap();
    assert_eq!(mode, "off");
    c.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -3000000; PRAGMA locking_mode = EXCLUSIVE").unwrap();
    let number = |sql| -> u64 { c.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned() };
    let first = number("SELECT COALESCE(MAX(seq), 0) FROM request");
    let mut leaf = number("SELECT COALESCE(MAX(idx) + 1, 0) FROM log");
    let last: Option<Vec<u8>> =
        c.query_row("SELECT leaf FROM log ORDER BY idx DESC LIMIT 1", [], |row| row.get(0)).optional().unwrap();
    let mut event = match last {
        Some(leaf) => Event::from_leaf(&leaf).unwrap(),
        None => {
            Event { node: NodeName::parse("node-1").unwrap(), incarnation: Incarnation(1), time: AT, what: failed(0) }
        }
    };
    let began = Instant::now();
    for from in (0..count).step_by(usize::try_from(BATCH).unwrap()) {
        let tx = c.transaction().unwrap();
        {
            let mut request = tx.prepare(
                "INSERT INTO request (tenant, request, intent_digest, client, key, action, claimed_at, refused, updated_at)
                 VALUES ('acme', ?1, ?2, 'payouts-1', 'fast', 1, ?3, 'EXPIRED', ?3)").unwrap();
            let mut attempt = tx.prepare(
                "INSERT INTO attempt (tenant, request, attempt, statement, body, partial, certificate)
                 VALUES ('acme', ?1, 1, x'0001020304050607', x'0001020304050607', x'0001020304050607', x'0001020304050607')").unwrap();
            let mut log = tx.prepare("INSERT INTO log (idx, leaf) VALUES (?1, ?2)").unwrap();
            for n in from..count.min(from + BATCH) {
                let id = id(first + n);
                let digest = Digest::of(&id.0);
                request.execute(params![id.0, digest.0, event.time.0.cast_signed()]).unwrap();
                attempt.execute([id.0]).unwrap();
                event.what = failed(first + n);
                let bytes = event.to_leaf();
                for index in leaf..leaf + LEAVES {
                    log.execute(params![index.cast_signed(), bytes]).unwrap();
                }
                leaf += LEAVES;
            }
        }
        tx.commit().unwrap();
    }
    let bytes = std::fs::metadata(path).unwrap().len();
    println!("{count} requests in {:.0?}; the file has {bytes} bytes", began.elapsed());
}

fn failed(n: u64) -> What {
    What::SessionFailed { request_id: Some(id(n)), what: "EXPIRED".into(), culprit: None, missing: Vec::new() }
}

/// A store with so many requests, and what was measured in it.
struct Filled {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: SqliteStore,
    requests: u64,
    next: u64,
    alone: [Vec<Duration>; 4],
    at_once: Vec<Duration>,
    reads: [Vec<Duration>; 3],
}

const READS: [&str; 3] = ["a request", "its attempts", "a page of 50 anywhere"];

impl Filled {
    fn with(requests: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        fill(&path, requests);
        let store = SqliteStore::open(&path).unwrap();
        let (alone, reads) = <([_; 4], [_; 3])>::default();
        Self { _dir: dir, path, store, requests, next: requests, alone, at_once: Vec::new(), reads }
    }

    fn turn(&mut self) {
        for _ in 0..EACH {
            for (nth, times) in self.alone.iter_mut().enumerate() {
                let step = step(self.next, nth);
                let began = Instant::now();
                wait(self.store.commit(step)).unwrap();
                times.push(began.elapsed());
            }
            self.next += 1;
            self.read();
        }
        let began = Instant::now();
        for nth in 0..STEPS.len() {
            let steps: Vec<_> = (self.next..self.next + CALLERS).map(|n| self.store.commit(step(n, nth))).collect();
            steps.into_iter().for_each(|step| assert!(wait(step).is_ok()));
        }
        self.at_once.push(began.elapsed());
        self.next += CALLERS;
    }

    fn read(&mut self) {
        let n = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.requests;
        let began = Instant::now();
        assert!(black_box(self.store.request(&tenant(), &id(n)).unwrap()).is_some());
        self.reads[0].push(began.elapsed());
        let began = Instant::now();
        assert_eq!(black_box(self.store.attempts(&tenant(), &id(n)).unwrap()).len(), 1);
        self.reads[1].push(began.elapsed());
        let began = Instant::now();
        assert!(!black_box(self.store.requests(&tenant(), Some(n + 2), 50).unwrap()).is_empty());
        self.reads[2].push(began.elapsed());
    }

    fn show(&self, few: &Self, fsync: f64) {
        let all: f64 = self.alone.iter().map(|times| ms(times)).sum();
        let of_few: f64 = few.alone.iter().map(|times| ms(times)).sum();
        let steps: Vec<_> = STEPS.iter().zip(&self.alone).map(|(step, t)| format!("{step} {:.3}", ms(t))).collect();
        println!(
            "{} requests, p50 ms: {}; all four {all:.3}, {:.2} times that of {}, {:.2} times four fsyncs",
            self.requests,
            steps.join(", "),
            all / of_few,
            few.requests,
            all / (4.0 * fsync)
        );
        let group = ms(&self.at_once);
        println!("  {CALLERS} at once {group:.3}, {:.2} times", group / ms(&few.at_once));
        let reads: Vec<_> = READS.iter().zip(&self.reads).map(|(read, t)| format!("{read} {:.3}", ms(t))).collect();
        println!("  reads, p50 ms: {}", reads.join(", "));
        self.store.forget().unwrap();
        let bytes = std::fs::metadata(&self.path).unwrap().len();
        println!("  {} bytes a request in the file", bytes / self.next);
    }
}

fn ms(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let count = value("--count").map(|n| n.parse::<u64>().unwrap());
    if let Some(file) = value("--into") {
        assert!(Path::new(file).exists(), "{file} is no node's store");
        return fill(Path::new(file), count.unwrap());
    }
    let sizes = SIZES.into_iter().filter(|size| count.is_none_or(|count| *size <= count));
    let mut stores: Vec<_> = sizes.map(Filled::with).collect();
    let dir = tempfile::tempdir().unwrap();
    let floor = SqliteStore::open(&dir.path().join("floor.db")).unwrap();
    let mut fsyncs = Vec::new();
    for _ in 0..ROUNDS {
        for _ in 0..EACH {
            let began = Instant::now();
            wait(floor.commit(Step { writes: Vec::new(), leaves: vec![vec![0; 900]] })).unwrap();
            fsyncs.push(began.elapsed());
        }
        stores.iter_mut().for_each(Filled::turn);
    }
    println!("one grouped fsync, p50: {:.3} ms", ms(&fsyncs));
    stores.iter().for_each(|store| store.show(&stores[0], ms(&fsyncs)));
}
