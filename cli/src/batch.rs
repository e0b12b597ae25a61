//! `tally batch`: many transactions over one stream.

use crate::output::{Shown, Usage, sentence};
use crate::profile::ProfileArg;
use crate::{evm_tx, foreign, input};
use serde_json::{Value, json};
use std::path::PathBuf;
use tally_client::{Client, ClientError, Exit, Order, SealedIntent, Signed};
use tally_domain::{DerivationPath, KeyName};

/// Most transactions of one batch: half an hour of one key's work, and less than an intent lives for a fast one.
const BATCH_MAX: usize = 10_000;

/// `tally batch NAME FILE`
#[derive(Debug, clap::Args)]
pub struct Batch {
    /// The key.
    key: KeyName,
    /// Unsigned EVM transactions, one a line: hex of the payload, or JSON, as `tally sign --evm-tx` takes them. `-` is
    /// standard input.
    file: PathBuf,
    /// A child of the key, such as m/0/7.
    #[arg(long, value_parser = input::path, default_value = "m")]
    path: DerivationPath,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

impl Batch {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let orders = self.orders(&input::read(&self.file)?)?;
        let client = profile.client()?;
        let intents = orders.into_iter().map(|order| client.seal(order)).collect::<Result<Vec<_>, _>>()?;
        Ok(shown(&intents, &signed(&client, &intents).await))
    }

    fn orders(&self, file: &[u8]) -> Result<Vec<Order>, Usage> {
        let text = std::str::from_utf8(file).map_err(|_| Usage("the transactions are neither JSON nor hex".into()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let order = |(at, line): (usize, &str)| {
            let payload = evm_tx::parse(line.as_bytes()).map_err(|e| Usage(format!("line {}: {e}", at + 1)))?;
            let order = Order::sign_evm(self.key.clone(), &payload.chain, payload.bytes);
            Ok(order.path(self.path.clone()).note(&self.note))
        };
        let orders = lines.map(order).collect::<Result<Vec<_>, Usage>>()?;
        if orders.is_empty() || orders.len() > BATCH_MAX {
            return Err(Usage(format!("a batch has 1 to {BATCH_MAX} transactions, one a line")));
        }
        Ok(orders)
    }
}

/// Why one of a batch is not signed, which stops no other.
struct Unsigned {
    exit: Exit,
    reason: Option<&'static str>,
    error: String,
}

type Outcome = Result<Signed, Unsigned>;

/// Only what verifies with a library that no node uses counts as signed.
async fn signed(client: &Client, intents: &[SealedIntent]) -> Vec<Outcome> {
    let outcomes = client.batch_sign(intents).await;
    intents.iter().zip(outcomes).map(|(intent, outcome)| verified(intent, outcome)).collect()
}

fn verified(intent: &SealedIntent, outcome: Result<Signed, ClientError>) -> Outcome {
    let signed = outcome.map_err(|error| Unsigned {
        exit: error.exit(),
        reason: error.refused().map(|refused| refused.reason.as_str()),
        error: error.to_string(),
    })?;
    match foreign::verify(intent.intent(), &signed) {
        Ok(_) => Ok(signed),
        Err(error) => Err(Unsigned { exit: Exit::Other, reason: None, error: sentence(&error) }),
    }
}

fn shown(intents: &[SealedIntent], outcomes: &[Outcome]) -> Shown {
    let all = || intents.iter().zip(outcomes).map(|(intent, outcome)| (intent.request_id(), outcome));
    let line = |outcome: &Outcome| match outcome {
        Ok(signed) => format!("0x{}", hex::encode(&signed.signed_payload)),
        Err(unsigned) => unsigned.error.clone(),
    };
    let mut lines: Vec<_> = all().map(|(id, outcome)| format!("{id}  {}", line(outcome))).collect();
    let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    lines.push(format!("{count} of {} signed", outcomes.len()));
    let document = |(id, outcome): (_, &Outcome)| {
        let mut document = match outcome {
            Ok(signed) => crate::sign::to_json(signed),
            Err(unsigned) => json!({ "reason": unsigned.reason, "error": unsigned.error }),
        };
        if let Value::Object(members) = &mut document {
            members.insert("request_id".into(), tally_domain::RequestId::to_string(&id).into());
        }
        document
    };
    let exit = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).map_or(Exit::Done, |unsigned| unsigned.exit);
    let document = json!({ "signed": count, "outcomes": all().map(document).collect::<Vec<_>>() });
    Shown::with_exit(exit, lines.join("\n"), document)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nine fields of EIP-1559 in RLP.
    const HEX: &str =
        "02f00107843b9aca008504a817c8008252089470997970c51812dc3a010c7d01b50e0d17dc79c8880de0b6b3a764000080c0";

    #[test]
    fn each_line_is_a_transaction_and_a_bad_one_is_named() {
        let batch = Batch {
            key: KeyName::parse("hot").unwrap(),
            file: "-".into(),
            path: DerivationPath::default(),
            note: String::new(),
        };
        let orders = batch.orders(format!("{HEX}\n\n  0x{HEX}\n").as_bytes()).unwrap();
        assert_eq!((orders.len(), &orders[0]), (2, &orders[1]));
        assert!(batch.orders(format!("{HEX}\n{{}}").as_bytes()).unwrap_err().to_string().starts_with("line 2: "));
        for empty in ["", "\n\n"] {
            assert!(batch.orders(empty.as_bytes()).unwrap_err().to_string().contains("1 to 10000"));
        }
    }
}
