//! The step that takes the logs home.

use super::tour::{Told, Tour};
use crate::audit::{self, Extent};
use crate::policy;
use anyhow::{Context as _, bail, ensure};
use std::path::Path;
use tally_audit::export::{CHECKPOINT_FILE, ENTRIES_FILE};
use tally_audit::verify::Report;
use tally_domain::Reason;

/// Exports, verifies, damages a copy, and expects that to be found.
pub async fn verified(tour: &Tour) -> Told {
    let client = tour.client()?;
    let (good, bad) = (tour.dir.join("logs"), tour.dir.join("logs-damaged"));
    audit::export::export(client, &good).await?;
    let first = policy::any(&tour.dir.join("policy.bundle"))?;
    let reports = match audit::verify(&good, &first, Extent::All)? {
        Ok(reports) => reports,
        Err(findings) => bail!("the logs do not verify:\n{}", findings.join("\n")),
    };
    ensure!(reports.len() == client.endpoints().count(), "{} logs were exported", reports.len());
    let mut lines: Vec<_> = reports.iter().map(|r| format!("{}: verified, {}", r.node, audit::counts(r))).collect();
    lines.extend(refusals(&reports)?);

    flipped_copy(&good, &bad)?;
    match audit::verify(&bad, &first, Extent::All)? {
        Ok(_) => bail!("a flipped byte was not found"),
        Err(findings) => {
            let first = findings.first().context("no finding was named")?;
            lines.push(format!("one byte flipped in a copy: {first}"));
        }
    }
    Ok(lines)
}

/// Every refusal that any log has, once; the tour's denials must be among them.
fn refusals(reports: &[Report]) -> anyhow::Result<Vec<String>> {
    let mut seen = std::collections::BTreeMap::new();
    for refusal in reports.iter().flat_map(|r| &r.refusals) {
        seen.entry((refusal.request_id, &refusal.reason)).or_insert(refusal);
    }
    for expected in [Reason::PolicyDenied, Reason::TxOpaque] {
        let there = seen.keys().any(|(_, reason)| *reason == expected.as_str());
        ensure!(there, "no log has the refusal {}", expected.as_str());
    }
    Ok(seen.values().map(|r| format!("refused {}", audit::refusal(r))).collect())
}

/// Copies all logs and flips one bit in the middle of the first one's entries.
fn flipped_copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut dirs: Vec<_> = std::fs::read_dir(from)?.flatten().map(|entry| entry.file_name()).collect();
    dirs.sort();
    for (index, name) in dirs.iter().enumerate() {
        let (from, to) = (from.join(name), to.join(name));
        std::fs::create_dir_all(&to)?;
        std::fs::copy(from.join(CHECKPOINT_FILE), to.join(CHECKPOINT_FILE))?;
        let mut entries = std::fs::read(from.join(ENTRIES_FILE))?;
        let middle = entries.len() / 2;
        if let Some(byte) = entries.get_mut(middle).filter(|_| index == 0) {
            *byte ^= 1;
        }
        std::fs::write(to.join(ENTRIES_FILE), entries)?;
    }
    Ok(())
}
