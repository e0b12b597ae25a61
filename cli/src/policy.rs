//! `tally policy`: what a bundle says, before nodes get it.

mod advice;

use crate::bundle;
use crate::output::{Shown, field};
use serde_json::json;
use std::path::PathBuf;
use tally_policy::Bundle;

/// `tally policy ...`
#[derive(Debug, clap::Subcommand)]
pub enum Policy {
    /// Load a bundle as a node does, and show what is in it. Warns of permits that bound no fee, of empty lists, and of a
    /// policy that permits nothing.
    Check {
        /// The bundle's directory.
        dir: PathBuf,
    },
}

impl Policy {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<Shown> {
        let Self::Check { dir } = self;
        let files = bundle::files(&dir)?;
        let bundle = bundle::of(&dir, &files)?;
        let policy = files.get("policy.cedar").map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
        Ok(shown(&bundle, &advice::warnings(&bundle, &policy)))
    }
}

fn shown(bundle: &Bundle, warnings: &[String]) -> Shown {
    let summary = bundle.summary();
    let mut lines = vec![
        format!("bundle {} is valid", summary.digest),
        field("version", summary.version),
        field("nodes", summary.nodes),
        field("clients", summary.clients),
        field("assets", summary.assets.join(", ")),
    ];
    lines.extend(summary.permits.iter().map(|id| field("permit", id)));
    lines.extend(summary.forbids.iter().map(|id| field("forbid", id)));
    lines.extend(summary.lists.iter().map(|(name, entries)| field("list", format!("{name}, {entries} addresses"))));
    lines.extend(warnings.iter().map(|warning| field("warning", warning)));
    let json = json!({
        "digest": summary.digest.to_string(), "version": summary.version, "nodes": summary.nodes,
        "clients": summary.clients, "assets": summary.assets, "permits": summary.permits, "forbids": summary.forbids,
        "lists": summary.lists, "warnings": warnings,
    });
    Shown::done(lines.join("\n"), json)
}
