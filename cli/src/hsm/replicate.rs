//! `tally hsm replicate`: gives the standby tokens the KEKs that they are to hold.

use crate::output::{Progress, Shown, Usage, field};
use serde_json::{Value, json};
use tally_client::{Client, ClientError, Exit, KekInfo, Order};
use tally_domain::{KekChange, KekNumber, KeyName};

/// States of versions that have a key to give.
const LIVING: [&str; 3] = ["enabled", "disabled", "pending-destruction"];

/// Gives every KEK, or the one that is named, to the standby token of its home, wrapped under the key that the two tokens share, and
/// compares check values. What the standby holds already stays as it is. New versions get there by themselves; this shows
/// that they have, and puts it into the log.
#[derive(Debug, clap::Args)]
pub struct Replicate {
    /// Only this KEK.
    kek: Option<KeyName>,
    /// Only show which versions would be given.
    #[arg(long)]
    dry_run: bool,
}

impl Replicate {
    /// Runs it. Ends with 0 only if every version has reached its standby.
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
        for (kek, number) in versions {
            let outcome = if self.dry_run { Ok(None) } else { given(client, kek, number).await.map(Some) };
            if let Err(error) = &outcome {
                exit = error.exit();
            }
            let (line, row) = told(kek, number, &outcome);
            lines.push(line);
            rows.push(row);
        }
        drop(progress);
        Ok(Shown::with_exit(exit, lines.join("\n"), json!({ "dry_run": self.dry_run, "versions": rows })))
    }
}

fn living(kek: &KekInfo) -> impl Iterator<Item = (&KekInfo, KekNumber)> {
    kek.versions.iter().filter(|v| LIVING.contains(&v.state.as_str())).map(move |v| (kek, v.number))
}

async fn given(client: &Client, kek: &KekInfo, number: KekNumber) -> Result<String, ClientError> {
    let order = Order::change_kek(kek.name.clone(), KekChange::Replicate(number)).note("replicate");
    Ok(client.change_kek(&client.seal(order)?).await?.version.check_value)
}

fn told(kek: &KekInfo, number: KekNumber, outcome: &Result<Option<String>, ClientError>) -> (String, Value) {
    let name = format!("{} version {number}", kek.name);
    let (word, text, detail) = match outcome {
        Ok(Some(check_value)) => {
            ("replicated", format!("on both tokens of {}, check value {check_value}", kek.home), json!(check_value))
        }
        Ok(None) => ("would be replicated", format!("to the standby token of {}", kek.home), Value::Null),
        Err(error) => ("not replicated", error.to_string(), Value::Null),
    };
    let reason = outcome.as_ref().err().and_then(ClientError::refused).map(|refused| refused.reason.as_str());
    let row = json!({
        "kek": kek.name.as_str(), "version": number.0, "home": kek.home.as_str(), "outcome": word,
        "check_value": detail, "reason": reason,
    });
    (field(&name, format!("{word}: {text}")), row)
}
