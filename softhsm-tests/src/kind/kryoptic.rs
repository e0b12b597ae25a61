//! Kryoptic 1.5, as `tools/kryoptic-module` builds it.

use super::Kind;
use crate::wycheproof::Deviation;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tally_domain::HsmScheme;
use tally_hsm_adapter::testing::PIN;

/// Names the library that was built.
const MODULE: &str = "TALLY_KRYOPTIC_MODULE";

/// Kryoptic.
pub struct Kryoptic;

impl Kind for Kryoptic {
    const PROFILE: &'static str = include_str!("../../../hsm-adapter/profiles/kryoptic-1.5.toml");
    const SCHEMES: &'static [HsmScheme] = &[HsmScheme::EcdsaP256, HsmScheme::Ed25519, HsmScheme::Rsa3072];
    const PIN_LOCKS: bool = true;
    const TELLS_WRONG_PINS: bool = false;
    const SEES_A_NEW_PIN: bool = true;
    const READS_WHILE_AWAY: bool = true;
    const DEVIATIONS: &'static [Deviation] = &[Deviation {
        set: "aes_wrap",
        tests: &[22..=22, 64..=64, 119..=119],
        why: "no bytes at all unwrap to a generic secret of no bytes; a blob's length is checked here before it is unwrapped",
    }];
    const ENV: &'static str = "KRYOPTIC_CONF";

    fn module() -> PathBuf {
        let path = std::env::var_os(MODULE).map(PathBuf::from).filter(|p| p.exists());
        path.unwrap_or_else(|| panic!("{MODULE} names no library: run `make test-hsm`, which builds it"))
    }

    fn configuration(dir: &Path) -> PathBuf {
        dir.join("kryoptic.conf")
    }

    /// One slot for each token, each with a database of its own.
    fn create(dir: &Path, label: &str) -> String {
        let storage = Self::storage(dir);
        std::fs::create_dir_all(&storage).unwrap();
        let number = std::fs::read_dir(&storage).unwrap().count();
        let database = storage.join(format!("{number}.sql"));
        let mut file = OpenOptions::new().create(true).append(true).open(Self::configuration(dir)).unwrap();
        writeln!(file, "[[slots]]\nslot = {number}\ndbtype = \"sqlite\"\ndbargs = \"{}\"", database.display()).unwrap();
        drop(file);

        let context = Pkcs11::new(Self::module()).unwrap();
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let slot = context.get_all_slots().unwrap().into_iter().find(|s| s.id() == number as u64).unwrap();
        let pin = AuthPin::new(PIN.into());
        context.init_token(slot, &pin, label).unwrap();
        let session = context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&pin)).unwrap();
        session.init_pin(&pin).unwrap();
        drop(session);
        let serial = context.get_token_info(slot).unwrap().serial_number().to_owned();
        context.finalize().unwrap();
        serial
    }

    fn storage(dir: &Path) -> PathBuf {
        dir.join("databases")
    }
}
