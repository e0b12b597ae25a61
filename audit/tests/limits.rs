//! What an auditor can tell of limits from logs alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use tally_audit::event::What;
use tally_audit::verify::{ExportedLog, Problem, verify_log, verify_partial};
use tally_domain::claim::horizon_ms;
use tally_domain::vote::{BadCertificate, VoteBody};
use tally_domain::*;
use world::*;

const WINDOW: u64 = 60_000;
const ISSUED: UnixMillis = UnixMillis(10_000_000);

fn line() -> LineId {
    LineId(Digest([9; 32]))
}

fn claims(pieces: &[(u128, u128)], at: UnixMillis) -> Claims {
    let intervals: Vec<_> = pieces.iter().map(|(from, to)| Interval::new(*from, *to).unwrap()).collect();
    let amount = intervals.iter().map(|i| i.units()).sum();
    let limit = LimitId::parse("day").unwrap();
    let charge = Charge { limit, line: line(), max: 100, window_ms: WINDOW, amount };
    Claims::new(at, vec![LineClaim::new(&charge, intervals).unwrap()]).unwrap()
}

/// A request that nodes 1 and 2 sign and that takes these pieces.
struct Spent {
    n: u8,
    pieces: &'static [(u128, u128)],
    at: UnixMillis,
}

fn body(w: &World, spent: &Spent) -> VoteBody {
    let claims = Some(claims(spent.pieces, spent.at));
    VoteBody { claims, ..w.vote_body(&w.intent(spent.n, HOT), 1, &[0, 1]) }
}

/// The log of a node of which some request is certified by these voters.
fn log(w: &World, i: usize, requests: &[(&Spent, &[usize])]) -> ExportedLog {
    let mut log = vec![w.boot(i), w.key_active(HOT)];
    for (spent, voters) in requests {
        let (intent, body) = (w.intent(spent.n, HOT), body(w, spent));
        log.extend([w.received(&intent), w.permitted(&intent), What::Voted { vote: w.vote(i, &body) }]);
        if i < 2 {
            log.push(w.released(&body, voters, &[spent.n]));
        }
    }
    w.export(i, log)
}

fn found(w: &World, logs: &[ExportedLog]) -> Vec<Problem> {
    verify_partial(&w.roster, logs).map_or_else(|found| found.into_iter().map(|f| f.problem).collect(), |_| Vec::new())
}

const ALL: &[usize] = &[0, 1, 2];

#[test]
fn i4_disjoint_claims_and_claims_a_horizon_apart_verify() {
    let w = World::new();
    let first = Spent { n: 1, pieces: &[(0, 10), (20, 30)], at: ISSUED };
    let beside = Spent { n: 2, pieces: &[(10, 20), (30, 40)], at: ISSUED };
    let later = Spent { n: 3, pieces: &[(5, 25)], at: ISSUED.plus(horizon_ms(WINDOW)) };
    let logs: Vec<_> = (0..3).map(|i| log(&w, i, &[(&first, ALL), (&beside, ALL), (&later, ALL)])).collect();
    assert_eq!(found(&w, &logs), []);
}

#[test]
fn i4_one_unit_for_two_requests_is_found_with_everyone_who_voted_twice() {
    let w = World::new();
    let first = Spent { n: 1, pieces: &[(0, 10), (20, 30)], at: ISSUED };
    let over = Spent { n: 2, pieces: &[(29, 31)], at: ISSUED.plus(horizon_ms(WINDOW) - 1) };
    // Each log holds only one of the two, so only together do they show it.
    let logs = [log(&w, 0, &[(&first, ALL)]), log(&w, 1, &[(&over, ALL)])];
    for log in &logs {
        verify_log(&w.roster, &log.node, &log.entries, &log.checkpoint).unwrap();
    }
    let found = found(&w, &logs);
    let overlap = Problem::ClaimsOverlap { line: line().0, request: request(2), other: request(1) };
    assert_eq!(found[0], overlap);
    let twice = |i| Problem::ClaimedTwice { voter: node_name(i), request: request(2), other: request(1) };
    assert_eq!(found[1..4], [twice(0), twice(1), twice(2)]);
}

#[test]
fn a_claim_far_from_the_one_in_between_is_held_against_the_one_before() {
    let w = World::new();
    let first = Spent { n: 1, pieces: &[(0, 50)], at: ISSUED };
    // Splits the first one's units in two and is itself a fault; both halves are still the first one's.
    let middle = Spent { n: 2, pieces: &[(20, 30)], at: ISSUED.plus(1) };
    let (left, right) = (
        Spent { n: 3, pieces: &[(19, 20)], at: ISSUED.plus(2) },
        Spent { n: 4, pieces: &[(30, 31)], at: ISSUED.plus(2) },
    );
    let problems = found(&w, &[log(&w, 0, &[(&first, ALL), (&middle, ALL), (&left, ALL), (&right, ALL)])]);
    let overlaps: Vec<_> = problems
        .iter()
        .filter_map(|p| match p {
            Problem::ClaimsOverlap { request, other, .. } => Some((*request, *other)),
            _ => None,
        })
        .collect();
    assert_eq!(overlaps, [(request(2), request(1)), (request(3), request(1)), (request(4), request(1))]);
}

#[test]
fn a_release_with_too_few_votes_for_its_limit_is_found() {
    let w = World::new();
    let spent = Spent { n: 1, pieces: &[(0, 10)], at: ISSUED };
    let problems = found(&w, &[log(&w, 0, &[(&spent, &[0, 1])])]);
    assert_eq!(problems, [Problem::Certificate(BadCertificate::TooFew)]);
}

#[test]
fn a_witness_that_voted_for_one_unit_twice_shows_in_its_own_log() {
    let w = World::new();
    let first = Spent { n: 1, pieces: &[(0, 10)], at: ISSUED };
    let over = Spent { n: 2, pieces: &[(9, 11)], at: ISSUED };
    let problems = found(&w, &[log(&w, 2, &[(&first, ALL), (&over, ALL)])]);
    assert_eq!(problems, [Problem::ClaimedTwice { voter: node_name(2), request: request(2), other: request(1) }]);
}
