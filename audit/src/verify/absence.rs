//! What one log shows that another leaves out: a node signs its own checkpoints, so that it can sign one over a shorter
//! log too. What it did with others stands in their logs, and must stand in its own (S-5.1).

use super::FINDINGS_MAX;
use super::finding::{Finding, Problem, Witness};
use super::ledger::{Fact, Request, Scope};
use super::walk::{Seen, Walk};
use super::warning::{Oddity, Warning};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::vote::VoteBody;
use tally_domain::{Attempt, NodeName, UnixMillis};

/// A log that goes on for longer than this after something is known to be later than that: five times what honest
/// clocks may differ ([`tally_domain::time::CLOCK_TOLERANCE_MS`]), and more than a leaf waits for its disk.
pub const CLOCK_SLACK_MS: u64 = 5_000;

/// Exports of running nodes end at moments that are no further apart than this: their checkpoints are taken before any
/// log is read.
pub const EXPORT_SLACK_MS: u64 = 60_000;

/// One try of one request.
type Try = (Request, Attempt);

/// What a node's own log holds of its doings.
struct Own {
    /// Time of its last leaf; nothing if it has none.
    ends: Option<UnixMillis>,
    votes: BTreeSet<Try>,
    releases: BTreeSet<Try>,
}

/// When and where something was first shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shown<'a> {
    time: UnixMillis,
    node: &'a NodeName,
    leaf: u64,
}

impl Shown<'_> {
    fn witness(&self) -> Witness {
        Witness { node: self.node.clone(), leaf: self.leaf }
    }
}

/// What a log should hold and does not.
enum Absent {
    Vote,
    Release,
}

/// The tries of a request by their numbers, each with its signers.
type Tries<'a> = BTreeMap<Attempt, &'a [NodeName]>;

/// All logs by their nodes, and the outcome.
struct Absence<'a> {
    own: BTreeMap<&'a NodeName, Own>,
    /// End of the log that goes on longest.
    latest: UnixMillis,
    findings: Vec<Finding>,
    warnings: Vec<Warning>,
}

/// Holds every log that is given against all others.
pub(super) fn check(walks: &[Walk<'_>], scope: Scope) -> (Vec<Finding>, Vec<Warning>) {
    let mut absence = Absence {
        own: walks.iter().map(|walk| (&walk.report.node, own(walk))).collect(),
        latest: walks.iter().map(|walk| walk.time).max().unwrap_or(UnixMillis(0)),
        findings: Vec::new(),
        warnings: Vec::new(),
    };
    absence.votes(walks);
    // With fewer logs, the attempt that led to a signature may be in none of them.
    if scope == Scope::AllSigners {
        absence.releases(walks);
    }
    (absence.findings, absence.warnings)
}

fn own(walk: &Walk<'_>) -> Own {
    let mut own =
        Own { ends: (walk.report.entries > 0).then_some(walk.time), votes: BTreeSet::new(), releases: BTreeSet::new() };
    for seen in &walk.facts {
        match &seen.fact {
            Fact::Vote { voter, body } if *voter == walk.report.node => drop(own.votes.insert(named(body))),
            Fact::Release { body, .. } => drop(own.releases.insert(named(body))),
            _ => {}
        }
    }
    own
}

fn named(body: &VoteBody) -> Try {
    ((body.tenant.clone(), body.request_id), body.attempt)
}

/// Every fact with its place.
fn facts<'a>(walks: &'a [Walk<'_>]) -> impl Iterator<Item = (Shown<'a>, &'a Fact)> {
    walks.iter().flat_map(|walk| {
        let shown = |seen: &'a Seen| Shown { time: seen.time, node: &walk.report.node, leaf: seen.leaf };
        walk.facts.iter().map(move |seen| (shown(seen), &seen.fact))
    })
}

/// Keeps the earliest place of each.
fn note<'a, K: Ord>(first: &mut BTreeMap<K, Shown<'a>>, what: K, shown: Shown<'a>) {
    let earliest = first.entry(what).or_insert_with(|| shown.clone());
    if shown < *earliest {
        *earliest = shown;
    }
}

impl<'a> Absence<'a> {
    /// Every voter of every certificate has the vote in its own log: it was there before it left the node (S-3.3).
    fn votes(&mut self, walks: &'a [Walk<'_>]) {
        let mut first = BTreeMap::new();
        for (shown, fact) in facts(walks) {
            let (body, voters) = match fact {
                Fact::Release { body, .. } => (body, body.signers.as_slice()),
                // Of a certificate in its home's log: all who have voted are known.
                Fact::Vote { voter, body } if body.home().is_some_and(|home| home == shown.node && home != voter) => {
                    (body, std::slice::from_ref(voter))
                }
                _ => continue,
            };
            for voter in voters {
                if self.own.get(voter).is_some_and(|own| !own.votes.contains(&named(body))) {
                    note(&mut first, (voter, named(body)), shown.clone());
                }
            }
        }
        for ((voter, what), shown) in first {
            self.judge(voter, what, &shown, Absent::Vote);
        }
    }

    /// A signature takes one attempt that all its signers released for. A certificate alone does not: a signer may have
    /// died before it came to that, and the request went on with another attempt.
    fn releases(&mut self, walks: &'a [Walk<'_>]) {
        let (mut signed, mut tries) = (BTreeMap::new(), BTreeMap::<Request, Tries<'a>>::new());
        for (shown, fact) in facts(walks) {
            match fact {
                Fact::Completion { request, .. } => note(&mut signed, request.clone(), shown),
                Fact::Release { body, .. } => {
                    let (request, attempt) = named(body);
                    tries.entry(request).or_default().insert(attempt, &body.signers);
                }
                _ => {}
            }
        }
        for (request, shown) in signed {
            let of_request = tries.remove(&request).unwrap_or_default();
            let lacking = of_request.into_iter().map(|(attempt, signers)| {
                let what = (request.clone(), attempt);
                let lacks = |own: &Own| !own.releases.contains(&what);
                let without: Vec<_> = signers.iter().filter(|s| self.own.get(*s).is_none_or(lacks)).collect();
                (without, what)
            });
            // Where no attempt is whole, the one that lacks least is taken for the one that led to the signature.
            let Some((without, what)) = lacking.min_by_key(|(without, _)| without.len()) else { continue };
            for signer in without {
                // Who lacks the vote too has been found already.
                if self.own.get(signer).is_some_and(|own| own.votes.contains(&what)) {
                    self.judge(signer, what.clone(), &shown, Absent::Release);
                }
            }
        }
    }

    /// Tells a log that was shortened from one whose export ended a moment earlier.
    fn judge(&mut self, node: &NodeName, ((_, request), attempt): Try, shown: &Shown<'_>, absent: Absent) {
        let ends = self.own.get(node).and_then(|own| own.ends);
        // A node writes its start before it votes, so that a log without any leaf was emptied.
        let goes_on = ends.is_none_or(|ends| ends > shown.time.plus(CLOCK_SLACK_MS));
        let shown_by = shown.witness();
        let problem = match absent {
            Absent::Vote if goes_on => Problem::VoteRemoved { voter: node.clone(), request, attempt, shown_by },
            Absent::Release if goes_on => Problem::ReleaseRemoved { signer: node.clone(), request, attempt, shown_by },
            _ if self.latest > shown.time.plus(EXPORT_SLACK_MS) => {
                Problem::EndsEarly { node: node.clone(), request, attempt, shown_by }
            }
            _ => {
                let what = Oddity::NotYetInOwnLog { node: node.clone(), request, attempt };
                self.warnings.push(Warning { node: shown.node.clone(), leaf: shown.leaf, what });
                return;
            }
        };
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { node: node.clone(), leaf: None, problem });
        }
    }
}
