//! Which profile a command uses.

use crate::output::Usage;
use std::path::{Path, PathBuf};
use tally_client::{Client, ClientError, Profile};

/// Where `tally dev init` puts one, seen from the cluster's directory.
pub const DEFAULT: &str = "client/profile.toml";

/// `--profile FILE`.
#[derive(Debug, clap::Args)]
pub struct ProfileArg {
    /// Endpoints and keys of this client; without it ./client/profile.toml, if it exists.
    #[arg(long, global = true, env = "TALLY_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
}

impl ProfileArg {
    /// A client with the profile.
    pub fn client(&self) -> anyhow::Result<Client> {
        client(self.path()?)
    }

    /// The profile's file.
    pub fn path(&self) -> Result<&Path, Usage> {
        match &self.profile {
            Some(path) => Ok(path),
            None if Path::new(DEFAULT).exists() => Ok(Path::new(DEFAULT)),
            None => Err(Usage(
                "no profile: give --profile FILE or set TALLY_PROFILE; \
                 `tally dev init --dir D` makes one at D/client/profile.toml"
                    .into(),
            )),
        }
    }
}

/// A client with the profile in a file.
pub fn client(path: &Path) -> anyhow::Result<Client> {
    let profile = Profile::load(path).map_err(ClientError::from)?;
    Ok(Client::new(profile)?)
}
