//! `tally demo`: the whole tour on a throw-away cluster. Every step says what it expects and fails if that does not hold.

mod approve;
mod children;
mod collector;
mod freeze;
mod jwt;
mod limit;
mod logs;
mod outage;
mod policy;
mod search;
mod sign;
mod token;
mod tour;
mod wrap;

use crate::dev::cluster::NODE_LOG;
use crate::dev::up::{Keys, Stop, hints};
use crate::output::{Out, Shown, sentence};
use crate::words::quoted;
use anyhow::Context as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tally_client::Exit;
use tour::{Step, Tour};

/// `tally demo`
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Keep the cluster in this new directory, and leave it running.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The node program; without it the one beside this program, or on the PATH.
    #[arg(long)]
    tallyd: Option<PathBuf>,
}

impl Demo {
    /// Runs it.
    pub async fn run(self, out: Out) -> anyhow::Result<Shown> {
        let mut stop = Stop::listen()?;
        // Dropping the tour stops its nodes.
        tokio::select! {
            shown = self.tour(out) => shown,
            () = stop.told() => anyhow::bail!("stopped half-way"),
        }
    }

    async fn tour(self, out: Out) -> anyhow::Result<Shown> {
        let began = Instant::now();
        let scratch = tempfile::Builder::new().prefix("tally-demo-").tempdir().context("cannot make a directory")?;
        let dir = self.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
        let mut tour = Tour::new(dir.clone(), self.tallyd.clone());
        let mut told = Vec::new();
        let mut failed = false;
        for (number, step) in (1_u32..).zip(Step::ALL) {
            let started = Instant::now();
            let outcome = tour.take(*step).await;
            let seconds = started.elapsed().as_secs_f64();
            failed = outcome.is_err();
            let (verdict, lines) = match outcome {
                Ok(lines) => ("ok", lines),
                Err(error) => ("FAILED", vec![sentence(&error)]),
            };
            out.say(&format!("{number:>2}  {verdict:<6}  {} ({seconds:.2} s)", step.title()));
            lines.iter().for_each(|line| out.say(&format!("            {}", line.replace('\n', "\n            "))));
            told.push(json!({ "step": number, "title": step.title(), "verdict": verdict, "seconds": seconds, "details": lines }));
            if failed {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let verdict = if failed { "FAILED" } else { "ok" };
        // Without a node that ran there is no log to read, and nothing to keep.
        let left = match self.keep {
            Some(dir) => Some(dir),
            None => (failed && any_ran(&dir)).then(|| scratch.keep()),
        };
        let text = match (failed, &left) {
            (true, Some(dir)) => format!("FAILED after {seconds:.1} s; the nodes' logs are in {}", dir.display()),
            (true, None) => format!("FAILED after {seconds:.1} s"),
            (false, Some(dir)) => format!("all steps ok in {seconds:.1} s\n{}", tour.keep_running(|c| kept(dir, c))?),
            (false, None) => format!("all steps ok in {seconds:.1} s"),
        };
        let exit = if failed { Exit::Other } else { Exit::Done };
        let document = json!({ "verdict": verdict, "seconds": seconds, "dir": left, "steps": told });
        Ok(Shown::with_exit(exit, text, document))
    }
}

/// Whether a node of the directory has run: then it has a log.
fn any_ran(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join(NODE_LOG).exists())
}

fn kept(dir: &Path, client: &tally_client::Client) -> String {
    format!(
        "{}\nThe nodes keep running. Stop them: tally dev down --dir {}",
        hints(dir, client, Keys::OfTheTour),
        quoted(dir)
    )
}
