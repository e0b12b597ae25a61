//! `tally hsm doctor`: examines a token before a node is given it.

use crate::output::{Progress, Shown, field};
use crate::programs;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tally_client::Exit;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Looks at a PKCS#11 token that is to become a node's: whether a node can use it, and how it differs. Keys that are there
/// are left alone; what is made lives in a session and is removed again. Ends with 0 if a node can use the token, else with 1.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// The PKCS#11 library. What it needs from its environment, it gets from this command's.
    #[arg(long)]
    module: PathBuf,
    /// The token's label.
    #[arg(long, value_name = "LABEL")]
    token: String,
    /// The token's serial number, where several have the label.
    #[arg(long)]
    serial: Option<String>,
    /// A file with the user PIN, of mode 0400 or 0600. The PIN is tried once.
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// Also store keys on the token, under a label of their own, and remove them again.
    #[arg(long)]
    write_token_objects: bool,
    /// Only say what would be done; the module is not loaded.
    #[arg(long)]
    dry_run: bool,
    /// Longest that one check may take, in seconds. A token looks for the primes of an RSA key for some seconds, a slow one for
    /// many.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Write the capability file here, for `profile` under [hsm] of a node's configuration.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The program that the module is loaded in; without it the one beside this program, or on the PATH.
    #[arg(long, value_name = "PATH")]
    hsmd: Option<PathBuf>,
}

/// What `hsmd doctor` answers.
#[derive(Deserialize)]
struct Report {
    findings: Vec<Finding>,
    capability: Option<String>,
    usable: Option<bool>,
}

#[derive(Deserialize)]
struct Finding {
    check: String,
    verdict: String,
    needed: bool,
    what: String,
    todo: Option<String>,
}

impl Doctor {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<Shown> {
        let program = programs::find("hsmd", "--hsmd", self.hsmd.as_deref())?;
        let order = json!({
            "module": std::path::absolute(&self.module).context("cannot tell the current directory")?,
            "label": self.token, "serial": self.serial, "pin_file": self.pin_file,
            "write_token_objects": self.write_token_objects, "dry_run": self.dry_run, "patience_s": self.patience,
        });
        let progress = Progress::start("examining the token", None);
        let output = ask(&program, &order).await.with_context(|| format!("cannot run {}", program.display()))?;
        drop(progress);
        if !output.status.success() {
            bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        let what = || format!("{} gave no report", program.display());
        let document: Value = serde_json::from_slice(&output.stdout).with_context(what)?;
        let report = Report::deserialize(&document).with_context(what)?;
        if let (Some(out), Some(capability)) = (&self.out, &report.capability) {
            write_new(out, capability)?;
        }
        let exit = if report.usable == Some(false) { Exit::Other } else { Exit::Done };
        Ok(Shown::with_exit(exit, self.text(&report), document))
    }

    fn text(&self, report: &Report) -> String {
        let mut lines: Vec<_> = report.findings.iter().map(line).collect();
        match (&report.capability, &self.out) {
            (Some(_), Some(out)) => lines.push(format!("the capability file is {}", out.display())),
            (Some(capability), None) => lines.push(format!("\n{}\n", capability.trim_end())),
            (None, _) => {}
        }
        lines.push(match report.usable {
            Some(true) => "a node can use this token".into(),
            Some(false) => "a node cannot use this token as it is: see the lines that say NEEDED".into(),
            None => "nothing has been done".into(),
        });
        lines.join("\n")
    }
}

fn line(finding: &Finding) -> String {
    let good = matches!(finding.verdict.as_str(), "ok" | "differs" | "planned");
    let needed = if finding.needed && !good { "NEEDED, " } else { "" };
    let verdict = finding.verdict.replace('-', " ");
    let said = field(&finding.check, format!("{needed}{verdict}: {}", finding.what));
    match &finding.todo {
        Some(todo) => format!("{said}\n{}", field("", format!("-> {todo}"))),
        None => said,
    }
}

async fn ask(program: &std::path::Path, order: &Value) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .arg("doctor")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(order.to_string().as_bytes()).await?;
    }
    child.wait_with_output().await
}

/// A file that is there already is somebody's.
fn write_new(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
