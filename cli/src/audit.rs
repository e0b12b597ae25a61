//! `tally audit`: takes the nodes' logs home and checks them there, without any server.

mod chain;
pub mod export;

use crate::bundle::OfBundle;
use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::{input, policy};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tally_audit::export::{CHECKPOINT_FILE, ENTRIES_FILE, parse_entries};
use tally_audit::note::NOTE_MAX_BYTES;
use tally_audit::verify::{
    Approvers, Basis, ExportedLog, Problem, RefusalLine, Report, verify_partial, verify_together,
};
use tally_client::Exit;
use tally_domain::NodeName;

/// Largest log that is read into memory to be verified: some four million requests.
const LOG_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// `tally audit ...`
#[derive(Debug, clap::Subcommand)]
pub enum Audit {
    /// Write every node's log to a directory of its own in DIR. Ends with 5, and names them, if some cannot be had.
    Export {
        /// A new or empty directory.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Check exported logs, each by itself and all against each other. Asks no server. Ends with 1 if anything is wrong.
    Verify {
        /// The exported logs.
        dir: PathBuf,
        /// The first policy bundle, signed: those that followed it are in the logs. Or, for nodes whose policy nobody has
        /// signed, its directory.
        #[arg(long, value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Take the logs of some nodes; without it, a node of the roster without a log is a finding.
        #[arg(long)]
        partial: bool,
        /// List permits, refusals and warnings.
        #[arg(long)]
        verbose: bool,
    },
}

impl Audit {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        match self {
            Self::Export { out } => {
                let progress = Progress::start("exporting", None);
                let logs = export::export(&profile.client()?, &out).await?;
                drop(progress);
                Ok(export::shown(&logs))
            }
            Self::Verify { dir, bundle, partial, verbose } => {
                verified(&dir, &bundle, if partial { Extent::Partial } else { Extent::All }, verbose)
            }
        }
    }
}

/// Runs `tally audit verify`.
fn verified(dir: &Path, bundle: &Path, extent: Extent, verbose: bool) -> anyhow::Result<Shown> {
    Ok(match verify(dir, &policy::any(bundle)?, extent)? {
        Ok(reports) => good(&reports, verbose),
        Err(findings) => bad(&findings),
    })
}

/// Which logs must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those of all nodes of the roster.
    All,
    /// Any.
    Partial,
}

/// Verifies all logs in a directory: what they contain, or what is wrong.
pub fn verify(dir: &Path, first: &policy::Read, extent: Extent) -> anyhow::Result<Result<Vec<Report>, Vec<String>>> {
    let (mut logs, mut damaged, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let entries = std::fs::read_dir(dir).map_err(|e| Usage(format!("cannot read {}: {e}", dir.display())))?;
    let mut dirs: Vec<_> = entries.flatten().map(|e| e.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    for dir in dirs {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let node = NodeName::parse(&name).map_err(|e| Usage(e.to_string()))?;
        let checkpoint = input::file(&dir.join(CHECKPOINT_FILE), NOTE_MAX_BYTES as u64)?;
        match parse_entries(&input::file(&dir.join(ENTRIES_FILE), LOG_MAX_BYTES)?) {
            Ok(entries) => {
                let checkpoint = String::from_utf8_lossy(&checkpoint).into_owned();
                logs.push(ExportedLog { node, entries, checkpoint });
            }
            Err(error) => {
                damaged.push(format!("log of {node}: {error}"));
                unread.push(node);
            }
        }
    }
    if logs.is_empty() && damaged.is_empty() {
        return Err(Usage(format!("{} holds no exported log", dir.display())).into());
    }
    let (bundles, opened) = chain::of(first, &logs);
    let persons: Vec<_> = std::iter::once(&first.bundle).chain(&opened).map(OfBundle).collect();
    let persons: Vec<&dyn Approvers> = persons.iter().map(|p| p as &dyn Approvers).collect();
    let basis = Basis::from(first.bundle.roster()).under(&bundles).with_approvers(&persons);
    let outcome = match extent {
        Extent::All => verify_together(basis, &logs),
        Extent::Partial => verify_partial(basis, &logs),
    };
    let findings = match outcome {
        Ok(reports) if damaged.is_empty() => return Ok(Ok(reports)),
        Ok(_) => Vec::new(),
        Err(findings) => findings,
    };
    // A log that cannot be read is not missing.
    let found = findings.iter().filter(|f| f.problem != Problem::LogMissing || !unread.contains(&f.node));
    Ok(Err(damaged.into_iter().chain(found.map(ToString::to_string)).collect()))
}

/// `3 permits, 1 refusal ...` of one log.
pub fn counts(report: &Report) -> String {
    format!(
        "{} leaves, {} intents, {} permits, {} refusals, {} releases, {} signatures, {} keys, {} wraps, {} cards",
        report.entries,
        report.intents,
        report.permits.len(),
        report.refusals.len(),
        report.releases,
        report.signatures,
        report.keys,
        report.wraps,
        report.tokens,
    )
}

/// A refusal in one line.
pub fn refusal(r: &RefusalLine) -> String {
    let parts = [r.reason.as_str(), r.rule.as_str(), r.condition.as_str(), r.summary.as_str()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} {}", r.request_id, parts.join(", "))
}

fn good(reports: &[Report], verbose: bool) -> Shown {
    let mut lines = Vec::new();
    for report in reports {
        lines.push(format!("{}: verified, {}", report.node, counts(report)));
        if verbose {
            lines.push(field("root", report.root));
            lines.extend(
                report
                    .permits
                    .iter()
                    .map(|p| field("permit", format!("{} by {}: {}", p.request_id, p.rule, p.summary))),
            );
            lines.extend(report.refusals.iter().map(|r| field("refusal", refusal(r))));
            lines.extend(report.warnings.iter().map(|w| field("warning", w)));
        } else if !report.warnings.is_empty() {
            lines.push(field("warnings", format!("{}; see them with --verbose", report.warnings.len())));
        }
    }
    Shown::done(lines.join("\n"), json!({ "verified": true, "logs": reports.iter().map(to_json).collect::<Vec<_>>() }))
}

fn bad(findings: &[String]) -> Shown {
    let text = format!("NOT VERIFIED: {} finding(s)\n{}", findings.len(), findings.join("\n"));
    Shown::with_exit(Exit::Other, text, json!({ "verified": false, "findings": findings }))
}

fn to_json(report: &Report) -> Value {
    let permits = report.permits.iter().map(|p| {
        json!({
            "leaf": p.leaf, "tenant": p.tenant.as_str(), "request_id": p.request_id.to_string(), "rule": p.rule,
            "summary": p.summary,
        })
    });
    let refusals = report.refusals.iter().map(|r| {
        json!({
            "leaf": r.leaf, "tenant": r.tenant.as_str(), "request_id": r.request_id.to_string(), "reason": r.reason,
            "rule": r.rule, "condition": r.condition, "summary": r.summary,
        })
    });
    json!({
        "node": report.node.as_str(), "entries": report.entries, "root": report.root.to_string(),
        "intents": report.intents, "permits": permits.collect::<Vec<_>>(), "refusals": refusals.collect::<Vec<_>>(),
        "releases": report.releases, "signatures": report.signatures, "keys": report.keys,
        "wraps": report.wraps,
        "cards": report.tokens,
        "warnings": report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
