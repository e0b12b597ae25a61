//! `tally dev init`: everything that a cluster on this machine needs, in one directory.

use super::certs::Authority;
use super::files::{self, Mode, NodeFacts};
use super::{cluster, softhsm};
use crate::bundle;
use crate::output::{Shown, Usage, field};
use crate::policy::now;
use crate::words::quoted;
use anyhow::{Context as _, bail};
use serde_json::json;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tally_domain::dsse::{SigningKey, VerifyingKey};
use tally_domain::roster::NodeRole;
use tally_policy::{SignedBundle, VALIDITY_MAX_MS, Validity};
use zeroize::Zeroizing;

/// Where a cluster listens unless told otherwise.
pub const BASE_PORT: u16 = 7101;

/// The smallest cluster in which any one node may be away.
pub const SIGNERS: u8 = 3;

/// With as many witnesses, one of three signers may be away where a limit applies, too: four of five voters agree.
pub const WITNESSES: u8 = 2;

/// `tally dev init`
#[derive(Debug, clap::Args)]
pub struct Init {
    /// A new or empty directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// How many nodes that sign.
    #[arg(long, default_value_t = SIGNERS, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub nodes: u8,
    /// How many more nodes that vote where a limit applies, and hold no share of any key.
    #[arg(long, default_value_t = WITNESSES, value_parser = clap::value_parser!(u8).range(0..=8))]
    pub witnesses: u8,
    /// The first node listens here on 127.0.0.1, the others on the ports after it; 0 picks free ports.
    #[arg(long, default_value_t = BASE_PORT)]
    pub base_port: u16,
    /// The node program; without it the one beside this program, or on the PATH.
    #[arg(long)]
    pub tallyd: Option<PathBuf>,
}

/// What the node program answers to `--init`.
#[derive(serde::Deserialize)]
struct Identity {
    identity: String,
}

impl Init {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<Shown> {
        let addresses = self.make()?;
        let dir = self.dir.display();
        let (signers, witnesses) = (self.nodes, self.witnesses);
        let mut lines = vec![format!("a cluster of {signers} signers and {witnesses} witnesses is in {dir}")];
        lines.extend(addresses.iter().enumerate().map(|(i, a)| field(&format!("node-{}", i + 1), a)));
        lines.push(field("profile", format!("{dir}/client/profile.toml")));
        lines.push(field("policy", format!("{dir}/policy, signed: {dir}/policy.bundle")));
        lines.push(field("admins", format!("{dir}/client/admins, any two of them")));
        lines.push(format!("Run it: tally dev up --dir {}", quoted(&self.dir)));
        let profile = self.dir.join("client/profile.toml");
        Ok(Shown::done(lines.join("\n"), json!({ "dir": self.dir, "addresses": addresses, "profile": profile })))
    }

    /// Makes all files; gives the nodes' addresses.
    pub fn make(&self) -> anyhow::Result<Vec<String>> {
        let tallyd = cluster::find_tallyd(self.tallyd.as_deref())?;
        let module = softhsm::module()?;
        let dir = new_dir(&self.dir)?;
        let addresses = self.addresses()?;
        // It holds private keys, and may lie in someone's repository.
        files::write(&dir.join(".gitignore"), "*\n", Mode::Public)?;
        let authority = Authority::new(files::CLUSTER)?;
        let (ca, ca_key) = authority.pem();
        files::write(&dir.join("ca.pem"), &ca, Mode::Public)?;
        files::write(&dir.join("ca.key"), &ca_key, Mode::Secret)?;
        let (intent_key, client_spki) = client(&dir, &authority, &addresses)?;

        let mut nodes = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let name = format!("node-{}", index + 1);
            let spki_sha256 = node(&dir.join(&name), &name, address, &authority, &module)?;
            let identity = identity(&tallyd, &dir.join(&name).join("node.toml"))?;
            let role = if index < usize::from(self.nodes) { NodeRole::Signer } else { NodeRole::Witness };
            nodes.push(NodeFacts { name, role, address: address.clone(), identity, spki_sha256 });
        }
        let admins = keys_of(&dir.join("client/admins"), &files::ADMINS)?;
        let groups = files::groups(&public(&keys_of(&dir.join("client/people"), &files::PEOPLE)?));
        let roster = files::roster(&nodes, &intent_key, &client_spki, &public(&admins));
        policy(&dir.join("policy"), &roster, &groups)?;
        pin(&dir, &nodes, &admins)?;
        examples(&dir.join("examples"))?;
        Ok(addresses)
    }

    fn all(&self) -> u8 {
        self.nodes.saturating_add(self.witnesses)
    }

    fn addresses(&self) -> anyhow::Result<Vec<String>> {
        if self.base_port != 0 {
            let ports = (0..u16::from(self.all())).map(|i| self.base_port.checked_add(i));
            let ports = ports.collect::<Option<Vec<_>>>().ok_or_else(|| Usage("--base-port is too high".into()))?;
            return Ok(ports.iter().map(|p| format!("127.0.0.1:{p}")).collect());
        }
        // All are held at once, so that no port is picked twice; the nodes take them when they start.
        let held = (0..self.all()).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
        let held = held.context("cannot find free ports")?;
        held.iter().map(|l| Ok(l.local_addr()?.to_string())).collect()
    }
}

/// The directory as an absolute path, made if it is not there.
fn new_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).context("cannot tell the current directory")?;
    make_dir(&dir)?;
    let mut entries = std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    if entries.next().is_some() {
        return Err(Usage(format!("{} is not empty; give a new directory", dir.display())).into());
    }
    Ok(dir)
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))
}

/// The client's files; gives its public intent key and the hash of its certificate's key.
fn client(dir: &Path, authority: &Authority, addresses: &[String]) -> anyhow::Result<(String, String)> {
    let dir = dir.join("client");
    make_dir(&dir)?;
    let leaf = authority.client(files::CLIENT)?;
    let intent_key = fresh_key(&dir.join("intent.key"))?;
    files::write(&dir.join("client.pem"), &leaf.cert, Mode::Public)?;
    files::write(&dir.join("client.key"), &leaf.key, Mode::Secret)?;
    files::write(&dir.join("profile.toml"), &files::profile(addresses), Mode::Public)?;
    Ok((intent_key.verifying_key().to_string(), leaf.spki_sha256))
}

/// A new key, in a file of its own.
fn fresh_key(path: &Path) -> anyhow::Result<SigningKey> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice()).context("the operating system gives no randomness")?;
    let line = Zeroizing::new(format!("ed25519:{}\n", hex::encode(seed.as_slice())));
    files::write(path, &line, Mode::Secret)?;
    Ok(SigningKey::ed25519(&seed))
}

/// A new key for each of those who approve requests or sign bundles.
fn keys_of(dir: &Path, names: &[&str]) -> anyhow::Result<Vec<SigningKey>> {
    make_dir(dir)?;
    names.iter().map(|name| fresh_key(&dir.join(format!("{name}.key")))).collect()
}

fn public(keys: &[SigningKey]) -> Vec<String> {
    keys.iter().map(|key| key.verifying_key().to_string()).collect()
}

/// Packs the policy, has the first two admins sign it, and makes every node begin with it.
fn pin(dir: &Path, nodes: &[NodeFacts], admins: &[SigningKey]) -> anyhow::Result<()> {
    let not_before = now();
    let validity = Validity { not_before, not_after: not_before.plus(VALIDITY_MAX_MS) };
    let mut signed = SignedBundle::pack(&bundle::files(&dir.join("policy"))?, None, validity)?;
    admins.iter().take(2).for_each(|admin| signed.sign(admin));
    files::write_bytes(&dir.join("policy.bundle"), &signed.to_bytes(), Mode::Public)?;
    for node in nodes {
        let config = dir.join(&node.name).join("node.toml");
        let file = std::fs::OpenOptions::new().append(true).open(&config);
        let added = file.and_then(|mut f| f.write_all(files::pinned(&signed.digest().to_string()).as_bytes()));
        added.with_context(|| format!("cannot write {}", config.display()))?;
    }
    Ok(())
}

/// A node's files and token; gives the hash of its certificate's key.
fn node(dir: &Path, name: &str, address: &str, authority: &Authority, module: &Path) -> anyhow::Result<String> {
    for sub in ["tokens", "data"] {
        make_dir(&dir.join(sub))?;
    }
    let leaf = authority.node(name)?;
    files::write(&dir.join("node.pem"), &leaf.cert, Mode::Public)?;
    files::write(&dir.join("node.key"), &leaf.key, Mode::Secret)?;
    let conf = dir.join("softhsm2.conf");
    files::write(&conf, &softhsm::configuration(&dir.join("tokens")), Mode::Public)?;
    let token = softhsm::init_token(&conf, &format!("tally-{name}"))?;
    files::write(&dir.join("pin"), &token.pin, Mode::Secret)?;
    files::write(&dir.join("node.toml"), &files::node(name, address, module, &token.serial), Mode::Public)?;
    Ok(leaf.spki_sha256)
}

/// Has the node program make its identity key on the token.
fn identity(tallyd: &Path, config: &Path) -> anyhow::Result<String> {
    let run = Command::new(tallyd).arg("--config").arg(config).arg("--init").output();
    let output = run.with_context(|| format!("cannot run {}", tallyd.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{} --init failed for {}: {}", tallyd.display(), config.display(), why.trim());
    }
    let what = || format!("{} --init printed no identity", tallyd.display());
    let answer: Identity = serde_json::from_slice(&output.stdout).with_context(what)?;
    Ok(VerifyingKey::parse(&answer.identity).with_context(what)?.to_string())
}

/// Transfers to try: one that the policy permits, one that persons must approve, and one that it denies.
fn examples(dir: &Path) -> anyhow::Result<()> {
    make_dir(dir)?;
    for whole in [250, 2_500, 5_000] {
        files::write(&dir.join(format!("usdc-{whole}.json")), &files::usdc_transfer(whole)?, Mode::Public)?;
    }
    Ok(())
}

fn policy(dir: &Path, roster: &str, groups: &str) -> anyhow::Result<()> {
    make_dir(&dir.join("lists"))?;
    for (name, text) in [
        ("bundle.toml", files::BUNDLE),
        ("policy.cedar", files::POLICY),
        ("assets.toml", files::ASSETS),
        ("limits.toml", files::LIMITS),
        ("roster.toml", roster),
        ("groups.toml", groups),
        ("lists/vendors.txt", files::VENDORS),
    ] {
        files::write(&dir.join(name), text, Mode::Public)?;
    }
    Ok(())
}
