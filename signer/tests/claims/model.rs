//! Every behaviour of every voter on small lines: with q votes a certificate no limit is ever exceeded, with q - 1 it is.
//!
//! Leaders are the adversary: they make any claims and bring them to any voters in any order. Voters do not talk to each
//! other, so what a cluster can do is what each voter can do, side by side, and three kinds of voter are searched through
//! one by one, in every order of arrival, with the very code that nodes run. Then every combination of what they may have
//! voted for is counted out. Three symmetries keep that small, and none leaves a behaviour out: voters of a kind are
//! alike, so it only matters how many have voted for what; votes only ever help the adversary, so only the largest sets
//! of one voter's matter; and a bad voter has voted for everything.
//!
//! `CLAIMS_LONG=1` searches longer lines with more requests.

use super::*;
use std::collections::BTreeSet;
use tally_domain::claim::{CERTIFICATE_LIFE_MS, ISSUED_AT_TOLERANCE_MS, LineMemory, horizon_ms};
use tally_domain::quorum::Tolerance;
use tally_domain::time::CLOCK_TOLERANCE_MS;

/// A line, and what is asked of it: by how many requests, of what amounts, issued when.
struct Question {
    name: &'static str,
    max: u128,
    requests: Vec<(u128, u64)>,
    pieces: usize,
}

/// One claim that a leader may bring to a voter.
struct Asked {
    request: usize,
    issued_at: UnixMillis,
    claim: LineClaim,
}

/// The claims that a voter has voted for, one bit each.
type Votes = u64;

const WINDOW: u64 = HOUR;

const VOTERS_MAX: usize = 7;

fn questions() -> Vec<Question> {
    let at_once = |amounts: &[u128]| amounts.iter().map(|a| (*a, 0)).collect();
    let horizon = horizon_ms(WINDOW);
    vec![
        Question { name: "two for one unit", max: 1, requests: at_once(&[1, 1]), pieces: 1 },
        Question { name: "three for two units", max: 2, requests: at_once(&[1, 1, 1]), pieces: 1 },
        Question { name: "two that overlap by halves", max: 3, requests: at_once(&[2, 2]), pieces: 1 },
        Question { name: "two in pieces", max: 3, requests: at_once(&[2, 2]), pieces: 2 },
        Question { name: "unlike amounts", max: 3, requests: at_once(&[1, 1, 2]), pieces: 1 },
        Question {
            name: "one unit over time",
            max: 1,
            requests: vec![(1, 0), (1, horizon - 1), (1, horizon), (1, 2 * horizon - 1)],
            pieces: 1,
        },
        Question { name: "four for two units", max: 2, requests: at_once(&[1, 1, 1, 1]), pieces: 1 },
        Question { name: "three pairs on a line of four", max: 4, requests: at_once(&[2, 2, 2]), pieces: 1 },
        Question { name: "three in pieces", max: 3, requests: at_once(&[2, 2, 1]), pieces: 2 },
    ]
}

fn long_questions() -> Vec<Question> {
    vec![
        Question { name: "five for two units", max: 2, requests: vec![(1, 0); 5], pieces: 1 },
        Question { name: "three pairs on a line of five", max: 5, requests: vec![(2, 0); 3], pieces: 1 },
    ]
}

/// Voters, of whom so many are bad and so many are restored from an older copy once.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    voters: usize,
    faulty: u8,
    restored: u8,
}

/// Every cluster of up to seven voters of whom any is honest.
fn clusters() -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for voters in 2..=VOTERS_MAX {
        for faulty in 0..=3 {
            for restored in 0..=1 {
                if usize::from(faulty + restored) < voters {
                    clusters.push(Cluster { voters, faulty, restored });
                }
            }
        }
    }
    clusters
}

#[test]
fn i5_no_limit_is_exceeded_with_q_votes_and_every_one_is_with_one_vote_less() {
    let mut all = questions();
    if std::env::var_os("CLAIMS_LONG").is_some() {
        all.extend(long_questions());
    }
    for question in all {
        let search = Search::new(&question);
        for cluster in clusters() {
            let tolerance = Tolerance { faulty: cluster.faulty, restored: cluster.restored };
            let q = tolerance.votes_needed(cluster.voters);
            let name = question.name;
            assert!(!search.exceeded(cluster, q), "{name}: exceeded by {cluster:?} with {q} votes");
            assert!(search.exceeded(cluster, q - 1), "{name}: holds in {cluster:?} with {} votes, so is blind", q - 1);
        }
    }
}

/// Without the rule not even all votes together hold a limit.
#[test]
fn voters_that_forget_at_once_hold_no_limit() {
    for question in questions() {
        let mut search = Search::new(&question);
        let everything = (1 << search.asked.len()) - 1;
        search.tallies = tallies(&[everything], search.asked.len());
        assert!(search.exceeded(Cluster { voters: 7, faulty: 0, restored: 0 }, 7), "{}", question.name);
    }
}

/// What voters can have voted for, of one question.
struct Search<'a> {
    question: &'a Question,
    asked: Vec<Asked>,
    /// By how many honest voters there are: all ways in which their votes can be spread over the claims.
    tallies: Vec<BTreeSet<Tally>>,
    /// The same of one voter that is restored once.
    restored: Vec<Votes>,
}

/// Votes for each claim.
type Tally = Vec<usize>;

impl<'a> Search<'a> {
    fn new(question: &'a Question) -> Self {
        let asked = question.asked();
        let honest = largest(reachable(&asked, false));
        let restored = largest(reachable(&asked, true));
        Self { question, tallies: tallies(&honest, asked.len()), restored, asked }
    }

    /// Whether so many votes for a certificate let this cluster be brought to exceed the limit.
    fn exceeded(&self, cluster: Cluster, votes: usize) -> bool {
        let faulty = usize::from(cluster.faulty);
        let honest = cluster.voters - faulty - usize::from(cluster.restored);
        let restored = if cluster.restored == 0 { &[0][..] } else { &self.restored };
        self.tallies[honest].iter().any(|tally| {
            restored.iter().any(|of_restored| {
                let certified = |claim: usize| tally[claim] + faulty + bit(*of_restored, claim) >= votes;
                self.question.over(&self.asked, certified)
            })
        })
    }
}

fn tallies(sets: &[Votes], claims: usize) -> Vec<BTreeSet<Tally>> {
    let mut by_voters = vec![BTreeSet::from([vec![0; claims]])];
    for _ in 0..VOTERS_MAX {
        let one_more = |tally: &Tally, set: Votes| tally.iter().enumerate().map(|(i, n)| n + bit(set, i)).collect();
        let before = by_voters.last().unwrap();
        by_voters.push(before.iter().flat_map(|tally| sets.iter().map(|set| one_more(tally, *set))).collect());
    }
    by_voters
}

fn bit(votes: Votes, claim: usize) -> usize {
    usize::from(votes >> claim & 1 == 1)
}

impl Question {
    /// All claims of all requests: every set of units of the right amount in not too many pieces.
    fn asked(&self) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (request, (amount, after)) in self.requests.iter().enumerate() {
            for units in 0u32..1 << self.max {
                let pieces = runs(units);
                if u128::from(units.count_ones()) == *amount && pieces.len() <= self.pieces {
                    let claim = claim(self.max, WINDOW, &pieces);
                    asked.push(Asked { request, issued_at: NOW.plus(*after), claim });
                }
            }
        }
        assert!(asked.len() < 64, "a claim is a bit");
        asked
    }

    /// Whether signatures under these certificates can fall into one window and sum to more than the line. All claims of
    /// a request are issued at one time here, so it makes no difference which of them was certified.
    fn over(&self, asked: &[Asked], certified: impl Fn(usize) -> bool) -> bool {
        let mut signed = vec![false; self.requests.len()];
        for (i, asked) in asked.iter().enumerate() {
            signed[asked.request] |= certified(i);
        }
        let signed = || self.requests.iter().zip(&signed).filter(|(_, signed)| **signed).map(|(request, _)| *request);
        signed().any(|(_, first)| {
            let with_it = signed().filter(|(_, at)| *at >= first && share_a_window(first, *at));
            with_it.map(|(amount, _)| amount).sum::<u128>() > self.max
        })
    }
}

/// Whether what was issued at `a` may be signed so late, and what was issued at `b` so early, that less than a window is
/// between them: DESIGN 5.1 in so many words, for the rule's distance to be held against.
fn share_a_window(a: u64, b: u64) -> bool {
    let latest = i128::from(a) + i128::from(CERTIFICATE_LIFE_MS + CLOCK_TOLERANCE_MS);
    let earliest = i128::from(b) - i128::from(ISSUED_AT_TOLERANCE_MS + CLOCK_TOLERANCE_MS);
    earliest - latest < i128::from(WINDOW)
}

/// Everything that one voter can have voted for, whatever comes to it in whatever order. One that is restored goes back,
/// once, to what it knew at some earlier moment.
fn reachable(asked: &[Asked], may_be_restored: bool) -> BTreeSet<Votes> {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Voter {
        memory: LineMemory,
        voted: Votes,
        copy: Option<LineMemory>,
        restored: bool,
    }
    let fresh = Voter { memory: LineMemory::default(), voted: 0, copy: None, restored: !may_be_restored };
    let mut seen = BTreeSet::from([fresh.clone()]);
    let mut open = vec![fresh];
    while let Some(voter) = open.pop() {
        let mut next = Vec::new();
        for (bit, asked) in asked.iter().enumerate() {
            let mut voter = voter.clone();
            let by = who(u8::try_from(asked.request).unwrap());
            if let Ok(voted) = voter.memory.consider(&by, &asked.claim, asked.issued_at) {
                voter.memory.keep(voted, WINDOW);
                voter.voted |= 1 << bit;
                next.push(voter);
            }
        }
        match &voter.copy {
            None if !voter.restored => next.push(Voter { copy: Some(voter.memory.clone()), ..voter.clone() }),
            Some(copy) => {
                next.push(Voter { memory: copy.clone(), copy: None, restored: true, ..voter.clone() });
            }
            None => {}
        }
        open.extend(next.into_iter().filter(|voter| seen.insert(voter.clone())));
    }
    seen.into_iter().map(|voter| voter.voted).collect()
}

/// Those sets of votes that are in no other.
fn largest(sets: BTreeSet<Votes>) -> Vec<Votes> {
    let within_another = |set: &Votes| sets.iter().any(|other| other != set && other & set == *set);
    sets.iter().copied().filter(|set| !within_another(set)).collect()
}

/// The maximal runs of set bits.
fn runs(units: u32) -> Vec<(u128, u128)> {
    let mut runs: Vec<(u128, u128)> = Vec::new();
    for unit in (0..32).filter(|unit| units >> unit & 1 == 1) {
        match runs.last_mut() {
            Some((_, to)) if *to == unit => *to += 1,
            _ => runs.push((unit, unit + 1)),
        }
    }
    runs
}
