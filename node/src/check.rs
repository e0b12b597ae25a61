//! `tallyd --check-config`: everything that can be known to be wrong without starting, all at once.
//!
//! The token is not logged in to: a wrong PIN counts there. `tally hsm doctor` tries it.

use crate::config::{Config, Isolation};
use crate::first_bundle;
use crate::tls::Tls;
use crate::token;
use anyhow::Context as _;
use std::path::Path;
use tally_hsm_adapter::PinSource;
use tally_policy::Bundle;

/// Faults of a configuration, each a sentence; none if it is good.
pub fn faults(file: &Path) -> Vec<String> {
    let config = match Config::load(file) {
        Ok(config) => config,
        // What is not read cannot be checked.
        Err(error) => return vec![format!("{error:#}")],
    };
    let bundle = first_bundle::configured(&config);
    let outcomes = [
        config.log.filter().map(drop),
        data_dir(&config.data_dir),
        listeners(&config),
        bundle.as_ref().map(drop).map_err(|error| anyhow::anyhow!("{error:#}")),
        certificates(&config, bundle.as_ref().ok()),
        file_is_there(&config.hsm.module).context("[hsm] module"),
        pin(&config.hsm.pin()).context("[hsm]"),
        token::profile(config.hsm.profile.as_deref()).map(drop),
        hsmd(&config),
    ];
    let standby = config.hsm.standby.as_ref().map(|standby| {
        [
            file_is_there(&standby.module).context("[hsm.standby] module"),
            pin(&standby.pin()).context("[hsm.standby]"),
            token::profile(standby.profile.as_deref()).map(drop),
        ]
    });
    let all = outcomes.into_iter().chain(roster(&config, bundle.as_ref().ok())).chain(standby.into_iter().flatten());
    all.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
}

/// Made at the start if it is not there; but then where it is to be must be there.
fn data_dir(dir: &Path) -> anyhow::Result<()> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let shown = dir.display();
    anyhow::ensure!(there.is_dir(), "`data_dir` {shown} cannot be made: {} is no directory", there.display());
    let writable = rustix::fs::access(there, rustix::fs::Access::WRITE_OK);
    writable.with_context(|| format!("`data_dir` {shown}: this user cannot write in {}", there.display()))
}

fn listeners(config: &Config) -> anyhow::Result<()> {
    let same = config.metrics.as_ref().is_some_and(|metrics| metrics.listen == config.listen);
    anyhow::ensure!(!same, "`listen` and `metrics.listen` are both {}: each needs its own", config.listen);
    Ok(())
}

fn certificates(config: &Config, bundle: Option<&Bundle>) -> anyhow::Result<()> {
    let tls = Tls::load(&config.tls)?;
    let own = bundle.and_then(|bundle| bundle.roster().node(&config.name));
    own.map_or(Ok(()), |own| tls.check(&own.tls_spki_sha256))
}

fn roster(config: &Config, bundle: Option<&Bundle>) -> Vec<anyhow::Result<()>> {
    let Some(roster) = bundle.map(Bundle::roster) else { return Vec::new() };
    let (cluster, name) = (&config.cluster, &config.name);
    let mut said = Vec::new();
    if roster.cluster != *cluster {
        said.push(Err(anyhow::anyhow!(
            "the roster is for cluster `{}`, the configuration for `{cluster}`",
            roster.cluster
        )));
    }
    if roster.node(name).is_none() {
        said.push(Err(anyhow::anyhow!("the roster of the policy bundle has no node `{name}`")));
    }
    said
}

fn pin(source: &anyhow::Result<PinSource>) -> anyhow::Result<()> {
    // A descriptor can be read once, and a credential is there only when systemd starts the node.
    let Ok(PinSource::File(path)) = source else { return Ok(()) };
    PinSource::File(path.clone()).read().map(drop).with_context(|| format!("pin_file {}", path.display()))
}

fn hsmd(config: &Config) -> anyhow::Result<()> {
    if config.hsm.isolation == Isolation::Process {
        file_is_there(&tally_hsm_adapter::beside_this_program()?).context("`isolation = \"process\"`")?;
    }
    Ok(())
}

fn file_is_there(path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(path.is_file(), "{} is no file", path.display());
    Ok(())
}
