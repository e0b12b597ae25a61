//! The offline check: of one node's log, and of several together. Needs the roster, the leaves and the checkpoints.
//!
//! One log shows that its node kept the rules by itself: it voted only for what it had permitted, released only on a
//! certificate, never used a nonce twice. That no two nodes tell different stories shows only together. What the check
//! does not do: run policy again, or decode content again; it takes the node's word for what it permitted.

mod finding;
mod ledger;
mod signature;
mod walk;

pub use finding::{Finding, Oddity, Problem, Warning};

use ledger::{Ledger, Scope};
use std::collections::BTreeSet;
use tally_domain::roster::{NodeRole, Roster};
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
pub fn verify_log(
    roster: &Roster,
    node: &NodeName,
    entries: &[Vec<u8>],
    checkpoint: &str,
) -> Result<Report, Vec<Finding>> {
    let walk = Walk::over(roster, node, entries, checkpoint);
    conclude(vec![walk], Scope::OneLog).map(|mut reports| reports.remove(0))
}

/// Checks several nodes' logs, each by itself and all against each other. Only with the logs of all share-holders can
/// it be told that a signature has no certificate or no key anywhere; with fewer these are warnings.
///
/// # Errors
/// Everything that is wrong, at most [`FINDINGS_MAX`] a log and as many across them.
pub fn verify_together(roster: &Roster, logs: &[ExportedLog]) -> Result<Vec<Report>, Vec<Finding>> {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = logs
        .iter()
        .filter(|log| !seen.insert(&log.node))
        .map(|log| Finding { node: log.node.clone(), leaf: None, problem: Problem::TwoLogs })
        .collect();
    if !twice.is_empty() {
        return Err(twice);
    }
    let walks = logs.iter().map(|log| Walk::over(roster, &log.node, &log.entries, &log.checkpoint)).collect();
    let complete = roster.nodes.iter().filter(|n| n.role == NodeRole::Signer).all(|n| seen.contains(&n.name));
    conclude(walks, if complete { Scope::AllSigners } else { Scope::SomeLogs })
}

/// Puts what the logs say into one ledger and sorts the outcome.
fn conclude(walks: Vec<Walk>, scope: Scope) -> Result<Vec<Report>, Vec<Finding>> {
    let mut ledger = Ledger::new(scope);
    for walk in &walks {
        for (leaf, fact) in &walk.facts {
            ledger.enter(&walk.report.node, *leaf, fact);
        }
    }
    let (across, warnings) = ledger.close();
    let mut findings = Vec::new();
    let mut reports = Vec::new();
    for walk in walks {
        findings.extend(walk.findings);
        reports.push(walk.report);
    }
    findings.extend(across);
    if !findings.is_empty() {
        return Err(findings);
    }
    for report in &mut reports {
        report.warnings.extend(warnings.iter().filter(|w| w.node == report.node).cloned());
    }
    Ok(reports)
}
