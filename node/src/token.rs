//! The node's token: in this process, or behind one of its own.

use crate::config::{Config, Isolation, LogFormat};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::Hsm;
use tally_hsm_adapter::{Pkcs11Hsm, Profile, RemoteConfig, RemoteHsm, Role};

/// Longest wait for one operation of a token. A soft token takes microseconds, a network HSM milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Makes the identity key on the token, if there is none, and gives its public half.
///
/// # Errors
/// When the module, token or PIN are not as configured.
pub fn init_identity(config: &Config) -> anyhow::Result<VerifyingKey> {
    Ok(match config.hsm.isolation {
        Isolation::Thread => tally_hsm_adapter::provision(within(config)?)?,
        Isolation::Process => tally_hsm_adapter::provision_remote(&behind(config)?)?,
    })
}

/// Connects to the token.
pub fn connect(config: &Config) -> anyhow::Result<Arc<dyn Hsm>> {
    Ok(match config.hsm.isolation {
        Isolation::Thread => Arc::new(Pkcs11Hsm::connect(within(config)?)?),
        Isolation::Process => Arc::new(RemoteHsm::connect(behind(config)?)?),
    })
}

fn within(config: &Config) -> anyhow::Result<tally_hsm_adapter::Config> {
    Ok(tally_hsm_adapter::Config {
        module: config.hsm.module.clone(),
        token_label: config.hsm.token_label.clone(),
        token_serial: Some(config.hsm.token_serial.clone()),
        pin: tally_hsm_adapter::read_pin_file(&config.hsm.pin_file)?,
        workers: config.hsm.workers,
        deadline: DEADLINE,
        role: Role::Only,
        profile: profile(config)?,
    })
}

/// The PIN stays where it is: only the process reads it.
fn behind(config: &Config) -> anyhow::Result<RemoteConfig> {
    Ok(RemoteConfig {
        program: tally_hsm_adapter::beside_this_program()?,
        env: config.hsm.env.clone(),
        module: config.hsm.module.clone(),
        token_label: config.hsm.token_label.clone(),
        token_serial: Some(config.hsm.token_serial.clone()),
        pin_file: config.hsm.pin_file.clone(),
        workers: config.hsm.workers,
        deadline: DEADLINE,
        role: Role::Only,
        profile: profile(config)?,
        log_level: config.log.level.clone(),
        log_json: config.log.format == LogFormat::Json,
    })
}

fn profile(config: &Config) -> anyhow::Result<Option<Profile>> {
    let Some(path) = &config.hsm.profile else { return Ok(None) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the capability file {shown}"))?;
    Profile::parse(&text).with_context(|| format!("the capability file {shown} is not valid")).map(Some)
}
