//! `tally hsm`: the nodes' tokens, and tokens that are to become one.

mod doctor;
mod replicate;
mod status;

use crate::output::Shown;
use crate::profile::ProfileArg;

/// `tally hsm ...`
#[derive(Debug, clap::Subcommand)]
pub enum Hsm {
    /// The token of every endpoint of the profile. Ends with 0 only if all answer and every token works; else with 5.
    Status,
    Doctor(doctor::Doctor),
    Replicate(replicate::Replicate),
}

impl Hsm {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        match self {
            Self::Doctor(doctor) => doctor.run().await,
            Self::Replicate(replicate) => replicate.run(&profile.client()?).await,
            Self::Status => status::run(&profile.client()?).await,
        }
    }
}
