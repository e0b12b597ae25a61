//! Kinds of PKCS#11 modules, and throw-away tokens of each.

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_hsm_adapter::testing::{PIN, SOFTHSM_ENV, SoftHsmToken};
use tally_hsm_adapter::{Config, Mode, Role};

/// Plenty for a software token, even on a loaded machine.
pub const PATIENT: Duration = Duration::from_secs(30);

/// A kind of module.
pub trait Kind {
    /// The library.
    fn module() -> PathBuf;
    /// What a process needs in its environment to use the tokens below `dir`.
    fn env(dir: &Path) -> Vec<(&'static str, PathBuf)>;
    /// Makes a token called `label` below `dir`, beside those that are there; gives its serial number. User and security
    /// officer have the PIN [`PIN`].
    fn create(dir: &Path, label: &str) -> String;
    /// Where the tokens below `dir` are kept. To be moved away and back.
    fn storage(dir: &Path) -> PathBuf;
}

/// SoftHSM 2.
pub struct SoftHsm;

impl Kind for SoftHsm {
    fn module() -> PathBuf {
        SoftHsmToken::module().unwrap()
    }
    fn env(dir: &Path) -> Vec<(&'static str, PathBuf)> {
        vec![(SOFTHSM_ENV, dir.join("softhsm2.conf"))]
    }
    fn create(dir: &Path, label: &str) -> String {
        SoftHsmToken::create(dir, label).unwrap().serial
    }
    fn storage(dir: &Path) -> PathBuf {
        dir.join("tokens")
    }
}

/// A token, and the library to reach it by.
#[derive(Clone)]
pub struct Token {
    /// The library that the adapter is given.
    pub module: PathBuf,
    /// The real library.
    pub real: PathBuf,
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: String,
}

impl Token {
    /// A new token.
    pub fn create<K: Kind>(dir: &Path) -> Self {
        Self { module: K::module(), real: K::module(), label: "node-1".into(), serial: K::create(dir, "node-1") }
    }

    /// How the adapter is told of it.
    pub fn config(&self) -> Config {
        Config {
            module: self.module.clone(),
            token_label: self.label.clone(),
            token_serial: Some(self.serial.clone()),
            pin: SecretBytes::new(PIN.as_bytes().to_vec()),
            workers: 4,
            deadline: PATIENT,
            role: Role::Only,
            mode: Mode::Production,
        }
    }

    /// The real library beside the adapter, in the same process and so in the same state.
    pub fn raw(&self) -> (Pkcs11, Slot) {
        let context = Pkcs11::new(&self.real).unwrap();
        let mut slots = context.get_slots_with_token().unwrap().into_iter();
        let slot = slots.find(|s| context.get_token_info(*s).unwrap().serial_number() == self.serial);
        (context, slot.unwrap())
    }

    /// A session beside the adapter's, under the same login.
    pub fn beside(&self) -> Session {
        let (context, slot) = self.raw();
        context.open_rw_session(slot).unwrap()
    }
}
