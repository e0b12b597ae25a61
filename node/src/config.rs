//! The node's configuration file. Unknown fields are refused; relative paths are relative to the file.

use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
        let optional = config.hsm.profile.iter_mut().chain(config.hsm.env.values_mut());
        paths.into_iter().chain(optional).for_each(|p| *p = base.join(&*p));
        Ok(config)
    }
}
