//! `tally policy`: what a bundle says, before nodes get it.

use crate::bundle;
use crate::output::{Shown, field};
use serde_json::json;
use std::path::PathBuf;
use tally_policy::Bundle;

/// `tally policy ...`
#[derive(Debug, clap::Subcommand)]
pub enum Policy {
    /// Load a bundle as a node does, and show what is in it.
    Check {
        /// The bundle's directory.
        dir: PathBuf,
    },
}

impl Policy {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<Shown> {
        let Self::Check { dir } = self;
        Ok(shown(&bundle::load(&dir)?))
    }
}

fn shown(bundle: &Bundle) -> Shown {
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
    let json = json!({
        "digest": summary.digest.to_string(), "version": summary.version, "nodes": summary.nodes,
        "clients": summary.clients, "assets": summary.assets, "permits": summary.permits, "forbids": summary.forbids,
        "lists": summary.lists,
    });
    Shown::done(lines.join("\n"), json)
}
