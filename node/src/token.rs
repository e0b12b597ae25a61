//! The node's tokens: one, or a primary and its standby; in this process, or each behind one of its own.

use crate::config::{Config, Isolation, LogFormat, Mode};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::Hsm;
use tally_hsm_adapter::{PinSource, Pkcs11Hsm, Profile, RemoteConfig, RemoteHsm, Role, TokenPair};

/// Longest wait for one operation of a token. A soft token takes microseconds, a network HSM milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Makes the identity key on the token, if there is none, and gives its public half. Two tokens become a pair.
///
/// # Errors
/// When a module, token or PIN is not as configured.
pub fn init_identity(config: &Config) -> anyhow::Result<VerifyingKey> {
    let (primary, standby) = tokens(config)?;
    Ok(match (config.hsm.isolation, standby) {
        (Isolation::Thread, None) => tally_hsm_adapter::provision(primary.within()?)?,
        (Isolation::Thread, Some(standby)) => tally_hsm_adapter::provision_pair(primary.within()?, standby.within()?)?,
        (Isolation::Process, None) => tally_hsm_adapter::provision_remote(&primary.behind()?)?,
        (Isolation::Process, Some(standby)) => {
            tally_hsm_adapter::provision_pair_remote(&primary.behind()?, &standby.behind()?)?
        }
    })
}

/// Connects to the token, or to both.
pub fn connect(config: &Config) -> anyhow::Result<Arc<dyn Hsm>> {
    let (primary, standby) = tokens(config)?;
    Ok(match (config.hsm.isolation, standby) {
        (Isolation::Thread, None) => Arc::new(Pkcs11Hsm::connect(primary.within()?)?),
        (Isolation::Thread, Some(standby)) => Arc::new(TokenPair::connect(primary.within()?, standby.within()?)?),
        (Isolation::Process, None) => Arc::new(RemoteHsm::connect(primary.behind()?)?),
        (Isolation::Process, Some(standby)) => {
            Arc::new(TokenPair::connect_remote(primary.behind()?, standby.behind()?)?)
        }
    })
}

/// One token as it is configured. With another, each is given its role there.
struct Token<'a> {
    config: &'a Config,
    env: &'a BTreeMap<String, PathBuf>,
    module: &'a Path,
    label: &'a str,
    serial: &'a str,
    pin: PinSource,
    profile: Option<Profile>,
}

fn tokens(config: &Config) -> anyhow::Result<(Token<'_>, Option<Token<'_>>)> {
    let hsm = &config.hsm;
    let primary = Token {
        config,
        env: &hsm.env,
        module: &hsm.module,
        label: &hsm.token_label,
        serial: &hsm.token_serial,
        pin: hsm.pin()?,
        profile: profile(hsm.profile.as_deref())?,
    };
    let env = &hsm.env;
    let Some(hsm) = &hsm.standby else { return Ok((primary, None)) };
    let standby = Token {
        config,
        env: hsm.env.as_ref().unwrap_or(env),
        module: &hsm.module,
        label: &hsm.token_label,
        serial: &hsm.token_serial,
        pin: hsm.pin()?,
        profile: profile(hsm.profile.as_deref())?,
    };
    Ok((primary, Some(standby)))
}

impl Token<'_> {
    /// In this process.
    fn within(self) -> anyhow::Result<tally_hsm_adapter::Config> {
        Ok(tally_hsm_adapter::Config {
            module: self.module.to_owned(),
            token_label: self.label.to_owned(),
            token_serial: Some(self.serial.to_owned()),
            pin: self.pin.read()?,
            workers: self.config.hsm.workers,
            deadline: DEADLINE,
            role: Role::Only,
            mode: mode(self.config),
            profile: self.profile,
        })
    }

    /// In a process of its own. The PIN stays where it is: only that process reads it.
    fn behind(self) -> anyhow::Result<RemoteConfig> {
        Ok(RemoteConfig {
            program: tally_hsm_adapter::beside_this_program()?,
            env: self.env.clone(),
            module: self.module.to_owned(),
            token_label: self.label.to_owned(),
            token_serial: Some(self.serial.to_owned()),
            pin: self.pin,
            workers: self.config.hsm.workers,
            deadline: DEADLINE,
            role: Role::Only,
            mode: mode(self.config),
            profile: self.profile,
            log_level: self.config.log.level.clone(),
            log_json: self.config.log.format == LogFormat::Json,
        })
    }
}

fn mode(config: &Config) -> tally_hsm_adapter::Mode {
    match config.mode {
        Mode::Production => tally_hsm_adapter::Mode::Production,
        Mode::Development => tally_hsm_adapter::Mode::Development,
    }
}

/// A capability file, if there is one.
pub fn profile(path: Option<&Path>) -> anyhow::Result<Option<Profile>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the capability file {shown}; `tally hsm doctor --out` writes one"))?;
    Profile::parse(&text).with_context(|| format!("the capability file {shown} is not valid")).map(Some)
}
