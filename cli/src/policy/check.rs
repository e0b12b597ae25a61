//! `tally policy check`

use super::advice;
use crate::bundle;
use crate::output::{Shown, field};
use serde_json::json;
use std::path::Path;
use tally_policy::{Bundle, Case};

pub fn run(dir: &Path) -> anyhow::Result<Shown> {
    let files = bundle::files(dir)?;
    let bundle = bundle::of(dir, &files)?;
    let cases = Case::load_all(&bundle, &files).map_err(|e| anyhow::anyhow!("{}/{e}", dir.display()))?;
    let warnings = advice::warnings(&bundle, &files);
    let summary = bundle.summary();
    let mut lines = vec![format!("bundle {} is valid", summary.digest)];
    lines.extend(lines_of(&bundle));
    lines.push(field("cases", cases.len()));
    lines.extend(warnings.iter().map(|warning| field("warning", warning)));
    let json = json!({
        "digest": summary.digest.to_string(), "version": summary.version, "nodes": summary.nodes,
        "clients": summary.clients, "assets": summary.assets, "contracts": summary.contracts, "permits": summary.permits, "forbids": summary.forbids,
        "lists": summary.lists, "limits": summary.limits, "groups": summary.groups, "admins": summary.admins,
        "admins_needed": bundle.admins().needed(), "cases": cases.len(), "warnings": warnings,
    });
    Ok(Shown::done(lines.join("\n"), json))
}

/// What is in a bundle, line by line.
pub fn lines_of(bundle: &Bundle) -> Vec<String> {
    let summary = bundle.summary();
    let mut lines = vec![
        field("version", summary.version),
        field("nodes", summary.nodes),
        field("clients", summary.clients),
        field("assets", summary.assets.join(", ")),
    ];
    if let Some(needed) = bundle.admins().needed() {
        lines.push(field("admins", format!("{needed} of {}", summary.admins.join(", "))));
    }
    lines.extend(
        summary.contracts.iter().map(|(name, functions)| field("contract", format!("{name}, {functions} functions"))),
    );
    lines.extend(summary.permits.iter().map(|id| field("permit", id)));
    lines.extend(summary.forbids.iter().map(|id| field("forbid", id)));
    lines.extend(summary.limits.iter().map(|id| field("limit", id)));
    lines.extend(summary.groups.iter().map(|(name, persons)| field("group", format!("{name}, {persons} persons"))));
    lines.extend(summary.lists.iter().map(|(name, entries)| field("list", format!("{name}, {entries} addresses"))));
    lines
}
