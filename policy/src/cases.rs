//! `tests/*.case.toml`: what a bundle's author expects it to decide. Nodes carry them and do not read them.

mod mutate;
mod read;

pub use mutate::{Threshold, unnoticed};
pub(crate) use read::name_of;

use crate::approvals::Approvals;
use crate::bundle::{Bundle, Files};
use crate::charges::charges;
use crate::decide::{Decision, DecisionRequest, PolicyAction, decide_approved};
use crate::error::BundleError;
use std::collections::BTreeMap;
use tally_domain::facts::Facts;
use tally_domain::{ClientId, HsmKeySpec, KeyName, KeySpec, Reason, UnixMillis};

/// A request that is made up, and what should become of it.
pub struct Case {
    file: String,
    name: String,
    client: ClientId,
    key: KeyName,
    at: UnixMillis,
    asked: Asked,
    approvals: Approvals,
    expected: Expected,
}

enum Asked {
    Sign(Facts),
    CreateKey(KeySpec),
    CreateHsmKey(HsmKeySpec),
}

/// What is not named may be anything.
struct Expected {
    verdict: &'static str,
    rule: Option<String>,
    reason: Option<Reason>,
    /// Everything that is charged, by limit.
    charges: Option<BTreeMap<String, u128>>,
}

const PERMIT: &str = "permit";
const DENY: &str = "deny";
const NEEDS_APPROVAL: &str = "needs approval";

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// The file.
    pub file: String,
    /// The case.
    pub name: String,
    /// What was decided, in words.
    pub found: String,
    /// What was expected, in words; none if that is what was found.
    pub wrong: Option<String>,
}

impl Case {
    /// Reads the cases of a bundle's files.
    ///
    /// # Errors
    /// [`BundleError`] with file, line and column.
    pub fn load_all(bundle: &Bundle, files: &Files) -> Result<Vec<Self>, BundleError> {
        read::all(bundle, files)
    }

    /// Decides the case under a bundle.
    pub fn run(&self, bundle: &Bundle) -> CaseReport {
        let action = match &self.asked {
            Asked::Sign(facts) => PolicyAction::Sign(facts),
            Asked::CreateKey(spec) => PolicyAction::CreateKey(spec),
            Asked::CreateHsmKey(spec) => PolicyAction::CreateHsmKey(spec),
        };
        let request = DecisionRequest { client: &self.client, key: &self.key, action };
        let decision = decide_approved(bundle, &request, &self.approvals, self.at);
        let charged = charges(bundle, &request).ok().map(|all| {
            let mut sums = BTreeMap::<String, u128>::new();
            for charge in all {
                let sum = sums.entry(charge.limit.to_string()).or_default();
                *sum = sum.saturating_add(charge.amount);
            }
            sums
        });
        let found = Found::of(&decision, charged);
        let wrong = (!found.meets(&self.expected)).then(|| self.expected.to_string());
        CaseReport { file: self.file.clone(), name: self.name.clone(), found: found.to_string(), wrong }
    }
}

/// A decision as cases compare it.
struct Found {
    verdict: &'static str,
    rules: Vec<String>,
    reason: Option<Reason>,
    charges: Option<BTreeMap<String, u128>>,
}

impl Found {
    fn of(decision: &Decision, charges: Option<BTreeMap<String, u128>>) -> Self {
        let (verdict, rules, reason) = match decision {
            Decision::Permit { rule } => (PERMIT, vec![rule.clone()], None),
            Decision::NeedsApproval(needs) => {
                let paths = needs.iter().flat_map(|need| &need.paths);
                (NEEDS_APPROVAL, paths.map(|path| path.rule.clone()).collect(), None)
            }
            Decision::Deny(denied) if denied.forbidden_by.is_empty() => {
                (DENY, denied.near_misses.iter().map(|miss| miss.rule.clone()).collect(), Some(denied.reason))
            }
            Decision::Deny(denied) => (DENY, denied.forbidden_by.clone(), Some(denied.reason)),
        };
        Self { verdict, rules, reason, charges }
    }

    fn meets(&self, expected: &Expected) -> bool {
        self.verdict == expected.verdict
            && expected.rule.as_ref().is_none_or(|rule| self.rules.contains(rule))
            && expected.reason.is_none_or(|reason| self.reason == Some(reason))
            && (expected.charges.is_none() || expected.charges == self.charges)
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.verdict)?;
        if let Some(reason) = self.reason {
            write!(f, ", {}", reason.as_str())?;
        }
        if !self.rules.is_empty() {
            write!(f, ", by {}", self.rules.join(", "))?;
        }
        write_charges(f, self.charges.as_ref())
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.verdict)?;
        if let Some(reason) = self.reason {
            write!(f, ", {}", reason.as_str())?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ", by {rule}")?;
        }
        write_charges(f, self.charges.as_ref())
    }
}

fn write_charges(f: &mut std::fmt::Formatter<'_>, charges: Option<&BTreeMap<String, u128>>) -> std::fmt::Result {
    match charges {
        Some(charges) if charges.is_empty() => f.write_str(", nothing charged"),
        Some(charges) => charges.iter().try_for_each(|(limit, units)| write!(f, ", {units} units of {limit}")),
        None => Ok(()),
    }
}
