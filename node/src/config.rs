//! The node's configuration file. Unknown fields are refused; relative paths are relative to the file.

mod address;
mod fault;
mod policy;
mod rpc;
mod shown;

pub use policy::Policy;
pub use rpc::{Account, Rpc};
pub use shown::{Metrics, Traces};

use crate::traces::TRACE;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tally_domain::kek::{DESTROY_DELAY_MAX_MS, DESTROY_DELAY_MIN_MS};
use tally_domain::time::parse_span;
use tally_domain::{ClusterId, NodeName};
use tally_hsm_adapter::{PinSource, WORKERS_MAX};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// `node.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Cluster that the node belongs to.
    pub cluster: ClusterId,
    /// This node's name in the roster.
    pub name: NodeName,
    /// How strict the node is with itself.
    #[serde(default)]
    pub mode: Mode,
    /// Address and port to listen on.
    #[serde(deserialize_with = "address::read")]
    pub listen: std::net::SocketAddr,
    /// Where the node keeps its state.
    pub data_dir: PathBuf,
    /// The signed policy bundle that the node begins with.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// A policy bundle that nobody has signed, in place of `policy`: for development only.
    #[serde(default)]
    pub bundle_dir: Option<PathBuf>,
    /// Certificates.
    pub tls: Tls,
    /// The node's token.
    pub hsm: Hsm,
    /// What is logged and how.
    #[serde(default)]
    pub log: Log,
    /// Keys that wrap other keys.
    #[serde(default)]
    pub wrap: Wrap,
    /// Numbers for Prometheus; none without it.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// Traces over OTLP; none without it.
    #[serde(default)]
    pub traces: Option<Traces>,
    /// The JSON-RPC endpoint; without it there is none.
    #[serde(default)]
    pub rpc: Option<Rpc>,
}

/// Keys that wrap other keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// Shortest wait before a version is destroyed.
    #[serde(default)]
    pub destroy_delay_min: DelayMin,
}

/// A span such as `24h`; at most as long as the longest wait.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct DelayMin {
    /// In milliseconds.
    pub ms: u64,
}

impl Default for DelayMin {
    fn default() -> Self {
        Self { ms: DESTROY_DELAY_MIN_MS }
    }
}

impl TryFrom<String> for DelayMin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let ms = parse_span(&text).map(|seconds| u64::from(seconds) * 1_000).filter(|ms| *ms <= DESTROY_DELAY_MAX_MS);
        ms.map(|ms| Self { ms }).ok_or("`destroy_delay_min` is a span of at most 30 days, such as \"24h\" or \"7d\"")
    }
}

/// How strict a node is with itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is only for looking into things is refused: a PKCS#11 module that writes down what passes through it.
    #[default]
    Production,
    /// A cluster that `tally dev` made.
    Development,
}

/// Certificates, as PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Authority of all nodes and clients.
    pub ca: PathBuf,
    /// This node's chain.
    pub cert: PathBuf,
    /// This node's private key.
    pub key: PathBuf,
}

/// The node's token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsm {
    /// PKCS#11 module.
    pub module: PathBuf,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token; both must match.
    pub token_serial: String,
    /// File with the user PIN, readable by its owner only. Or `pin_fd`, or `pin_credential`.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// Number of an open descriptor that the user PIN can be read from.
    #[serde(default)]
    pub pin_fd: Option<u32>,
    /// Name of the systemd credential that is the user PIN.
    #[serde(default)]
    pub pin_credential: Option<String>,
    /// The node's other token, which wraps while this one does not.
    #[serde(default)]
    pub standby: Option<Standby>,
    /// Worker sessions.
    #[serde(default = "default_workers")]
    pub workers: u32,
    /// Where the module runs.
    #[serde(default)]
    pub isolation: Isolation,
    /// What the token can do, in place of what is known of its kind: a file that `tally hsm doctor` has written.
    #[serde(default)]
    pub profile: Option<PathBuf>,
    /// Environment that the module needs, such as `SOFTHSM2_CONF`; relative paths are made absolute.
    #[serde(default)]
    pub env: BTreeMap<String, PathBuf>,
}

/// Where the PKCS#11 module runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In the node's own process.
    Thread,
    /// In a process of its own, `hsmd`, which must be installed beside `tallyd`.
    #[default]
    Process,
}

/// The node's other token. Its module is given the same workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    /// PKCS#11 module.
    pub module: PathBuf,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token; both must match.
    pub token_serial: String,
    /// As of [`Hsm`].
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// As of [`Hsm`].
    #[serde(default)]
    pub pin_fd: Option<u32>,
    /// As of [`Hsm`].
    #[serde(default)]
    pub pin_credential: Option<String>,
    /// As of [`Hsm`].
    #[serde(default)]
    pub profile: Option<PathBuf>,
    /// As of [`Hsm`], in place of it; without it the module is given that of [`Hsm`].
    #[serde(default)]
    pub env: Option<BTreeMap<String, PathBuf>>,
}

impl Hsm {
    /// Where the PIN comes from.
    ///
    /// # Errors
    /// When it is not exactly one place.
    pub fn pin(&self) -> anyhow::Result<PinSource> {
        one_pin("[hsm]", self.pin_file.as_ref(), self.pin_fd, self.pin_credential.as_ref())
    }

    fn check(&self) -> anyhow::Result<()> {
        let pin = self.pin()?;
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            bail!("[hsm] `workers` is {}: a token is given 1 to {WORKERS_MAX} workers", self.workers);
        }
        let Some(standby) = &self.standby else { return Ok(()) };
        if standby.pin()? == pin && matches!(pin, PinSource::Descriptor(_)) {
            bail!(
                "[hsm] and [hsm.standby] have one `pin_fd`: a descriptor can be read once, so that each needs its own"
            );
        }
        if self.isolation == Isolation::Thread && standby.env.as_ref().is_some_and(|env| *env != self.env) {
            bail!(
                "[hsm.standby] has an `env` of its own, and `isolation` is \"thread\": both modules are in the node's one \
                 process, which has one environment. Set `isolation = \"process\"`, or leave out `env` under [hsm.standby]"
            );
        }
        Ok(())
    }
}

impl Standby {
    /// Where the PIN comes from.
    ///
    /// # Errors
    /// When it is not exactly one place.
    pub fn pin(&self) -> anyhow::Result<PinSource> {
        one_pin("[hsm.standby]", self.pin_file.as_ref(), self.pin_fd, self.pin_credential.as_ref())
    }
}

fn one_pin(
    section: &str,
    file: Option<&PathBuf>,
    descriptor: Option<u32>,
    credential: Option<&String>,
) -> anyhow::Result<PinSource> {
    match (file, descriptor, credential) {
        (Some(path), None, None) => Ok(PinSource::File(path.clone())),
        (None, Some(number), None) => Ok(PinSource::Descriptor(number)),
        (None, None, Some(name)) => Ok(PinSource::Credential(name.clone())),
        _ => bail!("{section} needs exactly one of `pin_file`, `pin_fd` and `pin_credential`"),
    }
}

/// A soft token does not gain from more threads than cores (`hsm.md` 2); a network HSM is given more in its configuration.
fn default_workers() -> u32 {
    2
}

/// What is logged and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    #[serde(default)]
    pub format: LogFormat,
    /// A tracing filter, such as `info` or `tally_node=debug`.
    #[serde(default = "default_level")]
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: default_level() }
    }
}

impl Log {
    /// The lines that are logged.
    ///
    /// # Errors
    /// When `level` is none: a word that is no level would be read as the name of a module, and nothing would be logged.
    pub fn filter(&self) -> anyhow::Result<EnvFilter> {
        let level = self.level.as_str();
        if !level.contains('=') && level.parse::<LevelFilter>().is_err() {
            bail!(
                "`log.level` is `{level}`: use off, error, warn, info, debug or trace, or a filter such as `tally_node=debug`"
            );
        }
        // cryptoki logs an error for each mechanism that it has no name for.
        EnvFilter::try_new(format!("{level},cryptoki=off,{TRACE}=off")).context("`log.level` is not a filter")
    }
}

fn default_level() -> String {
    "info".into()
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads the file and makes its paths absolute.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has fields that do not belong.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("cannot read the configuration {}; `--config` names a node.toml", file.display())
        })?;
        Self::parse(&text, file)
    }

    /// Reads the text of `file`, which its paths are relative to.
    ///
    /// # Errors
    /// When it is not TOML, or has fields that do not belong.
    pub fn parse(text: &str, file: &Path) -> anyhow::Result<Self> {
        let mut config: Self = toml::from_str(text)
            .map_err(|error| fault::of(text, &error))
            .with_context(|| format!("the configuration {} is not valid", file.display()))?;
        let absolute = std::path::absolute(file).context("cannot tell the current directory")?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let paths = [
            &mut config.data_dir,
            &mut config.tls.ca,
            &mut config.tls.cert,
            &mut config.tls.key,
            &mut config.hsm.module,
        ];
        let standby = config.hsm.standby.iter_mut().flat_map(|s| {
            let env = s.env.iter_mut().flat_map(|env| env.values_mut());
            std::iter::once(&mut s.module).chain(&mut s.pin_file).chain(&mut s.profile).chain(env)
        });
        let optional = config
            .hsm
            .pin_file
            .iter_mut()
            .chain(&mut config.bundle_dir)
            .chain(config.policy.as_mut().map(|policy| &mut policy.bundle))
            .chain(&mut config.hsm.profile)
            .chain(config.rpc.as_mut().map(|rpc| &mut rpc.intent_key))
            .chain(config.hsm.env.values_mut())
            .chain(standby);
        paths.into_iter().chain(optional).for_each(|p| *p = base.join(&*p));
        let rpc = config.rpc.as_ref().map_or(Ok(()), |rpc| rpc.check(config.listen));
        config.hsm.check().and(rpc).with_context(|| format!("the configuration {} is not valid", file.display()))?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
