//! The nodes of a development cluster as child processes.

use super::pids;
use crate::output::Usage;
use crate::programs;
use crate::words::quoted;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tally_client::Client;

/// Longest wait until a node takes calls: it opens its token, its database and its log.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait until a node has stopped by itself; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How much of a failed node's log is shown.
const LOG_SHOWN_BYTES: u64 = 2_000;

/// A node's log, in its directory.
pub const NODE_LOG: &str = "tallyd.log";

/// All nodes of a directory, in the order of their numbers. Those that run are killed when it is dropped.
pub struct Cluster {
    dir: PathBuf,
    tallyd: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    state: State,
}

enum State {
    Stopped,
    Running(Child),
}

/// The node program: as given, beside this program, or on the PATH.
pub fn find_tallyd(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    programs::find("tallyd", "--tallyd", given)
}

impl Cluster {
    /// The cluster in a directory; nothing runs yet.
    pub fn open(dir: &Path, tallyd: Option<&Path>) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).context("cannot tell the current directory")?;
        let names = (1..).map(|i| format!("node-{i}")).take_while(|name| dir.join(name).join("node.toml").exists());
        let nodes: Vec<_> = names.map(|name| Node { name, state: State::Stopped }).collect();
        if nodes.is_empty() {
            return Err(Usage(format!(
                "{} holds no cluster; make one: tally dev init --dir {}",
                dir.display(),
                quoted(&dir)
            ))
            .into());
        }
        Ok(Self { tallyd: find_tallyd(tallyd)?, dir, nodes })
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Starts a node. Its log goes to `tallyd.log` in its directory, after what is there.
    pub fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(index).context("there is no such node")?;
        let dir = self.dir.join(&node.name);
        let log = File::options().create(true).append(true).open(dir.join(NODE_LOG));
        let log = log.with_context(|| format!("cannot write the log of {}", node.name))?;
        let child = Command::new(&self.tallyd)
            .arg("--config")
            .arg(dir.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log)
            // Ctrl-C is for this program, which then stops its nodes in order.
            .process_group(0)
            .spawn();
        let child = child.with_context(|| format!("cannot run {}", self.tallyd.display()))?;
        node.state = State::Running(child);
        self.write_pids()
    }

    /// Asks a node to stop, and waits until it has.
    pub async fn stop(&mut self, index: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(index).context("there is no such node")?;
        let State::Running(child) = &mut node.state else { return Ok(()) };
        // Fails only if it has gone already.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let began = Instant::now();
        while child.try_wait().context("cannot wait for a node")?.is_none() {
            if began.elapsed() > STOP_TIMEOUT {
                child.kill().context("cannot kill a node")?;
            }
            tokio::time::sleep(TICK).await;
        }
        node.state = State::Stopped;
        self.write_pids()
    }

    /// Starts all nodes that do not run.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        let stopped = |(i, n): (usize, &Node)| matches!(n.state, State::Stopped).then_some(i);
        let indices: Vec<_> = self.nodes.iter().enumerate().filter_map(stopped).collect();
        indices.into_iter().try_for_each(|i| self.start(i))
    }

    /// Stops all nodes.
    pub async fn stop_all(&mut self) -> anyhow::Result<()> {
        for index in 0..self.len() {
            self.stop(index).await?;
        }
        Ok(())
    }

    /// Waits until every node that runs takes calls and reaches every other one that runs. The client's endpoints are
    /// the nodes in their order.
    pub async fn ready(&mut self, client: &Client) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        let running = |(i, n): (usize, &Node)| matches!(n.state, State::Running(_)).then_some(i);
        let indices: Vec<_> = self.nodes.iter().enumerate().filter_map(running).collect();
        let peers = indices.len().saturating_sub(1);
        for index in indices {
            let one = client.only(index).context("the profile has fewer endpoints than there are nodes")?.once();
            while !is_ready(&one, peers).await {
                self.ensure_none_exited()?;
                if Instant::now() > until {
                    let name = self.nodes.get(index).map_or("", |n| n.name.as_str());
                    bail!("{name} is not ready after {} s; its log:\n{}", START_TIMEOUT.as_secs(), self.log_tail(name));
                }
                tokio::time::sleep(TICK).await;
            }
        }
        // What answered may be a stranger on the port, while the node itself could not have it.
        self.ensure_none_exited()
    }

    fn ensure_none_exited(&mut self) -> anyhow::Result<()> {
        match self.exited()?.first() {
            None => Ok(()),
            Some((name, status)) => {
                bail!("{name} stopped by itself ({status}); the end of its log:\n{}", self.log_tail(name))
            }
        }
    }

    /// Nodes that have stopped by themselves since the last look.
    pub fn exited(&mut self) -> anyhow::Result<Vec<(String, ExitStatus)>> {
        let mut exited = Vec::new();
        for node in &mut self.nodes {
            if let State::Running(child) = &mut node.state
                && let Some(status) = child.try_wait().context("cannot look at a node")?
            {
                exited.push((node.name.clone(), status));
                node.state = State::Stopped;
            }
        }
        if !exited.is_empty() {
            self.write_pids()?;
        }
        Ok(exited)
    }

    /// Whether no node runs.
    pub fn is_down(&self) -> bool {
        self.nodes.iter().all(|n| matches!(n.state, State::Stopped))
    }

    /// Leaves the nodes running; `tally dev down` finds them.
    pub fn release(mut self) {
        self.nodes.clear();
    }

    fn write_pids(&self) -> anyhow::Result<()> {
        let running = self.nodes.iter().filter_map(|node| match &node.state {
            State::Running(child) => Some((node.name.as_str(), child.id())),
            State::Stopped => None,
        });
        pids::write(&self.dir, running)
    }

    fn log_tail(&self, name: &str) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.dir.join(name).join(NODE_LOG))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_SHOWN_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(String::from_utf8_lossy(&tail).trim().to_owned())
        };
        read().unwrap_or_else(|e| format!("(no log: {e})"))
    }
}

async fn is_ready(client: &Client, peers: usize) -> bool {
    let serving = client.healthy().await.unwrap_or(false);
    serving && client.node().await.is_ok_and(|node| node.peers.iter().filter(|p| p.reachable).count() >= peers)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut any = false;
        for node in &mut self.nodes {
            if let State::Running(child) = &mut node.state {
                any = true;
                // The way out after an error: what cannot be killed has gone already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if any {
            let _ = pids::write(&self.dir, std::iter::empty());
        }
    }
}
