//! Which token, with which PIN, by how many workers.

use crate::profile::Profile;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::HsmError;

/// Most workers: tokens allow few sessions, and a worker is a thread.
pub const WORKERS_MAX: u32 = 64;

/// Where a node's token is and how it is used.
pub struct Config {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token_label: String,
    /// The token's serial number. May be left out only where a single token has the label.
    pub token_serial: Option<String>,
    /// The user PIN.
    pub pin: SecretBytes,
    /// Sessions that work at the same time, 1 to [`WORKERS_MAX`].
    pub workers: u32,
    /// How long one operation may take, waiting in the queue included.
    pub deadline: Duration,
    /// What the operator says of the token, in place of what is known of its kind.
    pub profile: Option<Profile>,
    /// What the token is to its node.
    pub role: Role,
    /// Whether what is only for looking into a module may be used.
    pub mode: Mode,
}

/// How strict a node is with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Modules that write down what passes through them are refused.
    Production,
    /// They may be used, and see the PIN.
    Development,
}

/// What a token is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The only one. Its KEKs are made on it and never leave it.
    Only,
    /// The one that makes all keys. Its KEKs can be given to the standby.
    Primary,
    /// The one that wraps while the primary does not.
    Standby,
}

impl Config {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), HsmError> {
        Self::check_limits(self.workers, self.deadline)
    }

    /// As [`Config::check`], before there is one.
    pub(crate) fn check_limits(workers: u32, deadline: Duration) -> Result<(), HsmError> {
        if (1..=WORKERS_MAX).contains(&workers) && !deadline.is_zero() {
            Ok(())
        } else {
            Err(configuration(format!("the HSM needs 1 to {WORKERS_MAX} workers and a deadline above zero")))
        }
    }
}

/// An error that an operator has to mend.
pub(crate) fn configuration(what: String) -> HsmError {
    HsmError::Configuration { what }
}
