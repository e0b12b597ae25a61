//! Which token, with which PIN, by how many workers; and the file the PIN is in.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::HsmError;

/// Most workers: tokens allow few sessions, and a worker is a thread.
pub const WORKERS_MAX: u32 = 64;

/// Longest PIN file. PKCS#11 PINs are far shorter; this keeps a wrong path from being read whole.
const PIN_FILE_MAX_BYTES: usize = 256;

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
    /// What the token is to its node.
    pub role: Role,
}

/// What a token is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        if (1..=WORKERS_MAX).contains(&self.workers) && !self.deadline.is_zero() {
            Ok(())
        } else {
            Err(configuration(format!("the HSM needs 1 to {WORKERS_MAX} workers and a deadline above zero")))
        }
    }
}

/// Reads a PIN out of a file that only its owner can read (S-4.5).
///
/// # Errors
/// [`HsmError::Configuration`] when the file's mode is not 0400 or 0600, or it is not exactly one line.
pub fn read_pin_file(path: &Path) -> Result<SecretBytes, HsmError> {
    let refuse = |why: &str| configuration(format!("the PIN file `{}` {why}", path.display()));
    let unreadable = |e: std::io::Error| refuse(&format!("cannot be read: {e}"));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() || !matches!(mode, 0o400 | 0o600) {
        return Err(refuse(&format!("has mode {mode:04o}: make it a file of mode 0400 or 0600")));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(2 * PIN_FILE_MAX_BYTES);
    let read = file.take(PIN_FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    let bytes = SecretBytes::new(bytes);
    read.map_err(unreadable)?;
    let line = bytes.expose().strip_suffix(b"\n").unwrap_or(bytes.expose());
    if bytes.len() > PIN_FILE_MAX_BYTES {
        Err(refuse("is too long for a PIN"))
    } else if line.is_empty() {
        Err(refuse("is empty"))
    } else if line.iter().any(u8::is_ascii_control) {
        Err(refuse("has more than one line"))
    } else {
        Ok(SecretBytes::new(line.to_vec()))
    }
}

/// An error that an operator has to mend.
pub(crate) fn configuration(what: String) -> HsmError {
    HsmError::Configuration { what }
}
