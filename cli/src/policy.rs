//! `tally policy`: what a bundle says, before nodes get it, how they get it, and how much of its limits is taken.

mod advice;
mod ask;
mod check;
mod diff;
mod explain;
mod init;
mod judgement;
mod limits;
mod live;
mod prove;
mod read;
mod show;
mod sign;
mod test;

pub use limits::left as limits_left;
pub use read::{Read, any, now};

use crate::input;
use crate::output::{Shown, Usage};
use crate::profile::ProfileArg;
use std::path::{Path, PathBuf};
use tally_domain::RequestId;

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
        bundle: Option<PathBuf>,
        /// The one that is active, and what each node has.
        #[arg(long, conflicts_with_all = ["bundle", "previous"])]
        active: bool,
        /// The signed bundle before it, whose admins sign this one.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
    /// Show what changes from one bundle to another, and whether it only tightens: then it may take effect at once.
    Diff {
        /// A bundle's directory, the file of a signed one, or ACTIVE: the signed one that a node has.
        old: PathBuf,
        /// The same.
        new: PathBuf,
    },
    /// Pack a bundle and sign it, or add a signature to what another admin has packed.
    Sign(sign::Sign),
    /// Give the nodes a signed bundle that follows the active one. One that only tightens is active at once; any other waits.
    Propose {
        /// The file that `tally policy sign` wrote.
        file: PathBuf,
    },
    /// Have the nodes vote now for a bundle whose wait is over.
    Activate {
        /// Its number.
        version: u64,
    },
    /// Keep a bundle that waits from becoming active, from any one node. Its number is not used again.
    Veto {
        /// Its number.
        version: u64,
        /// For people: goes into the logs.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List the bundles that a node knows, and what became of them.
    History,
    /// Show what would become of a request to sign, under the active bundle or a draft: rules, who would be asked, and what is
    /// left of limits. Signs and consumes nothing.
    Simulate(ask::Simulate),
    /// Show why each node decided about a request as it did, what persons said of it, how limits stood, and where it stands.
    Explain {
        /// The request.
        #[arg(value_parser = input::request_id)]
        id: RequestId,
    },
    /// Decide the requests of a node's log once more under a draft, its limits and approvals too, and list those that come out
    /// otherwise.
    Replay {
        /// A bundle's directory, or the file of a signed one.
        draft: PathBuf,
        /// From how long ago on.
        #[arg(long, default_value = "30d", value_name = "SPAN")]
        since: String,
    },
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
            Self::Show { active: true, .. } => live::active(profile).await,
            Self::Show { bundle: Some(bundle), previous, .. } => show::run(&bundle, previous.as_deref()),
            Self::Show { .. } => Err(Usage("name a bundle, or give --active".into()).into()),
            Self::Diff { old, new } if old == Path::new(diff::ACTIVE) => diff::with_active(profile, &new).await,
            Self::Diff { old, new } => diff::run(&old, &new),
            Self::Propose { file } => live::propose(profile, &file).await,
            Self::Activate { version } => live::activate(profile, version).await,
            Self::Veto { version, note } => live::veto(profile, version, &note).await,
            Self::History => live::history(profile).await,
            Self::Simulate(simulate) => simulate.run(profile).await,
            Self::Explain { id } => explain::run(profile, id).await,
            Self::Replay { draft, since } => ask::replay(profile, &draft, &since).await,
            Self::Sign(sign) => sign.run(),
            Self::Limits => limits::run(&profile.client()?).await,
            Self::Test { dir } => test::run(&dir),
        }
    }
}
