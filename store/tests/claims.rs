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
    let intervals: Vec<_> = pieces.iter().map(|(from, to)| Interval::new(*from, *to).unwrap()).collect();
    let amount = intervals.iter().map(|i| i.units()).sum();
    let limit = LimitId::parse("day").unwrap();
    LineClaim::new(&Charge { limit, line: line(n), max: u128::MAX, window_ms: WINDOW, amount }, intervals).unwrap()
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
            (0u64..60_000, 0u64..5_000, 0u64..8, proptest::collection::vec((0u128..12, prop_oneof![1u128..5, 14u128..20]), 1..4)), 1..60,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let s = open(dir.path());
        let mut memory = LineMemory::default();
        let mut now = NOW;
        for (pass, skew, n, pieces) in asked {
            now = now.plus(pass);
            let mut from = 0;
            let pieces: Vec<_> = pieces.into_iter().map(|(gap, units)| {
                let piece = (from + gap, from + gap + units);
                from = piece.1 + 1;
                piece
            }).collect();
            let claim = of_line(1, &pieces);
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
