//! `tally dev up`: runs all nodes until told to stop.

use super::cluster::Cluster;
use super::pids;
use crate::output::{Out, Progress, Shown};
use crate::profile;
use crate::words::quoted;
use anyhow::Context as _;
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally_client::{Client, Exit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the nodes are looked at.
const TICK: Duration = Duration::from_millis(500);

/// `tally dev up`
#[derive(Debug, clap::Args)]
pub struct Up {
    /// A directory that `tally dev init` made.
    #[arg(long)]
    dir: PathBuf,
    /// The node program; without it the one beside this program, or on the PATH.
    #[arg(long)]
    tallyd: Option<PathBuf>,
}

impl Up {
    /// Runs it.
    pub async fn run(self, out: Out) -> anyhow::Result<Shown> {
        let mut cluster = Cluster::open(&self.dir, self.tallyd.as_deref())?;
        pids::ensure_down(&self.dir)?;
        let client = profile::client(&self.dir.join(profile::DEFAULT))?;
        ensure_free(&client)?;
        let mut stop = Stop::listen()?;
        cluster.start_all()?;
        let starting = Progress::start("starting", None);
        tokio::select! {
            ready = cluster.ready(&client) => ready?,
            () = stop.told() => return Ok(Shown::nothing(Exit::Done)),
        }
        drop(starting);
        out.say(&hints(&self.dir, &client, Keys::Unknown));
        out.document(&json!({ "endpoints": client.endpoints().collect::<Vec<_>>(), "dir": self.dir }));
        let exit = watch(&mut cluster, &mut stop, out).await?;
        cluster.stop_all().await?;
        out.say("stopped");
        Ok(Shown::nothing(exit))
    }
}

/// Refuses if another program listens where a node is to listen.
fn ensure_free(client: &Client) -> anyhow::Result<()> {
    for address in client.endpoints().filter_map(|endpoint| endpoint.strip_prefix("https://")) {
        if let Err(e) = TcpListener::bind(address)
            && e.kind() == std::io::ErrorKind::AddrInUse
        {
            anyhow::bail!(
                "another program listens at {address}; stop it, or make a cluster on free ports: \
                 tally dev init --base-port 0 --dir NEW"
            );
        }
    }
    Ok(())
}

/// Tells of nodes that stop, until all have or someone says so.
async fn watch(cluster: &mut Cluster, stop: &mut Stop, out: Out) -> anyhow::Result<Exit> {
    loop {
        tokio::select! {
            () = stop.told() => return Ok(Exit::Done),
            () = tokio::time::sleep(TICK) => {}
        }
        for (name, status) in cluster.exited()? {
            out.say(&format!("{name} stopped ({status}); see {name}/tallyd.log"));
        }
        if cluster.is_down() {
            return Ok(Exit::Unavailable);
        }
    }
}

/// Ctrl-C and SIGTERM, heard from the moment that this is made.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Starts to listen; from now on neither ends the process by itself.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Ends when one has come.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Which keys a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Perhaps none yet.
    Unknown,
    /// Those of the tour, whose logs are exported too.
    OfTheTour,
}

/// Where the nodes are and what to try.
pub fn hints(dir: &Path, client: &Client, keys: Keys) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let at = |name: &str| quoted(&dir.join(name));
    let mut lines: Vec<_> =
        client.endpoints().enumerate().map(|(i, e)| format!("node-{} listens at {e}", i + 1)).collect();
    lines.extend(["Try in another terminal:".to_owned(), format!("  export TALLY_PROFILE={}", at(profile::DEFAULT))]);
    lines.push("  tally node status".into());
    if keys == Keys::Unknown {
        lines.push("  tally key create hot --scheme ecdsa-secp256k1 --threshold 2".into());
        lines.push("  tally key create fast --scheme ed25519 --threshold 2".into());
    }
    lines.extend([
        format!("  tally sign hot --evm-tx {}", at("examples/usdc-250.json")),
        format!("  tally sign hot --evm-tx {} --valid-for 1h", at("examples/usdc-2500.json")),
        format!("  tally approvals; tally approve ID --key {}", at("client/people/alice.key")),
        format!("  tally sign hot --evm-tx {}", at("examples/usdc-5000.json")),
        "  echo hello | tally sign fast --message -".into(),
        "  tally request list".into(),
        format!("  tally audit export --out {}", at("exported")),
        format!("  tally audit verify {} --bundle {} --verbose", at("exported"), at("policy.bundle")),
    ]);
    lines.join("\n")
}
