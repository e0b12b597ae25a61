//! `tally hsm replicate`: gives the standby tokens the KEKs that they are to hold.

use crate::output::{Progress, Shown, Usage, field};
use serde_json::{Value, json};
use tally_client::{Client, ClientError, Exit, KekInfo, KekVersionInfo, Order};
use tally_domain::{KekChange, KeyName};

/// States of versions that have a key to give.
const LIVING: [&str; 3] = ["enabled", "disabled", "pending-destruction"];

/// Gives every KEK, or the one that is named, to the standby token of its home, wrapped under the key that the two tokens share, and
/// compares check values. What the standby holds already stays as it is. New versions get there by themselves; this shows
/// that they have, and puts it into the log.
///
/// Versions that were made before a node had two tokens stay on one. Ends with 0 only if what can be replicated is, and each
/// KEK wraps with a version that is on both tokens.
#[derive(Debug, clap::Args)]
pub struct Replicate {
    /// Only this KEK.
    kek: Option<KeyName>,
    /// Only show which versions would be given.
    #[arg(long)]
    dry_run: bool,
}

/// What became of a version.
enum Outcome {
    /// On both tokens, with this check value.
    Replicated(String),
    /// It would be tried.
    Planned,
    /// It has no form in which it could reach the standby.
    PrimaryOnly,
    Failed(ClientError),
}

impl Replicate {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        let keks = match &self.kek {
            Some(name) => vec![client.kek(name).await?],
            None => client.keks().await?,
        };
        let versions: Vec<_> = keks.iter().flat_map(living).collect();
        if versions.is_empty() {
            return Err(Usage("there is no version of a KEK to replicate".into()).into());
        }
        let progress = (!self.dry_run).then(|| Progress::start("replicating", None));
        let (mut lines, mut rows, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
        for (kek, version) in versions {
            let outcome = match (version.replicable, self.dry_run) {
                (false, _) => Outcome::PrimaryOnly,
                (true, true) => Outcome::Planned,
                (true, false) => given(client, kek, version).await,
            };
            match &outcome {
                Outcome::Failed(error) => exit = error.exit(),
                Outcome::PrimaryOnly if wraps(kek, version) && exit == Exit::Done => exit = Exit::Other,
                _ => {}
            }
            let (line, row) = told(kek, version, &outcome);
            lines.push(line);
            rows.push(row);
        }
        drop(progress);
        Ok(Shown::with_exit(exit, lines.join("\n"), json!({ "dry_run": self.dry_run, "versions": rows })))
    }
}

fn living(kek: &KekInfo) -> impl Iterator<Item = (&KekInfo, &KekVersionInfo)> {
    kek.versions.iter().filter(|v| LIVING.contains(&v.state.as_str())).map(move |v| (kek, v))
}

/// Whether it is the one that the KEK wraps with.
fn wraps(kek: &KekInfo, version: &KekVersionInfo) -> bool {
    let newest = kek.versions.iter().rev().find(|v| v.state == "enabled");
    newest.is_some_and(|newest| newest.number == version.number)
}

async fn given(client: &Client, kek: &KekInfo, version: &KekVersionInfo) -> Outcome {
    let order = Order::change_kek(kek.name.clone(), KekChange::Replicate(version.number)).note("replicate");
    let changed = match client.seal(order) {
        Ok(intent) => client.change_kek(&intent).await,
        Err(error) => Err(error),
    };
    changed.map_or_else(Outcome::Failed, |changed| Outcome::Replicated(changed.version.check_value))
}

fn told(kek: &KekInfo, version: &KekVersionInfo, outcome: &Outcome) -> (String, Value) {
    let home = &kek.home;
    let (word, text) = match outcome {
        Outcome::Replicated(check_value) => {
            ("replicated", format!("on both tokens of {home}, check value {check_value}"))
        }
        Outcome::Planned => ("would be replicated", format!("to the standby token of {home}")),
        Outcome::PrimaryOnly => {
            let why = "made before the node had two tokens, if it has; with two, rotate the KEK and rewrap";
            ("primary only", format!("on one token of {home}: {why}"))
        }
        Outcome::Failed(error) => ("not replicated", error.to_string()),
    };
    let reason = match outcome {
        Outcome::Failed(error) => error.refused().map(|refused| refused.reason.as_str()),
        _ => None,
    };
    let row = json!({
        "kek": kek.name.as_str(), "version": version.number.0, "home": home.as_str(), "outcome": word,
        "check_value": version.check_value, "wraps_with_it": wraps(kek, version), "reason": reason,
    });
    (field(&format!("{} version {}", kek.name, version.number), format!("{word}: {text}")), row)
}
