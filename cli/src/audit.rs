//! `tally audit`: takes the nodes' logs home and checks them there, without any server.

use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::{bundle, input};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tally_audit::export::{CHECKPOINT_FILE, ENTRIES_FILE, append_entry, parse_entries};
use tally_audit::note::NOTE_MAX_BYTES;
use tally_audit::verify::{ExportedLog, RefusalLine, Report, verify_together};
use tally_client::{Client, Exit};
use tally_domain::NodeName;
use tally_domain::roster::Roster;

/// Largest log that is read into memory to be verified: some four million requests.
const LOG_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// `tally audit ...`
#[derive(Debug, clap::Subcommand)]
pub enum Audit {
    /// Write every reachable node's log to a directory of its own in DIR.
    Export {
        /// A new or empty directory.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Check exported logs, each by itself and all against each other. Asks no server.
    Verify {
        /// The exported logs.
        dir: PathBuf,
        /// The policy bundle of that time, for its roster.
        #[arg(long, value_name = "BUNDLEDIR")]
        bundle: PathBuf,
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
                let logs = export(&profile.client()?, &out).await?;
                drop(progress);
                Ok(exported(&logs))
            }
            Self::Verify { dir, bundle, verbose } => {
                let bundle = bundle::load(&bundle)?;
                Ok(match verify(&dir, bundle.roster())? {
                    Ok(reports) => good(&reports, verbose),
                    Err(findings) => bad(&findings),
                })
            }
        }
    }
}

/// What became of the export of one node's log.
pub struct Exported {
    endpoint: String,
    outcome: anyhow::Result<(NodeName, u64)>,
}

/// Exports the log of every endpoint that answers.
pub async fn export(client: &Client, out: &Path) -> anyhow::Result<Vec<Exported>> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    if std::fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))?.next().is_some() {
        // What is there may be evidence; it is not written over or mixed with.
        return Err(Usage(format!("{} is not empty; export to a new directory", out.display())).into());
    }
    let mut logs = Vec::new();
    for (index, endpoint) in client.endpoints().enumerate() {
        let Some(one) = client.only(index) else { continue };
        let outcome = export_one(&one.once(), out).await;
        logs.push(Exported { endpoint: endpoint.to_owned(), outcome });
    }
    Ok(logs)
}

async fn export_one(client: &Client, out: &Path) -> anyhow::Result<(NodeName, u64)> {
    let node = client.node().await?.node;
    // A node names itself; `.` and `..` are names, but no directories of ours.
    if node.as_str().bytes().all(|b| b == b'.') {
        return Err(Usage(format!("the node calls itself `{node}`, which is no directory")).into());
    }
    // The checkpoint first: it covers all leaves of its moment, and the log only grows.
    let checkpoint = client.checkpoint().await?;
    let mut entries = Vec::new();
    let mut too_large = Ok(());
    client
        .read_log(checkpoint.size, |leaf| {
            if too_large.is_ok() {
                too_large = append_entry(&mut entries, &leaf);
            }
        })
        .await?;
    too_large?;
    let dir = out.join(node.as_str());
    std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(dir.join(ENTRIES_FILE), entries).context("cannot write the log")?;
    std::fs::write(dir.join(CHECKPOINT_FILE), checkpoint.note).context("cannot write the checkpoint")?;
    Ok((node, checkpoint.size))
}

fn exported(logs: &[Exported]) -> Shown {
    let (mut lines, mut documents) = (Vec::new(), Vec::new());
    for log in logs {
        match &log.outcome {
            Ok((node, leaves)) => {
                lines.push(format!("{node}: {leaves} leaves"));
                documents.push(json!({ "endpoint": log.endpoint, "node": node.as_str(), "leaves": leaves }));
            }
            Err(error) => {
                lines.push(format!("{}: not exported: {error:#}", log.endpoint));
                documents.push(json!({ "endpoint": log.endpoint, "error": format!("{error:#}") }));
            }
        }
    }
    let exit = if logs.iter().any(|log| log.outcome.is_ok()) { Exit::Done } else { Exit::Unavailable };
    Shown::with_exit(exit, lines.join("\n"), json!({ "logs": documents }))
}

/// Verifies all logs in a directory: what they contain, or what is wrong.
pub fn verify(dir: &Path, roster: &Roster) -> anyhow::Result<Result<Vec<Report>, Vec<String>>> {
    let (mut logs, mut damaged) = (Vec::new(), Vec::new());
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
            Err(error) => damaged.push(format!("log of {node}: {error}")),
        }
    }
    if logs.is_empty() && damaged.is_empty() {
        return Err(Usage(format!("{} holds no exported log", dir.display())).into());
    }
    Ok(match verify_together(roster, &logs) {
        Ok(reports) if damaged.is_empty() => Ok(reports),
        Ok(_) => Err(damaged),
        Err(findings) => Err(damaged.into_iter().chain(findings.iter().map(ToString::to_string)).collect()),
    })
}

/// `3 permits, 1 refusal ...` of one log.
pub fn counts(report: &Report) -> String {
    format!(
        "{} leaves, {} intents, {} permits, {} refusals, {} releases, {} signatures, {} keys",
        report.entries,
        report.intents,
        report.permits.len(),
        report.refusals.len(),
        report.releases,
        report.signatures,
        report.keys,
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
        "warnings": report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
