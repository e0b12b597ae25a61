//! Where the PIN comes from (S-4.5): a private file, an open descriptor, or a credential of systemd. Never an argument or a
//! variable, which any process of the machine may see.

use crate::config::configuration;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::HsmError;

/// Longest PIN. PKCS#11 PINs are far shorter; this keeps a wrong path from being read whole.
const PIN_MAX_BYTES: usize = 256;

/// The first descriptor that is not standard input, output or error.
const DESCRIPTOR_MIN: u32 = 3;

/// Where systemd keeps the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Modes of a file that only its owner can read.
const PRIVATE: [u32; 2] = [0o400, 0o600];

/// systemd lets the service's user in by an access list, whose mask shows as the group's bits.
const CREDENTIAL: [u32; 3] = [0o400, 0o600, 0o440];

/// Where a PIN comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinSource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A descriptor that whoever started this process has left open. It can be read once.
    Descriptor(u32),
    /// A credential of this name, as `LoadCredential=` or `LoadCredentialEncrypted=` of the systemd unit gives it.
    Credential(String),
}

impl PinSource {
    /// Reads the PIN: one line.
    ///
    /// # Errors
    /// [`HsmError::Configuration`] when it cannot be read, is not private, or is not exactly one line.
    pub fn read(&self) -> Result<SecretBytes, HsmError> {
        match self {
            Self::File(path) => read_pin_file(path),
            Self::Descriptor(number) => descriptor(*number),
            Self::Credential(name) => credential(std::env::var_os(CREDENTIALS).map(PathBuf::from), name),
        }
    }
}

impl PinSource {
    /// Refuses what only one process can read: another may have to be started, and reads it again.
    pub(crate) fn must_be_readable_again(&self) -> Result<(), HsmError> {
        let Self::Descriptor(number) = self else { return Ok(()) };
        let what = format!("the PIN's descriptor {number}");
        let metadata = std::fs::metadata(format!("/proc/self/fd/{number}")).map_err(|e| unreadable(&what, &e))?;
        if metadata.is_file() {
            return Ok(());
        }
        Err(refuse(
            &what,
            "is no file, and can be read once only: a module in a process of its own needs a file, because the process may \
             have to be started again (or set `isolation = \"thread\"` under [hsm])",
        ))
    }
}

/// Reads a PIN out of a file that only its owner can read.
///
/// # Errors
/// [`HsmError::Configuration`] when the file's mode is not 0400 or 0600, or it is not exactly one line.
pub fn read_pin_file(path: &Path) -> Result<SecretBytes, HsmError> {
    let what = format!("the PIN file `{}`", path.display());
    private_line(path, &what, &PRIVATE)
}

fn descriptor(number: u32) -> Result<SecretBytes, HsmError> {
    let what = format!("the PIN's descriptor {number}");
    if number < DESCRIPTOR_MIN {
        return Err(refuse(&what, "is standard input, output or error: give another"));
    }
    let file = File::open(format!("/proc/self/fd/{number}")).map_err(|e| unreadable(&what, &e))?;
    line(file, &what)
}

fn credential(directory: Option<PathBuf>, name: &str) -> Result<SecretBytes, HsmError> {
    let what = format!("the PIN's credential `{name}`");
    let plain = !matches!(name, "" | "." | "..") && !name.contains('/');
    if !plain {
        return Err(refuse(&what, "is not the name of a credential"));
    }
    let Some(directory) = directory.filter(|d| d.is_absolute()) else {
        return Err(refuse(&what, "cannot be found: CREDENTIALS_DIRECTORY is not set, as systemd sets it"));
    };
    private_line(&directory.join(name), &what, &CREDENTIAL)
}

fn private_line(path: &Path, what: &str, modes: &[u32]) -> Result<SecretBytes, HsmError> {
    let file = File::open(path).map_err(|e| unreadable(what, &e))?;
    let metadata: Metadata = file.metadata().map_err(|e| unreadable(what, &e))?;
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() || !modes.contains(&mode) {
        return Err(refuse(what, &format!("has mode {mode:04o}: make it a file of mode 0400 or 0600")));
    }
    line(file, what)
}

fn line(file: File, what: &str) -> Result<SecretBytes, HsmError> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(2 * PIN_MAX_BYTES);
    let read = file.take(PIN_MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    let bytes = SecretBytes::new(bytes);
    read.map_err(|e| unreadable(what, &e))?;
    let line = bytes.expose().strip_suffix(b"\n").unwrap_or(bytes.expose());
    if bytes.len() > PIN_MAX_BYTES {
        Err(refuse(what, "is too long for a PIN"))
    } else if line.is_empty() {
        Err(refuse(what, "is empty"))
    } else if line.iter().any(u8::is_ascii_control) {
        Err(refuse(what, "has more than one line"))
    } else {
        Ok(SecretBytes::new(line.to_vec()))
    }
}

fn refuse(what: &str, why: &str) -> HsmError {
    configuration(format!("{what} {why}"))
}

fn unreadable(what: &str, e: &std::io::Error) -> HsmError {
    refuse(what, &format!("cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_4_5_a_credential_is_a_private_file_of_systemd_s_directory_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let read = |directory: Option<&Path>, name: &str| {
            credential(directory.map(Into::into), name).map(|pin| pin.expose().to_vec()).map_err(|e| e.to_string())
        };
        for mode in [0o400, 0o440] {
            let path = dir.path().join(format!("pin-{mode:o}"));
            std::fs::write(&path, "1234\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(Some(dir.path()), &format!("pin-{mode:o}")).unwrap(), b"1234");
        }
        let open = dir.path().join("open");
        std::fs::write(&open, "1234\n").unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o444)).unwrap();
        assert!(read(Some(dir.path()), "open").unwrap_err().contains("has mode 0444"));
        for name in ["", ".", "..", "../pin-400", "/etc/hostname", "a/b"] {
            assert!(read(Some(dir.path()), name).unwrap_err().contains("not the name of a credential"), "{name}");
        }
        assert!(read(Some(dir.path()), "none").unwrap_err().contains("cannot be read"));
        for directory in [None, Some(Path::new("relative"))] {
            assert!(read(directory, "pin").unwrap_err().contains("CREDENTIALS_DIRECTORY is not set"));
        }
    }
}
