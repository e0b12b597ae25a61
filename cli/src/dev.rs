//! `tally dev`: a cluster for development on one machine, each node with its own directory, token and log.

mod certs;
pub mod cluster;
pub mod files;
pub mod init;
mod pids;
mod softhsm;
pub mod up;

use crate::output::{Out, Shown};
use std::path::PathBuf;

/// `tally dev ...`
#[derive(Debug, clap::Subcommand)]
pub enum Dev {
    /// Make certificates, tokens, configurations, policy and a client profile.
    Init(init::Init),
    /// Run all nodes of a cluster until Ctrl-C.
    Up(up::Up),
    /// Stop the nodes that `dev up` or `demo --keep` left running.
    Down {
        /// The cluster's directory.
        #[arg(long)]
        dir: PathBuf,
    },
}

impl Dev {
    /// Runs it.
    pub async fn run(self, out: Out) -> anyhow::Result<Shown> {
        match self {
            Self::Init(init) => init.run(),
            Self::Up(up) => up.run(out).await,
            Self::Down { dir } => pids::down(&dir).await,
        }
    }
}
