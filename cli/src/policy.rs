//! `tally policy`: what a bundle says, before nodes get it, for which no node is needed; and how much of its limits is taken.

mod advice;
mod check;
mod diff;
mod init;
mod limits;
mod prove;
mod read;
mod show;
mod sign;
mod test;

pub use limits::left as limits_left;

use crate::output::Shown;
use crate::profile::ProfileArg;
use std::path::PathBuf;

/// `tally policy ...`
#[derive(Debug, clap::Subcommand)]
pub enum Policy {
    /// Write an example bundle to start from, with comments.
    Init {
        /// The directory to make.
        dir: PathBuf,
    },
    /// Load a bundle as a node does, and show what is in it. Warns of permits that bound no fee, of empty lists, of keys that
    /// everyone knows, and of a policy that permits nothing.
    Check {
        /// The bundle's directory.
        dir: PathBuf,
        /// Also prove, with the solver cvc5, that no rule can fail, and name rules that never decide.
        #[arg(long)]
        prove: bool,
        /// Also show, by an example for each rule, what it permits that this bundle does not: a directory or a signed one.
        #[arg(long, value_name = "OLD", requires = "prove")]
        against: Option<PathBuf>,
    },
    /// Show a bundle, signed or not: what it says of itself, who has signed it, and its rules and limits.
    Show {
        /// A bundle's directory, or the file of a signed one.
        bundle: PathBuf,
        /// The signed bundle before it, whose admins sign this one.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
    /// Show what changes from one bundle to another, and whether it only tightens: then it may take effect at once.
    Diff {
        /// A bundle's directory, or the file of a signed one.
        old: PathBuf,
        /// The same.
        new: PathBuf,
    },
    /// Pack a bundle and sign it, or add a signature to what another admin has packed.
    Sign(sign::Sign),
    /// How much of each limit of the active bundle is taken, what is left and when more comes free, by what all nodes together
    /// remember. Ends with 5 when fewer than a quorum answer.
    Limits,
    /// Decide the cases of `tests/*.case.toml`, and name the thresholds that none of them would miss.
    Test {
        /// The bundle's directory.
        dir: PathBuf,
    },
}

impl Policy {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        match self {
            Self::Init { dir } => init::run(&dir),
            Self::Check { dir, prove: false, .. } => check::run(&dir),
            Self::Check { dir, prove: true, against } => prove::run(&dir, against.as_deref()).await,
            Self::Show { bundle, previous } => show::run(&bundle, previous.as_deref()),
            Self::Diff { old, new } => diff::run(&old, &new),
            Self::Sign(sign) => sign.run(),
            Self::Limits => limits::run(&profile.client()?).await,
            Self::Test { dir } => test::run(&dir),
        }
    }
}
