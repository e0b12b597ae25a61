//! Throw-away SoftHSM tokens, for tests and demonstrations only: the PIN is known and passes over a command line.

pub mod frames;

use crate::config::{Config, Mode, Role, configuration};
use crate::pin::read_pin_file;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tally_domain::ports::hsm::HsmError;

/// The environment variable that names SoftHSM's configuration. SoftHSM reads it when a module starts, and it is the
/// whole process's: a process that is to use a token must be started with it.
pub const SOFTHSM_ENV: &str = "SOFTHSM2_CONF";

/// What to do when SoftHSM is not there.
pub const MISSING: &str = "SoftHSM is missing: run `apt-get install softhsm2`";

/// User and security officer PIN of throw-away tokens.
pub const PIN: &str = "tally-throw-away";

/// Where distributions put the module.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// Plenty for a software token, even on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A token in a directory of its own or shared with others.
#[derive(Debug, Clone)]
pub struct SoftHsmToken {
    /// The SoftHSM module.
    pub module: PathBuf,
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// File with the user PIN, mode 0600.
    pub pin_file: PathBuf,
    /// The variable and value that a process needs in order to use the token.
    pub env: (&'static str, PathBuf),
}

impl SoftHsmToken {
    /// Makes a token called `label` below `dir`, beside those that are there.
    ///
    /// # Errors
    /// [`HsmError::Configuration`], with [`MISSING`] where SoftHSM is not installed.
    pub fn create(dir: &Path, label: &str) -> Result<Self, HsmError> {
        let module = Self::module()?;
        let conf = prepare(dir).map_err(|e| configuration(format!("`{}`: {e}", dir.display())))?;
        let args = ["--init-token", "--free", "--label", label, "--so-pin", PIN, "--pin", PIN];
        let made = softhsm(&conf, &args)?;
        // "... is reassigned to slot 123": only the number tells tokens of one label apart.
        let slot = made.split_ascii_whitespace().next_back().unwrap_or_default().to_owned();
        let serial = serial_of(&softhsm(&conf, &["--show-slots"])?, &slot);
        let serial = serial.ok_or_else(|| configuration(format!("softhsm2-util shows no slot `{slot}`")))?;
        Ok(Self { module, label: label.into(), serial, pin_file: dir.join("pin"), env: (SOFTHSM_ENV, conf) })
    }

    /// The SoftHSM module of this machine.
    ///
    /// # Errors
    /// [`HsmError::Configuration`] with [`MISSING`].
    pub fn module() -> Result<PathBuf, HsmError> {
        MODULES.iter().map(PathBuf::from).find(|p| p.exists()).ok_or_else(|| configuration(MISSING.into()))
    }

    /// A configuration for this token.
    ///
    /// # Errors
    /// [`HsmError::Configuration`] when the PIN file cannot be read.
    pub fn config(&self) -> Result<Config, HsmError> {
        Ok(Config {
            module: self.module.clone(),
            token_label: self.label.clone(),
            token_serial: Some(self.serial.clone()),
            pin: read_pin_file(&self.pin_file)?,
            workers: 4,
            deadline: DEADLINE,
            profile: None,
            role: Role::Only,
            mode: Mode::Production,
        })
    }
}

/// Token directory, PIN file and SoftHSM's configuration; gives the path of the last. The directory is `dir`.
fn prepare(dir: &Path) -> std::io::Result<PathBuf> {
    let dir = {
        std::fs::create_dir_all(dir.join("tokens"))?;
        dir.canonicalize()?
    };
    let mut pin =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join("pin"))?;
    writeln!(pin, "{PIN}")?;
    let conf = dir.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n\
         slots.mechanisms = ALL\nlibrary.reset_on_fork = true\n",
        dir.join("tokens").display()
    );
    std::fs::write(&conf, text)?;
    Ok(conf)
}

fn softhsm(conf: &Path, args: &[&str]) -> Result<String, HsmError> {
    let output = Command::new("softhsm2-util")
        .args(args)
        .env(SOFTHSM_ENV, conf)
        .output()
        .map_err(|_| configuration(MISSING.into()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(configuration(format!("softhsm2-util failed: {why}")))
    }
}

/// The serial number in a slot's part of what `softhsm2-util --show-slots` prints.
fn serial_of(shown: &str, slot: &str) -> Option<String> {
    let heading = format!("Slot {slot}");
    let mut lines = shown.lines().skip_while(|l| l.trim() != heading);
    lines.find_map(|l| l.trim().strip_prefix("Serial number:")).map(|s| s.trim().to_owned())
}
