//! What is answered is on the disk: groups, reopening, a killed process, a full disk, and files that are refused.
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

use helpers::*;
use rusqlite::Connection;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tally_domain::Incarnation;
use tally_domain::ports::store::{AttemptState, Committed, Conflict, Step, Store, StoreError, Write};
use tally_store::{Options, SqliteStore};

fn leaf(n: u64, part: u8) -> Vec<u8> {
    format!("{n}/{part}").into_bytes()
}

/// A step that leaves a row in each of two tables and two leaves.
fn step(n: u64) -> Step {
    Step { writes: vec![claim(n), vote(n, b"yes")], leaves: vec![leaf(n, 0), leaf(n, 1)] }
}

fn assert_whole(s: &SqliteStore, n: u64) {
    assert!(s.request(&tenant(), &request(n)).unwrap().is_some(), "request {n}");
    let attempts = s.attempts(&tenant(), &request(n)).unwrap();
    assert_eq!(attempts[0].state, AttemptState::Voted(b"yes".to_vec()), "attempt {n}");
}

fn unavailable(result: Result<SqliteStore, StoreError>) -> String {
    match result.err() {
        Some(StoreError::Unavailable { what }) => what,
        other => panic!("{other:?}"),
    }
}

fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    (dir, path)
}

#[test]
fn many_threads_get_distinct_neighbouring_leaves() {
    let (_dir, path) = database();
    let s = SqliteStore::open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let s = &s;
            scope.spawn(move || {
                for n in (0..40).map(|i| thread * 1_000 + i) {
                    let Committed { first_leaf } = wait(s.commit(step(n))).unwrap();
                    assert_eq!(s.leaves(first_leaf, 2).unwrap(), [leaf(n, 0), leaf(n, 1)]);
                    assert_whole(s, n);
                }
            });
        }
    });
    assert_eq!(s.log_size().unwrap(), 32 * 40 * 2);
}

#[test]
fn of_steps_that_exclude_each_other_one_wins_and_the_others_leave_nothing() {
    let (_dir, path) = database();
    let s = SqliteStore::open(&path).unwrap();
    let wins = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..32_u8 {
            let (s, wins) = (&s, &wins);
            scope.spawn(move || {
                let clashing = Step { writes: vec![vote(1, &[thread])], leaves: vec![vec![thread]] };
                match wait(s.commit(clashing)) {
                    Ok(_) => assert_eq!(wins.fetch_add(1, Ordering::SeqCst), 0),
                    Err(e) => assert_eq!(e, StoreError::Conflict(Conflict::Voted)),
                }
                wait(s.commit(step(100 + u64::from(thread)))).unwrap();
            });
        }
    });
    let AttemptState::Voted(winner) = s.attempts(&tenant(), &request(1)).unwrap().remove(0).state else { panic!() };
    let single: Vec<_> = s.leaves(0, 1_000).unwrap().into_iter().filter(|l| l.len() == 1).collect();
    assert_eq!((wins.into_inner(), single), (1, vec![winner]));
    assert_eq!(s.log_size().unwrap(), 1 + 32 * 2);
}

#[test]
fn dropping_the_store_writes_what_is_queued() {
    let (_dir, path) = database();
    let s = SqliteStore::open(&path).unwrap();
    let pending: Vec<_> = (0..500).map(|n| s.commit(step(n))).collect();
    drop(s);
    let s = SqliteStore::open(&path).unwrap();
    for (n, answer) in (0..).zip(pending) {
        wait(answer).unwrap();
        assert_whole(&s, n);
    }
    assert_eq!(s.log_size().unwrap(), 1_000);
}

#[test]
fn a_queue_that_is_too_long_is_refused_not_kept_waiting() {
    let (_dir, path) = database();
    let s = SqliteStore::open(&path).unwrap();
    let large = || Step { writes: vec![], leaves: vec![vec![7; 4_096]; 8] };
    let answers: Vec<_> = (0..20_000).map(|_| s.commit(large())).collect();
    let results: Vec<_> = answers.into_iter().map(wait).collect();
    let kept = results.iter().filter(|r| r.is_ok()).count() as u64;
    assert!(kept >= 1_024 && results.iter().any(|r| matches!(r, Err(StoreError::Unavailable { .. }))), "{kept}");
    assert_eq!(s.log_size().unwrap(), kept * 8);
}

#[test]
fn reopening_keeps_everything_and_the_log_goes_on() {
    let (_dir, path) = database();
    for round in 0..3 {
        let s = SqliteStore::open(&path).unwrap();
        assert_eq!(s.incarnation().unwrap(), Incarnation(round));
        fits(&s, Write::Incarnation(Incarnation(round + 1)));
        assert_eq!(wait(s.commit(step(round))).unwrap().first_leaf, round * 2);
        (0..=round).for_each(|n| assert_whole(&s, n));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

const CHILD_FILE: &str = "TALLY_STORE_TEST_FILE";
const CHILD_FIRST: &str = "TALLY_STORE_TEST_FIRST";

/// What the killed process runs: eight threads that say a step's number once the store has answered.
fn write_until_killed(path: &Path) -> ! {
    let s = SqliteStore::open(path).unwrap();
    let next = AtomicU64::new(std::env::var(CHILD_FIRST).unwrap().parse().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    wait(s.commit(step(n))).unwrap();
                    println!("\nack {n}");
                }
            });
        }
    });
    panic!("never ends by itself")
}

fn run_and_kill(path: &Path, first: u64, after_acks: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_has_kept_every_step_it_acknowledged", "--nocapture"])
        .env(CHILD_FILE, path)
        .env(CHILD_FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acks = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(n) = line.unwrap().strip_prefix("ack ") {
            acks.push(n.parse().unwrap());
            if acks.len() == after_acks {
                child.kill().unwrap();
            }
        }
    }
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    acks
}

#[test]
fn a_killed_process_has_kept_every_step_it_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD_FILE) {
        write_until_killed(Path::new(&path));
    }
    let (_dir, path) = database();
    let mut acknowledged = Vec::new();
    for (round, after_acks) in (0..).zip([50, 400, 1_500]) {
        acknowledged.extend(run_and_kill(&path, round * 1_000_000, after_acks));
        let s = SqliteStore::open(&path).unwrap();
        acknowledged.iter().for_each(|n| assert_whole(&s, *n));

        // Steps that were cut off before the answer may be there, but then they are whole.
        let requests = s.requests(&tenant(), None, u32::MAX).unwrap();
        let leaves = s.leaves(0, u32::MAX).unwrap();
        assert_eq!(leaves.len(), requests.len() * 2);
        for (pair, r) in leaves.chunks(2).zip(requests.iter().rev()) {
            let n = u64::from_be_bytes(r.claim.request.0[..8].try_into().unwrap());
            assert_eq!(pair, [leaf(n, 0), leaf(n, 1)]);
            assert_whole(&s, n);
        }
    }
    assert!(acknowledged.len() >= 1_950);
}

#[test]
fn a_full_disk_refuses_the_step_and_the_store_goes_on() {
    let (_dir, path) = database();
    let s = SqliteStore::open_with(&path, &Options { max_pages: Some(64) }).unwrap();
    wait(s.commit(step(1))).unwrap();
    let too_large = || Step { writes: vec![claim(2)], leaves: vec![vec![7; 1_000_000]] };
    for _ in 0..3 {
        let Err(StoreError::Unavailable { what }) = wait(s.commit(too_large())) else { panic!() };
        assert!(what.starts_with("full"), "{what}");
        assert_eq!((s.log_size().unwrap(), s.request(&tenant(), &request(2)).unwrap()), (2, None));
    }
    assert_eq!(wait(s.commit(step(3))).unwrap().first_leaf, 2);

    let mut n = 10;
    while wait(s.commit(step(n))).is_ok() {
        n += 1;
        assert!(n < 10_000, "the quota never bites");
    }
    assert_eq!(s.request(&tenant(), &request(n)).unwrap(), None);
    let size = s.log_size().unwrap();
    drop(s);

    let s = SqliteStore::open(&path).unwrap();
    assert_eq!(wait(s.commit(too_large())).unwrap().first_leaf, size);
    (10..n).chain([1, 3]).for_each(|n| assert_whole(&s, n));
}

#[test]
fn the_log_is_append_only_whoever_writes() {
    let (_dir, path) = database();
    wait(SqliteStore::open(&path).unwrap().commit(step(1))).unwrap();
    let c = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE log SET leaf = x'00' WHERE idx = 0",
        "DELETE FROM log WHERE idx = 1",
        "INSERT OR REPLACE INTO log (idx, leaf) VALUES (0, x'00')",
        "INSERT INTO log (idx, leaf) VALUES (3, x'00')",
        "UPDATE attempt SET partial = x'00', certificate = x'00', abandoned = x'00'",
    ] {
        assert!(c.execute(sql, []).is_err(), "{sql}");
    }
    c.execute("INSERT INTO log (idx, leaf) VALUES (2, x'00')", []).unwrap();
}

#[test]
fn rows_that_cannot_be_ours_are_reported_as_damaged() {
    let (_dir, path) = database();
    wait(SqliteStore::open(&path).unwrap().commit(step(1))).unwrap();
    let c = Connection::open(&path).unwrap();
    c.execute_batch("DROP TRIGGER log_is_never_cut; DELETE FROM log WHERE idx = 0; UPDATE request SET client = 'a b'")
        .unwrap();
    drop(c);
    let s = SqliteStore::open(&path).unwrap();
    assert!(matches!(s.leaves(0, 10), Err(StoreError::Damaged { .. })));
    assert!(matches!(s.request(&tenant(), &request(1)), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_second_opener_is_refused_until_the_first_has_closed() {
    let (dir, path) = database();
    let first = SqliteStore::open(&path).unwrap();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        assert!(unavailable(SqliteStore::open(name)).contains("is open in another node"));
    }
    wait(first.commit(step(1))).unwrap();
    drop(first);
    assert_whole(&SqliteStore::open(&link).unwrap(), 1);
}

#[test]
fn files_of_a_newer_or_another_program_are_refused_and_left_alone() {
    let (_dir, path) = database();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let what = unavailable(SqliteStore::open(&path));
    assert!(what.contains("has schema 99 and this program knows up to "), "{what}");

    let (_dir, path) = database();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(unavailable(SqliteStore::open(&path)).contains("another program's database"));
    Connection::open(&path).unwrap().execute_batch("INSERT INTO theirs VALUES (1)").unwrap();

    let (dir, path) = database();
    std::fs::write(&path, vec![b'x'; 8_192]).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Damaged { .. })));
    assert!(unavailable(SqliteStore::open(&dir.path().join("no/such/dir.db"))).contains("no/such/dir.db"));
}
