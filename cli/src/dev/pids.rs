//! Which processes are the nodes of a directory, for whoever wants to stop them later.

use crate::output::{Shown, Usage};
use crate::words::quoted;
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `node-1 12345` on each line.
const FILE: &str = "pids";

/// Longest wait until a node has stopped by itself; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const TICK: Duration = Duration::from_millis(20);

/// Notes which nodes run; no file if none does.
pub fn write<'a>(dir: &Path, running: impl Iterator<Item = (&'a str, u32)>) -> anyhow::Result<()> {
    let text: String = running.map(|(name, pid)| format!("{name} {pid}\n")).collect();
    let path = dir.join(FILE);
    let done = if text.is_empty() { std::fs::remove_file(&path) } else { std::fs::write(&path, text) };
    match done {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("cannot write the list of processes"),
        _ => Ok(()),
    }
}

/// Refuses if nodes of the directory run already.
pub fn ensure_down(dir: &Path) -> anyhow::Result<()> {
    match running(dir)?.first() {
        None => Ok(()),
        Some(node) => {
            let what = format!("{} runs already; stop it: tally dev down --dir {}", node.name, quoted(dir));
            Err(Usage(what).into())
        }
    }
}

/// `tally dev down`
pub async fn down(dir: &Path) -> anyhow::Result<Shown> {
    if !dir.is_dir() {
        return Err(Usage(format!("{} is no directory", dir.display())).into());
    }
    let mut stopped = Vec::new();
    for node in running(dir)? {
        stop(&node).await?;
        stopped.push(node.name);
    }
    write(dir, std::iter::empty())?;
    let text = if stopped.is_empty() { "nothing runs".into() } else { format!("stopped {}", stopped.join(", ")) };
    Ok(Shown::done(text, json!({ "stopped": stopped })))
}

/// A node that runs.
struct Running {
    name: String,
    pid: Pid,
    config: PathBuf,
}

/// The nodes of the directory that run.
fn running(dir: &Path) -> anyhow::Result<Vec<Running>> {
    let dir = std::path::absolute(dir).context("cannot tell the current directory")?;
    let text = match std::fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).context("cannot read the list of processes"),
    };
    let node = |line: &str| {
        let (name, pid) = line.split_once(' ')?;
        let pid = Pid::from_raw(pid.parse().ok()?)?;
        Some(Running { name: name.into(), pid, config: dir.join(name).join("node.toml") })
    };
    let nodes: Option<Vec<_>> = text.lines().map(node).collect();
    let nodes = nodes.ok_or_else(|| Usage(format!("{}/{FILE} is not a list of nodes", dir.display())))?;
    Ok(nodes.into_iter().filter(is_running).collect())
}

async fn stop(node: &Running) -> anyhow::Result<()> {
    tell(node, Signal::TERM)?;
    let began = Instant::now();
    while is_running(node) {
        if began.elapsed() > STOP_TIMEOUT {
            tell(node, Signal::KILL)?;
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

fn tell(node: &Running, signal: Signal) -> anyhow::Result<()> {
    match kill_process(node.pid, signal) {
        // It has ended by itself in the meantime.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        told => told.with_context(|| format!("cannot stop {}", node.name)),
    }
}

/// Whether the process was started with this configuration: process ids are used again. One that has ended has no
/// command line any more.
fn is_running(node: &Running) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", node.pid.as_raw_nonzero())).unwrap_or_default();
    line.split(|b| *b == 0).any(|argument| argument == node.config.as_os_str().as_encoded_bytes())
}
