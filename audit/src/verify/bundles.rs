//! The policy bundles of a log's time. This crate reads no policy: whoever calls opens the signed bundles that the leaves
//! hold ([`envelopes`]), each after the one before it, and says here what is in them.

use super::finding::{BundleProblem, Finding, Problem};
use super::walk::Walk;
use crate::event::{BundleEvent, Event, What};
use std::collections::BTreeMap;
use tally_domain::activation::BundleName;
use tally_domain::roster::Roster;
use tally_domain::{Digest, NodeName};

/// What the check needs of a signed bundle whose admins' signatures are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFacts {
    /// Which.
    pub name: BundleName,
    /// Who took part.
    pub roster: Roster,
    /// How long what loosens this one waits.
    pub loosening_delay_ms: u64,
    /// Whether it only tightens the one before it.
    pub tightens: bool,
}

/// The signed bundles of a cluster: the first, and what its admins and theirs have let follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles {
    first: Option<Digest>,
    known: BTreeMap<Digest, BundleFacts>,
}

/// Nobody has said anything of bundles.
pub(super) static NONE: Bundles = Bundles { first: None, known: BTreeMap::new() };

impl Bundles {
    /// A chain that begins with a pinned bundle.
    pub fn after(first: Digest, known: impl IntoIterator<Item = BundleFacts>) -> Self {
        Self { first: Some(first), known: known.into_iter().map(|facts| (facts.name.digest, facts)).collect() }
    }

    /// Also those of another branch: what was signed and never became active.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.known.extend(others.known);
        self
    }

    pub(super) fn first(&self) -> Option<Digest> {
        self.first
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&BundleFacts> {
        self.known.get(digest)
    }

    /// Whether these were given at all: without them, what a bundle says cannot be checked.
    pub(super) fn are_given(&self) -> bool {
        self.first.is_some()
    }
}

/// The signed bundles that leaves hold, encoded. What does not read is for the check to find.
pub fn envelopes(entries: &[Vec<u8>]) -> impl Iterator<Item = Vec<u8>> {
    entries.iter().filter_map(|leaf| match Event::from_leaf(leaf).ok()?.what {
        What::Bundle(
            BundleEvent::Began { envelope }
            | BundleEvent::Seen { envelope, .. }
            | BundleEvent::Activated { envelope, .. }
            | BundleEvent::Forked { envelope },
        ) => Some(envelope),
        _ => None,
    })
}

/// Holds votes and activations of all logs against each other.
pub(super) fn check(walks: &[Walk<'_>]) -> Vec<Finding> {
    let mut votes: BTreeMap<(&NodeName, Digest), Digest> = BTreeMap::new();
    let mut active: BTreeMap<Digest, (Digest, &NodeName)> = BTreeMap::new();
    let mut findings = Vec::new();
    for walk in walks {
        let node = &walk.report.node;
        let mut find = |leaf, problem: BundleProblem| {
            findings.push(Finding { node: node.clone(), leaf: Some(leaf), problem: Problem::Bundle(problem) });
        };
        for (leaf, voter, previous, digest) in &walk.bundles.votes {
            if votes.entry((voter, *previous)).or_insert(*digest) != digest {
                find(*leaf, BundleProblem::TwoVotes { voter: voter.clone(), previous: *previous });
            }
        }
        for (leaf, previous, digest) in &walk.bundles.activations {
            let (first, other) = active.entry(*previous).or_insert((*digest, node));
            if first != digest {
                find(*leaf, BundleProblem::TwoActive { previous: *previous, other: other.clone() });
            }
        }
    }
    findings
}
