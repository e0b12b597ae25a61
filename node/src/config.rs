//! The node's configuration file. Unknown fields are refused; relative paths are relative to the file.

mod policy;
mod rpc;

pub use policy::Policy;
pub use rpc::{Account, Rpc};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tally_domain::kek::{DESTROY_DELAY_MAX_MS, DESTROY_DELAY_MIN_MS};
use tally_domain::time::parse_span;
use tally_domain::{ClusterId, NodeName};
use tally_hsm_adapter::PinSource;

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
    /// `host:port` to listen on.
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
mod tests {
    use super::*;

    const ONE: &str = "module = \"m.so\"\ntoken_label = \"a\"\ntoken_serial = \"1\"\n";

    fn load(top: &str, hsm: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        let text = format!(
            "cluster = \"c\"\nname = \"node-1\"\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\nbundle_dir = \"b\"\n{top}\n\
             [tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n[hsm]\n{ONE}{hsm}\n"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn s_4_5_a_pin_comes_from_exactly_one_place_and_never_from_the_environment() {
        for (hsm, wanted) in [
            ("pin_fd = 7", PinSource::Descriptor(7)),
            ("pin_credential = \"hsm-pin\"", PinSource::Credential("hsm-pin".into())),
            ("pin_file = \"/run/pin\"", PinSource::File("/run/pin".into())),
        ] {
            assert_eq!(load("", hsm).unwrap().hsm.pin().unwrap(), wanted);
        }
        let two = "pin_file = \"p\"\npin_fd = 7";
        let all = "pin_file = \"p\"\npin_fd = 7\npin_credential = \"c\"";
        for bad in ["", two, all, "pin_fd = 7\npin_credential = \"c\""] {
            let said = load("", bad).unwrap_err();
            assert!(said.contains("[hsm] needs exactly one of `pin_file`, `pin_fd` and `pin_credential`"), "{said}");
            let said = load("", &format!("pin_fd = 9\n[hsm.standby]\n{ONE}{bad}")).unwrap_err();
            assert!(said.contains("[hsm.standby] needs exactly one"), "{said}");
        }
        for bad in ["pin = \"1234\"", "pin_env = \"PIN\""] {
            assert!(load("", bad).unwrap_err().contains("unknown field"), "{bad}");
        }
        assert!(load("", "pin_fd = -1").is_err());
    }

    #[test]
    fn a_standby_has_paths_and_a_pin_of_its_own() {
        let config = load("", &format!("pin_file = \"p1\"\n[hsm.standby]\n{ONE}pin_file = \"p2\"")).unwrap();
        let standby = config.hsm.standby.as_ref().unwrap();
        assert!(standby.module.is_absolute() && standby.module.ends_with("m.so"));
        assert!(standby.pin_file.as_ref().is_some_and(|p| p.is_absolute() && p.ends_with("p2")));
        assert!(config.hsm.pin_file.is_some_and(|p| p.is_absolute() && p.ends_with("p1")));
        let said = load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 7")).unwrap_err();
        assert!(said.contains("each needs its own"), "{said}");
        load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 8")).unwrap();
        let said = load("", &format!("pin_fd = 7\n[hsm.standby]\n{ONE}pin_fd = 8\nworkers = 3")).unwrap_err();
        assert!(said.contains("workers"), "{said}");
    }

    #[test]
    fn a_standby_has_an_environment_of_its_own_only_in_a_process_of_its_own() {
        let with = |top: &str, env: &str| {
            load("", &format!("pin_fd = 7\nenv = {{ A = \"one\" }}\n{top}\n[hsm.standby]\n{ONE}pin_fd = 8\n{env}"))
        };
        let env = with("", "env = { A = \"two\" }").unwrap().hsm.standby.unwrap().env.unwrap();
        assert!(env.len() == 1 && env["A"].is_absolute() && env["A"].ends_with("two"), "{env:?}");
        assert_eq!(with("", "env = {}").unwrap().hsm.standby.unwrap().env.unwrap().len(), 0);
        assert!(with("", "").unwrap().hsm.standby.unwrap().env.is_none());
        let said = with("isolation = \"thread\"", "env = { A = \"two\" }").unwrap_err();
        assert!(said.contains("isolation = \"process\"") && said.contains("[hsm.standby]"), "{said}");
        for same in ["", "env = { A = \"one\" }"] {
            with("isolation = \"thread\"", same).unwrap();
        }
    }

    #[test]
    fn a_node_is_in_production_unless_it_says_otherwise() {
        assert_eq!(load("", "pin_fd = 7").unwrap().mode, Mode::Production);
        assert_eq!(load("mode = \"development\"", "pin_fd = 7").unwrap().mode, Mode::Development);
        assert!(load("mode = \"test\"", "pin_fd = 7").unwrap_err().contains("production"));
    }

    #[test]
    fn a_version_waits_a_day_for_its_end_unless_the_configuration_says_otherwise() {
        let delay = |wrap: &str| load("", &format!("pin_fd = 7\n{wrap}")).map(|c| c.wrap.destroy_delay_min.ms / 1_000);
        assert_eq!(delay(""), Ok(86_400));
        assert_eq!(delay("[wrap]"), Ok(86_400));
        assert_eq!(delay("[wrap]\ndestroy_delay_min = \"2s\""), Ok(2));
        for bad in ["\"31d\"", "\"soon\"", "2"] {
            let said = delay(&format!("[wrap]\ndestroy_delay_min = {bad}")).unwrap_err();
            assert!(said.contains("destroy_delay_min"), "{said}");
        }
    }
}
