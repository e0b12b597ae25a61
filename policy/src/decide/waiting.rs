//! Permits that wait for persons, and what a request of several parts waits for.

use super::{Case, Decision, Denied, inexpressible};
use crate::bundle::Quorum;
use crate::rules::Rule;
use std::collections::BTreeSet;
use tally_domain::Reason;

/// Who must approve, by one rule or another. The nearest path, by how many persons are missing, comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Each is enough.
    pub paths: Vec<ApprovalPath>,
}

/// A permit that matches and waits for persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPath {
    /// The permit.
    pub rule: String,
    /// What it asks, of each group.
    pub needed: Vec<Quorum>,
    /// What is missing yet.
    pub missing: Vec<Quorum>,
}

impl Case<'_> {
    /// Any permit that matches will do: the first in the file that asks nobody, else the first that enough have approved.
    pub(super) fn approved(&self, permits: &[&Rule]) -> Decision {
        if let Some(rule) = permits.iter().find(|rule| rule.approvals.is_empty()) {
            return Decision::Permit { rule: rule.id.clone() };
        }
        let rejected_by = |rule: &&Rule| self.approvals.rejected_by(self.bundle, &rule.approvals);
        let rejected: BTreeSet<_> = permits.iter().flat_map(rejected_by).cloned().collect();
        if !rejected.is_empty() {
            let rejected_by = rejected.into_iter().collect();
            return Decision::Deny(Denied { rejected_by, ..Denied::because(Reason::Rejected) });
        }
        let path = |rule: &&Rule| ApprovalPath {
            rule: rule.id.clone(),
            needed: rule.approvals.clone(),
            missing: self.approvals.missing(self.bundle, self.client, &rule.approvals),
        };
        let mut paths: Vec<_> = permits.iter().map(path).collect();
        paths.sort_by_key(|path| path.missing.iter().map(|quorum| quorum.needed).sum::<usize>());
        match paths.first() {
            Some(met) if met.missing.is_empty() => Decision::Permit { rule: met.rule.clone() },
            Some(_) => Decision::NeedsApproval(vec![Need { paths }]),
            None => inexpressible("the deciding rule has no name".into()),
        }
    }
}

/// Permitted by the rules of all, each named once, or denied by the first that denies, or waiting for all that wait; none
/// of none.
pub(super) fn all(decisions: impl Iterator<Item = Decision>) -> Option<Decision> {
    let (mut rules, mut needs) = (Vec::<String>::new(), Vec::<Need>::new());
    for decision in decisions {
        match decision {
            Decision::Permit { rule } if rules.contains(&rule) => {}
            Decision::Permit { rule } => rules.push(rule),
            Decision::NeedsApproval(more) => {
                for need in more {
                    if !needs.contains(&need) {
                        needs.push(need);
                    }
                }
            }
            denied @ Decision::Deny(_) => return Some(denied),
        }
    }
    if !needs.is_empty() {
        return Some(Decision::NeedsApproval(needs));
    }
    (!rules.is_empty()).then(|| Decision::Permit { rule: rules.join(",") })
}
