//! `tally batch`: many transactions over one stream.

use crate::output::{Shown, Usage, facts, refusal_json, sentence};
use crate::profile::ProfileArg;
use crate::{evm_tx, foreign, input};
use serde_json::{Value, json};
use std::path::PathBuf;
use tally_client::{Client, ClientError, Exit, Order, SealedIntent, Signed};
use tally_domain::{DerivationPath, KeyName, RequestId};

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
        let (lines, orders): (Vec<_>, Vec<_>) = self.orders(&input::read(&self.file)?)?.into_iter().unzip();
        let client = profile.client()?;
        let intents = orders.into_iter().map(|order| client.seal(order)).collect::<Result<Vec<_>, _>>()?;
        let outcomes = signed(&client, &intents).await;
        let ids = intents.iter().map(SealedIntent::request_id);
        Ok(shown(&lines.into_iter().zip(ids).zip(outcomes).collect::<Vec<_>>()))
    }

    /// The orders, each with the number of its line.
    fn orders(&self, file: &[u8]) -> Result<Vec<(usize, Order)>, Usage> {
        let text = std::str::from_utf8(file).map_err(|_| Usage("the transactions are neither JSON nor hex".into()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let order = |(at, line): (usize, &str)| {
            let payload = evm_tx::parse(line.as_bytes()).map_err(|e| Usage(format!("line {}: {e}", at + 1)))?;
            let order = Order::sign_evm(self.key.clone(), &payload.chain, payload.bytes);
            Ok((at + 1, order.path(self.path.clone()).note(&self.note)))
        };
        let orders = lines.map(order).collect::<Result<Vec<_>, Usage>>()?;
        if orders.is_empty() || orders.len() > BATCH_MAX {
            return Err(Usage(format!("a batch has 1 to {BATCH_MAX} transactions, one a line")));
        }
        Ok(orders)
    }
}

/// Why one of a batch is not signed, which stops no other.
#[derive(Debug)]
enum Unsigned {
    /// The call did not give a signature.
    Call(ClientError),
    /// What came is no signature of what was asked for.
    Wrong(String),
}

impl Unsigned {
    fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => error.exit(),
            Self::Wrong(_) => Exit::Other,
        }
    }

    /// As `tally sign` shows it.
    fn text(&self) -> String {
        match self {
            Self::Call(error) => {
                let facts = error.refused().map(facts).unwrap_or_default();
                std::iter::once(error.to_string()).chain(facts).collect::<Vec<_>>().join("\n")
            }
            Self::Wrong(error) => error.clone(),
        }
    }

    fn to_json(&self) -> Value {
        let (error, refused) = match self {
            Self::Call(error) => (error.to_string(), error.refused()),
            Self::Wrong(error) => (error.clone(), None),
        };
        let mut document = refused.map_or_else(|| json!({ "reason": null }), refusal_json);
        insert(&mut document, "error", error.into());
        document
    }
}

type Outcome = Result<Signed, Unsigned>;

/// What became of a line: its number, the request, and the outcome.
type Told = ((usize, RequestId), Outcome);

/// Only what verifies with a library that no node uses counts as signed.
async fn signed(client: &Client, intents: &[SealedIntent]) -> Vec<Outcome> {
    let outcomes = client.batch_sign(intents).await;
    intents.iter().zip(outcomes).map(|(intent, outcome)| verified(intent, outcome)).collect()
}

fn verified(intent: &SealedIntent, outcome: Result<Signed, ClientError>) -> Outcome {
    let signed = outcome.map_err(Unsigned::Call)?;
    match foreign::verify(intent.intent(), &signed) {
        Ok(_) => Ok(signed),
        Err(error) => Err(Unsigned::Wrong(sentence(&error))),
    }
}

fn shown(told: &[Told]) -> Shown {
    let failed = told.iter().find_map(|(_, outcome)| outcome.as_ref().err());
    Shown::with_exit(failed.map_or(Exit::Done, Unsigned::exit), text(told), document(told))
}

fn count(told: &[Told]) -> usize {
    told.iter().filter(|(_, outcome)| outcome.is_ok()).count()
}

fn text(told: &[Told]) -> String {
    let line = |((line, id), outcome): &Told| {
        let signed = |signed: &Signed| format!("0x{}", hex::encode(&signed.signed_payload));
        format!("line {line}  {id}  {}", outcome.as_ref().map_or_else(Unsigned::text, signed))
    };
    let end = format!("{} of {} signed", count(told), told.len());
    told.iter().map(line).chain([end]).collect::<Vec<_>>().join("\n")
}

fn document(told: &[Told]) -> Value {
    let one = |((line, id), outcome): &Told| {
        let mut document = outcome.as_ref().map_or_else(Unsigned::to_json, crate::sign::to_json);
        insert(&mut document, "line", (*line).into());
        insert(&mut document, "request_id", id.to_string().into());
        document
    };
    json!({ "signed": count(told), "outcomes": told.iter().map(one).collect::<Vec<_>>() })
}

fn insert(document: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = document {
        members.insert(name.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_client::{Code, Refused};
    use tally_domain::Reason;

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
        let lines: Vec<_> = orders.iter().map(|(line, _)| *line).collect();
        assert_eq!((lines, &orders[0].1), (vec![1, 3], &orders[1].1), "blank lines count");
        assert!(batch.orders(format!("{HEX}\n{{}}").as_bytes()).unwrap_err().to_string().starts_with("line 2: "));
        for empty in ["", "\n\n"] {
            assert!(batch.orders(empty.as_bytes()).unwrap_err().to_string().contains("1 to 10000"));
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_facts_and_its_line() {
        let refused = Refused {
            endpoint: "https://node-1".into(),
            reason: Reason::VelocityLimit,
            code: Code::ResourceExhausted,
            metadata: [("limit".to_owned(), "hot-day".to_owned()), ("rule".to_owned(), "payouts".to_owned())].into(),
            retry_after: None,
        };
        let outcome = Err(Unsigned::Call(ClientError::Refused(Box::new(refused))));
        let wrong = Err(Unsigned::Wrong("no signature".into()));
        let told = [((3, RequestId([7; 16])), outcome), ((5, RequestId([8; 16])), wrong)];
        let (text, json) = (text(&told), document(&told));
        assert!(text.starts_with(&format!("line 3  {}  VELOCITY_LIMIT: ", RequestId([7; 16]))), "{text}");
        for part in ["\n  rule             payouts\n  limit            hot-day\nline 5  ", "0 of 2 signed"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let outcomes = &json["outcomes"];
        assert_eq!((&outcomes[0]["line"], &outcomes[0]["metadata"]["limit"]), (&json!(3), &json!("hot-day")));
        assert_eq!((&outcomes[1]["line"], &outcomes[1]["error"]), (&json!(5), &json!("no signature")));
    }
}
