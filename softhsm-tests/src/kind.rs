//! Kinds of PKCS#11 modules, and throw-away tokens of each.

mod kryoptic;
mod softhsm;

use crate::wycheproof::Deviation;
use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally_domain::{HsmScheme, SecretBytes};
use tally_hsm_adapter::testing::PIN;
use tally_hsm_adapter::{Config, Mode, Pkcs11Hsm, Role, provision};

pub use kryoptic::Kryoptic;
pub use softhsm::SoftHsm;

/// Plenty for a software token, even on a loaded machine.
pub const PATIENT: Duration = Duration::from_secs(30);

/// A kind of module: how to get at it, and in what it may differ from others.
pub trait Kind {
    /// The text of its profile.
    const PROFILE: &'static str;
    /// The keys that it can sign with.
    const SCHEMES: &'static [HsmScheme];
    /// Whether wrong PINs lock the token.
    const PIN_LOCKS: bool;
    /// Whether a process sees that another has tried a wrong PIN.
    const TELLS_WRONG_PINS: bool;
    /// Whether a process that has used the token sees that another has changed its PIN.
    const SEES_A_NEW_PIN: bool;
    /// Whether keys can still be used while the token's storage is away.
    const READS_WHILE_AWAY: bool;
    /// The test vectors with which it does otherwise than they say.
    const DEVIATIONS: &'static [Deviation];
    /// The variable in a process's environment that names its configuration.
    const ENV: &'static str;

    /// The library.
    fn module() -> PathBuf;
    /// Its configuration for the tokens below `dir`.
    fn configuration(dir: &Path) -> PathBuf;
    /// Makes a token called `label` below `dir`, beside those that are there; gives its serial number. User and security
    /// officer have the PIN [`PIN`]. Not to be called while this process uses the module.
    fn create(dir: &Path, label: &str) -> String;
    /// Where the tokens below `dir` are kept. To be moved away and back.
    fn storage(dir: &Path) -> PathBuf;
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

    /// A new token with its identity, and the adapter on it.
    pub fn ready<K: Kind>(dir: &Path) -> (Self, Pkcs11Hsm) {
        let token = Self::create::<K>(dir);
        provision(token.config()).unwrap();
        let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
        (token, hsm)
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
            profile: None,
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

    /// A session where there is no adapter: the module is started and logged in to.
    pub fn alone(&self) -> Session {
        use cryptoki::context::{CInitializeArgs, CInitializeFlags};
        use cryptoki::session::UserType;
        use cryptoki::types::AuthPin;

        let context = Pkcs11::new(&self.real).unwrap();
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let session = self.beside();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        session
    }
}
