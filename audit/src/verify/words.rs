//! Words about freezes that one log shows and another leaves out: a node writes its word down before it leaves.

use super::FINDINGS_MAX;
use super::absence::{CLOCK_SLACK_MS, EXPORT_SLACK_MS};
use super::finding::{Finding, FreezeProblem, Witness};
use super::walk::{Walk, Word};
use super::warning::{Oddity, Warning};
use std::collections::BTreeMap;
use tally_domain::{Digest, NodeName, UnixMillis};

/// Holds what logs show of other nodes' words against those nodes' own logs.
pub(super) fn check(walks: &[Walk<'_>]) -> (Vec<Finding>, Vec<Warning>) {
    let logs: BTreeMap<&NodeName, &Walk<'_>> = walks.iter().map(|walk| (&walk.report.node, walk)).collect();
    let latest = walks.iter().map(|walk| walk.time).max().unwrap_or(UnixMillis(0));
    let mut first: BTreeMap<(&NodeName, Digest), (&NodeName, &Word)> = BTreeMap::new();
    for walk in walks {
        for word in &walk.freezes.others {
            let shown = first.entry((&word.by, word.digest)).or_insert((&walk.report.node, word));
            if word.time < shown.1.time {
                *shown = (&walk.report.node, word);
            }
        }
    }
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    for ((by, digest), (node, word)) in first {
        let Some(own) = logs.get(by).filter(|own| !own.freezes.own.contains(&digest)) else { continue };
        let shown_by = Witness { node: node.clone(), leaf: word.leaf };
        // A node writes its start first, so that a log without any leaf was emptied.
        let goes_on = own.report.entries == 0 || own.time > word.time.plus(CLOCK_SLACK_MS);
        let problem = if goes_on {
            FreezeProblem::WordRemoved { by: by.clone(), shown_by }
        } else if latest > word.time.plus(EXPORT_SLACK_MS) {
            FreezeProblem::EndsEarly { by: by.clone(), shown_by }
        } else {
            let what = Oddity::WordNotYetInOwnLog { node: by.clone() };
            warnings.push(Warning { node: node.clone(), leaf: word.leaf, what });
            continue;
        };
        if findings.len() < FINDINGS_MAX {
            findings.push(Finding { node: by.clone(), leaf: None, problem: problem.into() });
        }
    }
    (findings, warnings)
}
