//! The offline check: of one node's log, and of several together. Needs the roster, the leaves and the checkpoints.
//!
//! One log shows that its node kept the rules by itself: it voted only for what it had permitted, released only on a
//! certificate, never used a nonce twice, used no key while it was frozen, and wrapped and opened only what clients asked
//! for, with versions of KEKs that were enabled; of limited work that it did alone, that a quorum had certified it. Given the
//! bundle's persons and rules, that whatever a rule asks persons for was signed by enough of them, and nothing after one of
//! them rejected it. That no two nodes tell different stories shows only together, and so does that no node has shortened
//! its own: a certificate in any log names votes that their voters' logs must hold. What the check does not do: run policy
//! again, or decode content again; it takes the node's word for what it permitted, and that no limit applied where it asked
//! for no votes. Nor can it find what a node did alone, such as a refusal, once the node has rewritten its log.

mod absence;
mod basis;
mod bundles;
mod finding;
mod ledger;
mod lines;
mod signature;
mod walk;
mod warning;
mod words;

pub use absence::{CLOCK_SLACK_MS, EXPORT_SLACK_MS};
pub use basis::{Approvers, Basis};
pub use bundles::{BundleFacts, Bundles, envelopes};
pub use finding::{
    ApprovalProblem, BundleProblem, Finding, FreezeProblem, HomeProblem, KekProblem, Problem, TokenProblem, Witness,
};
pub use warning::{Oddity, Warning};

use ledger::{Ledger, Scope};
use std::collections::BTreeSet;
use tally_domain::roster::NodeRole;
use tally_domain::{Digest, NodeName, RequestId, Tenant};
use walk::Walk;

/// Most findings that are collected from one log: a damaged log is as wrong with a thousand of them as with a million.
pub const FINDINGS_MAX: usize = 1_000;

/// What a checked log contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose log.
    pub node: NodeName,
    /// Number of leaves.
    pub entries: u64,
    /// Root over them.
    pub root: Digest,
    /// Intents that came in.
    pub intents: u64,
    /// What was permitted, in order.
    pub permits: Vec<PermitLine>,
    /// What was refused, in order.
    pub refusals: Vec<RefusalLine>,
    /// Partial signatures that were released.
    pub releases: u64,
    /// Requests with a signature that verifies.
    pub signatures: u64,
    /// Keys that all their participants certified.
    pub keys: u64,
    /// What KEKs have wrapped or opened.
    pub wraps: u64,
    /// Cards and tokens that token domains have done something with.
    pub tokens: u64,
    /// What is allowed but worth a look.
    pub warnings: Vec<Warning>,
}

/// One permitted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitLine {
    /// Index of the leaf.
    pub leaf: u64,
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// The rule that permitted it.
    pub rule: String,
    /// What it does, as the node decoded it.
    pub summary: String,
}

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalLine {
    /// Index of the leaf.
    pub leaf: u64,
    /// Tenant of the request.
    pub tenant: Tenant,
    /// The request.
    pub request_id: RequestId,
    /// A [`tally_domain::Reason`] word.
    pub reason: String,
    /// The rule that decided, if any.
    pub rule: String,
    /// The condition that failed, if any.
    pub condition: String,
    /// What it would have done, as the node decoded it.
    pub summary: String,
}

/// One node's log as exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedLog {
    /// Whose log it is said to be.
    pub node: NodeName,
    /// All leaves ([`crate::export::parse_entries`]).
    pub entries: Vec<Vec<u8>>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Checks one node's log.
///
/// # Errors
/// Everything that is wrong with it, at most [`FINDINGS_MAX`] and one line each.
pub fn verify_log<'a>(
    basis: impl Into<Basis<'a>>,
    node: &NodeName,
    entries: &[Vec<u8>],
    checkpoint: &str,
) -> Result<Report, Vec<Finding>> {
    let walk = Walk::over(basis.into(), node, entries, checkpoint);
    conclude(vec![walk], Scope::OneLog).map(|mut reports| reports.remove(0))
}

/// Checks the logs of all nodes of the roster, each by itself and all against each other.
///
/// # Errors
/// Everything that is wrong, at most [`FINDINGS_MAX`] a log and as many across them. A node of the roster without a log
/// is one of it.
pub fn verify_together<'a>(basis: impl Into<Basis<'a>>, logs: &[ExportedLog]) -> Result<Vec<Report>, Vec<Finding>> {
    let basis = basis.into();
    let given: BTreeSet<_> = logs.iter().map(|log| &log.node).collect();
    let missing = basis.roster.nodes.iter().filter(|n| !given.contains(&n.name));
    let missing = missing.map(|n| Finding { node: n.name.clone(), leaf: None, problem: Problem::LogMissing });
    let mut missing: Vec<_> = missing.collect();
    match verify_partial(basis, logs) {
        Ok(reports) if missing.is_empty() => Ok(reports),
        Ok(_) => Err(missing),
        Err(found) => {
            missing.extend(found);
            Err(missing)
        }
    }
}

/// As [`verify_together`] with the logs of some nodes only. What only an absent log holds is not found; and only with
/// the logs of all share-holders can it be told that a signature has no certificate or no key anywhere, so that with
/// fewer these are warnings.
///
/// # Errors
/// Everything that is wrong with the logs that are given.
pub fn verify_partial<'a>(basis: impl Into<Basis<'a>>, logs: &[ExportedLog]) -> Result<Vec<Report>, Vec<Finding>> {
    let basis = basis.into();
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = logs
        .iter()
        .filter(|log| !seen.insert(&log.node))
        .map(|log| Finding { node: log.node.clone(), leaf: None, problem: Problem::TwoLogs })
        .collect();
    if !twice.is_empty() {
        return Err(twice);
    }
    let walks = logs.iter().map(|log| Walk::over(basis, &log.node, &log.entries, &log.checkpoint)).collect();
    let complete = basis.roster.nodes.iter().filter(|n| n.role == NodeRole::Signer).all(|n| seen.contains(&n.name));
    conclude(walks, if complete { Scope::AllSigners } else { Scope::SomeLogs })
}

/// Puts what the logs say into one ledger, looks for what they leave out, and sorts the outcome.
fn conclude(walks: Vec<Walk>, scope: Scope) -> Result<Vec<Report>, Vec<Finding>> {
    let mut ledger = Ledger::new(scope);
    for walk in &walks {
        for seen in &walk.facts {
            ledger.enter(&walk.report.node, seen.leaf, &seen.fact);
        }
    }
    let (across, mut warnings) = ledger.close();
    let (absent, not_yet) = absence::check(&walks, scope);
    warnings.extend(not_yet);
    let (unsaid, unsaid_yet) = words::check(&walks);
    warnings.extend(unsaid_yet);
    let changed = bundles::check(&walks);
    let mut findings = Vec::new();
    let mut reports = Vec::new();
    for walk in walks {
        findings.extend(walk.findings);
        reports.push(walk.report);
    }
    findings.extend(across);
    findings.extend(absent);
    findings.extend(unsaid);
    findings.extend(changed);
    if !findings.is_empty() {
        return Err(findings);
    }
    for report in &mut reports {
        report.warnings.extend(warnings.iter().filter(|w| w.node == report.node).cloned());
    }
    Ok(reports)
}
