//! The node's tokens: one, or a primary and its standby.

use crate::config::{Config, Mode};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::Hsm;
use tally_hsm_adapter::{PinSource, Pkcs11Hsm, Role, TokenPair};

/// Longest wait for one operation of a token. A soft token takes microseconds, a network HSM milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Makes the identity key on the token, if there is none, and gives its public half. Two tokens become a pair.
///
/// # Errors
/// When a module, token or PIN is not as configured.
pub fn init_identity(config: &Config) -> anyhow::Result<VerifyingKey> {
    Ok(match standby(config)? {
        None => tally_hsm_adapter::provision(primary(config)?)?,
        Some(standby) => tally_hsm_adapter::provision_pair(primary(config)?, standby)?,
    })
}

/// Connects to the token, or to both.
pub fn connect(config: &Config) -> anyhow::Result<Arc<dyn Hsm>> {
    Ok(match standby(config)? {
        None => Arc::new(Pkcs11Hsm::connect(primary(config)?)?),
        Some(standby) => Arc::new(TokenPair::connect(primary(config)?, standby)?),
    })
}

fn primary(config: &Config) -> anyhow::Result<tally_hsm_adapter::Config> {
    let hsm = &config.hsm;
    one(config, &hsm.module, &hsm.token_label, &hsm.token_serial, &hsm.pin()?)
}

fn standby(config: &Config) -> anyhow::Result<Option<tally_hsm_adapter::Config>> {
    let Some(hsm) = &config.hsm.standby else { return Ok(None) };
    one(config, &hsm.module, &hsm.token_label, &hsm.token_serial, &hsm.pin()?).map(Some)
}

/// A token by itself; with another, each is given its role there.
fn one(
    config: &Config,
    module: &Path,
    label: &str,
    serial: &str,
    pin: &PinSource,
) -> anyhow::Result<tally_hsm_adapter::Config> {
    Ok(tally_hsm_adapter::Config {
        module: module.to_owned(),
        token_label: label.to_owned(),
        token_serial: Some(serial.to_owned()),
        pin: pin.read()?,
        workers: config.hsm.workers,
        deadline: DEADLINE,
        role: Role::Only,
        mode: match config.mode {
            Mode::Production => tally_hsm_adapter::Mode::Production,
            Mode::Development => tally_hsm_adapter::Mode::Development,
        },
    })
}
