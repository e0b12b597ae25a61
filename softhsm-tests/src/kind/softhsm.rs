//! SoftHSM 2.6, as distributions have it.

use super::Kind;
use crate::wycheproof::Deviation;
use std::path::{Path, PathBuf};
use tally_domain::HsmScheme;
use tally_hsm_adapter::testing::{SOFTHSM_ENV, SoftHsmToken};

/// SoftHSM 2.
pub struct SoftHsm;

impl Kind for SoftHsm {
    const PROFILE: &'static str = include_str!("../../../hsm-adapter/profiles/softhsm-2.6.toml");
    const SCHEMES: &'static [HsmScheme] =
        &[HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1, HsmScheme::Ed25519, HsmScheme::Rsa3072];
    const PIN_LOCKS: bool = false;
    const TELLS_WRONG_PINS: bool = true;
    const SEES_A_NEW_PIN: bool = false;
    const READS_WHILE_AWAY: bool = false;
    const DEVIATIONS: &'static [Deviation] = &[
        Deviation {
            set: "aes_wrap",
            tests: &[21..=21, 63..=63, 118..=118],
            why: "a key of 20 bytes is padded with zeros and wrapped, though KW is for multiples of 8; only keys of 32 bytes \
                  are wrapped here",
        },
        Deviation {
            set: "hmac_sha256",
            tests: &[163..=168],
            why: "a key shorter than the digest is refused with CKR_KEY_SIZE_RANGE; keys here have 32 bytes",
        },
    ];
    const ENV: &'static str = SOFTHSM_ENV;

    fn module() -> PathBuf {
        SoftHsmToken::module().unwrap()
    }

    fn configuration(dir: &Path) -> PathBuf {
        dir.join("softhsm2.conf")
    }

    fn create(dir: &Path, label: &str) -> String {
        SoftHsmToken::create(dir, label).unwrap().serial
    }

    fn storage(dir: &Path) -> PathBuf {
        dir.join("tokens")
    }
}
