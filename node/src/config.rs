//! The node's configuration file. Unknown fields are refused; relative paths are relative to the file.

use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tally_domain::kek::{DESTROY_DELAY_MAX_MS, DESTROY_DELAY_MIN_MS};
use tally_domain::time::parse_span;
use tally_domain::{ClusterId, NodeName};

/// `node.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Cluster that the node belongs to.
    pub cluster: ClusterId,
    /// This node's name in the roster.
    pub name: NodeName,
    /// `host:port` to listen on.
    pub listen: std::net::SocketAddr,
    /// Where the node keeps its state.
    pub data_dir: PathBuf,
    /// The policy bundle.
    pub bundle_dir: PathBuf,
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
    /// File with the user PIN, readable by its owner only.
    pub pin_file: PathBuf,
    /// Worker sessions.
    #[serde(default = "default_workers")]
    pub workers: u32,
    /// Environment that the module needs, such as `SOFTHSM2_CONF`; relative paths are made absolute.
    #[serde(default)]
    pub env: BTreeMap<String, PathBuf>,
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
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the configuration {}", file.display()))?;
        let mut config: Self =
            toml::from_str(&text).with_context(|| format!("the configuration {} is not valid", file.display()))?;
        let absolute = std::path::absolute(file).context("cannot tell the current directory")?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let paths = [
            &mut config.data_dir,
            &mut config.bundle_dir,
            &mut config.tls.ca,
            &mut config.tls.cert,
            &mut config.tls.key,
            &mut config.hsm.module,
            &mut config.hsm.pin_file,
        ];
        paths.into_iter().chain(config.hsm.env.values_mut()).for_each(|p| *p = base.join(&*p));
        Ok(config)
    }
}
