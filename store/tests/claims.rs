//! Claims on lines: the rule holds inside the transaction, all lines of a request or none, and across a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code,
    reason = "tests fail loudly"
)]

#[path = "support/helpers.rs"]
mod helpers;

use helpers::*;
use proptest::prelude::*;
use std::path::Path;
use tally_domain::claim::{Claimant, Excluded, LineMemory, horizon_ms};
use tally_domain::ports::store::{Conflict, Step, Store, StoreError, Write};
use tally_domain::{Charge, Claims, Digest, Interval, LimitId, LineClaim, LineId, UnixMillis};
use tally_store::SqliteStore;

const NOW: UnixMillis = UnixMillis(1_795_298_460_000);
const WINDOW: u64 = 60_000;

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&dir.join("node.db")).unwrap()
}

fn line(n: u8) -> LineId {
    LineId(Digest([n; 32]))
}

fn by(n: u64) -> Claimant {
    Claimant { tenant: tenant(), request: request(n) }
}

fn of_line(n: u8, pieces: &[(u128, u128)]) -> LineClaim {
    of_length(u128::MAX, n, pieces)
}

fn of_length(max: u128, n: u8, pieces: &[(u128, u128)]) -> LineClaim {
    let intervals: Vec<_> = pieces.iter().map(|(from, to)| Interval::new(*from, *to).unwrap()).collect();
    let amount = intervals.iter().map(|i| i.units()).sum();
    let limit = LimitId::parse("day").unwrap();
    LineClaim::new(&Charge { limit, line: line(n), max, window_ms: WINDOW, amount }, intervals).unwrap()
}

fn claims(n: u64, at: UnixMillis, lines: Vec<LineClaim>) -> Write {
    Write::Claim { by: by(n), claims: Claims::new(at, lines).unwrap() }
}

fn taken(line: LineId, from: u128, to: u128) -> Conflict {
    Conflict::Claim { line, why: Excluded::Taken(Interval::new(from, to).unwrap()) }
}

/// Of a limit of so much.
fn of_limit(max: u128, from: u128, to: u128) -> LineClaim {
    let charge =
        Charge { limit: LimitId::parse("day").unwrap(), line: line(1), max, window_ms: WINDOW, amount: to - from };
    LineClaim::new(&charge, vec![Interval::new(from, to).unwrap()]).unwrap()
}

#[test]
fn i5_a_lowered_limit_counts_what_was_taken_beyond_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    let take = |n, claim| {
        let step = Step { writes: vec![claims(n, NOW, vec![claim])], leaves: Vec::new() };
        wait(s.commit(step)).map(|_| ())
    };
    take(1, of_limit(5_000, 0, 500)).unwrap();
    take(2, of_limit(5_000, 1_700, 2_000)).unwrap();
    take(3, of_limit(5_000, 3_400, 3_700)).unwrap();
    take(4, of_limit(1_200, 500, 600)).unwrap();
    let lowered = StoreError::Conflict(Conflict::Claim { line: line(1), why: Excluded::Lowered });
    assert_eq!(take(5, of_limit(1_200, 600, 601)), Err(lowered));
    take(5, of_limit(1_201, 600, 601)).unwrap();
}

#[test]
fn i4_two_votes_at_once_for_one_unit_cannot_both_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    for round in 0..50 {
        let steps = [2 * round, 2 * round + 1].map(|n| {
            let from = 100 * u128::from(round) + 5 * u128::from(n % 2);
            Step {
                writes: vec![claims(n, NOW, vec![of_line(1, &[(from, from + 10)])]), vote(n, b"yes")],
                leaves: vec![],
            }
        });
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let running = steps.map(|step| scope.spawn(|| wait(s.commit(step))));
            running.map(|r| r.join().unwrap()).into()
        });
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|o| matches!(o, Err(StoreError::Conflict(Conflict::Claim { .. })))));
        let votes = [2 * round, 2 * round + 1].map(|n| s.attempts(&tenant(), &request(n)).unwrap().len());
        assert_eq!(votes.iter().sum::<usize>(), 1, "a vote is written with its claim or not at all");
    }
}

#[test]
fn a_claim_is_kept_on_all_its_lines_or_on_none() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    fits(&s, claims(1, NOW, vec![of_line(2, &[(0, 10)])]));
    clashes(&s, claims(2, NOW, vec![of_line(1, &[(0, 5)]), of_line(2, &[(9, 12)])]), taken(line(2), 0, 10));
    assert_eq!(s.line(&line(1)).unwrap(), LineMemory::default());
    fits(&s, claims(2, NOW, vec![of_line(1, &[(0, 5)]), of_line(2, &[(10, 13)])]));
    assert_eq!(s.line(&line(2)).unwrap().len(), 2);
}

#[test]
fn s_3_4_what_was_voted_for_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let s = open(dir.path());
        fits(&s, claims(1, NOW, vec![of_line(1, &[(0, 10), (20, 30)])]));
        fits(&s, claims(2, NOW.plus(5), vec![of_line(1, &[(30, u128::MAX)])]));
        s.line(&line(1)).unwrap()
    };
    let s = open(dir.path());
    assert_eq!(s.line(&line(1)).unwrap(), before);
    clashes(&s, claims(3, NOW, vec![of_line(1, &[(25, 26)])]), taken(line(1), 20, 30));
}

#[test]
fn the_longest_piece_is_seen_from_its_last_unit() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    fits(&s, claims(1, NOW, vec![of_line(1, &[(0, u128::MAX - 1)])]));
    clashes(&s, claims(2, NOW, vec![of_line(1, &[(u128::MAX - 2, u128::MAX)])]), taken(line(1), 0, u128::MAX - 1));
    fits(&s, claims(2, NOW, vec![of_line(1, &[(u128::MAX - 1, u128::MAX)])]));
}

#[test]
fn old_claims_leave_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(dir.path());
    for round in 0..20 {
        let at = NOW.plus(round * 2 * horizon_ms(WINDOW));
        fits(&s, claims(round, at, vec![of_line(1, &[(0, 10)]), of_line(2, &[(0, 10)])]));
        assert_eq!(s.line(&line(1)).unwrap().len(), 1);
    }
    clashes(
        &s,
        claims(99, NOW, vec![of_line(1, &[(50, 60)])]),
        Conflict::Claim { line: line(1), why: Excluded::Forgotten },
    );
}

/// A file as programs made it before pieces had sizes and lines had sums.
#[test]
fn s_3_4_claims_of_an_older_program_are_in_the_way_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = rusqlite::Connection::open(dir.path().join("node.db")).unwrap();
    let schema = include_str!("../migrations/0006_claims.sql");
    file.execute_batch(&format!(
        "DROP TABLE cancellation; DROP TABLE claim; DROP TABLE line; {schema} PRAGMA user_version = 10;"
    ))
    .unwrap();
    for (n, from, to) in [(1, 0_u128, 500_u128), (2, 1_700, 2_000), (3, 3_400, 3_700)] {
        let (request, at) = (request(n).0, NOW.0.cast_signed());
        file.execute(
            "INSERT INTO claim VALUES (?1, ?2, ?3, 'acme', ?4, 1, ?5, ?5)",
            rusqlite::params![line(1).0.0, from.to_be_bytes(), to.to_be_bytes(), request, at],
        )
        .unwrap();
    }
    let about = rusqlite::params![line(1).0.0, NOW.minus(1_000_000).0.cast_signed(), 500_u128.to_be_bytes()];
    file.execute("INSERT INTO line VALUES (?1, ?2, ?3)", about).unwrap();
    drop(file);

    let s = open(dir.path());
    assert_eq!(s.line(&line(1)).unwrap().held(&by(9), NOW, WINDOW), 1_100);
    clashes(&s, claims(4, NOW, vec![of_limit(5_000, 3_699, 3_700)]), taken(line(1), 3_400, 3_700));
    clashes(
        &s,
        claims(5, NOW, vec![of_limit(1_200, 600, 701)]),
        Conflict::Claim { line: line(1), why: Excluded::Lowered },
    );
    fits(&s, claims(5, NOW, vec![of_limit(1_200, 600, 700)]));
    clashes(
        &s,
        claims(6, NOW, vec![of_limit(1_200, 800, 801)]),
        Conflict::Claim { line: line(1), why: Excluded::Lowered },
    );
    // A window later they are gone, from the sum too.
    let later = NOW.plus(2 * horizon_ms(WINDOW));
    fits(&s, claims(7, later, vec![of_limit(5_000, 2_000, 4_900)]));
    fits(&s, claims(8, later, vec![of_limit(3_000, 0, 100)]));
    clashes(
        &s,
        claims(9, later, vec![of_limit(3_000, 100, 101)]),
        Conflict::Claim { line: line(1), why: Excluded::Lowered },
    );
}

/// Lengths from one unit to nearly all that there are: whichever comes first, the other meets it.
#[test]
fn pieces_of_all_lengths_meet_pieces_of_all_lengths() {
    let lengths: Vec<u128> = (0..128).step_by(3).map(|bits| 1 << bits).collect();
    for (n, first) in (0_u64..).zip(&lengths) {
        let dir = tempfile::tempdir().unwrap();
        let s = open(dir.path());
        let from = 1 << 126;
        fits(&s, claims(n, NOW, vec![of_line(1, &[(from, from + first)])]));
        for second in &lengths {
            let within = from + first - 1;
            clashes(
                &s,
                claims(99, NOW, vec![of_line(1, &[(within, within + second)])]),
                taken(line(1), from, from + first),
            );
            let before = (from + 1).saturating_sub(*second);
            clashes(&s, claims(99, NOW, vec![of_line(1, &[(before, from + 1)])]), taken(line(1), from, from + first));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The store says yes and no exactly where the rule does that it was proved for, and remembers the same.
    #[test]
    fn the_store_decides_as_the_rule_does(
        asked in proptest::collection::vec(
            (prop_oneof![0u64..9_000, 0u64..60_000], 0u64..5_000, 0u64..20, proptest::collection::vec((0u128..12, prop_oneof![1u128..5, 14u128..20]), 1..4)), 1..60,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let s = open(dir.path());
        let mut memory = LineMemory::default();
        let mut now = NOW;
        // Raised, lowered and raised again.
        let lengths = [u128::MAX, 40, 90];
        let count = asked.len();
        for (i, (pass, skew, n, pieces)) in asked.into_iter().enumerate() {
            now = now.plus(pass);
            let mut from = 0;
            let pieces: Vec<_> = pieces.into_iter().map(|(gap, units)| {
                let piece = (from + gap, from + gap + units);
                from = piece.1 + 1;
                piece
            }).collect();
            let length = lengths[3 * i / count];
            let on_it: Vec<_> = pieces.into_iter().filter(|(_, to)| *to <= length).collect();
            let claim = of_length(length, 1, if on_it.is_empty() { &[(3, 4)] } else { &on_it });
            let at = now.minus(skew);
            let ruled = memory.consider(&by(n), &claim, at);
            let stored = commit(&s, vec![claims(n, at, vec![claim])]);
            match (ruled, stored) {
                (Ok(voted), Ok(_)) => memory.keep(voted, WINDOW),
                (Err(Excluded::Taken(_)), Err(StoreError::Conflict(Conflict::Claim { why: Excluded::Taken(_), .. }))) => {}
                (Err(a), Err(StoreError::Conflict(Conflict::Claim { why, .. }))) if a == why => {}
                (ruled, stored) => prop_assert!(false, "{ruled:?} but {stored:?}"),
            }
            prop_assert_eq!(&memory, &s.line(&line(1)).unwrap());
        }
    }
}
