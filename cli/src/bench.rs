//! `tally bench`: how fast, beside a floor from the same run: bare calls over the same connections by as many workers.

mod load;
mod stages;
mod token;
mod wrap;

use crate::dev::files::VENDOR;
use crate::output::{Progress, Shown, Usage, field};
use load::{Load, Outcome, run};
use serde_json::{Value, json};
use stages::Stages;
use std::sync::Arc;
use std::time::Duration;
use tally_chains::{Eip1559, eip1559_unsigned, parse_evm_address};
use tally_client::{Client, ClientError, Exit, Order};
use tally_domain::facts::Amount;
use tally_domain::{KeyName, Purpose};

/// How long the floor is measured, as a share of the whole.
const FLOOR_SHARE: f64 = 0.2;

/// Most workers: the limit of concurrent streams of one connection to a node.
const CONCURRENCY_MAX: u16 = 100;

/// `tally bench ...`
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Signs as often as it goes, with a new request each time, through all nodes in turn; says what each stage of it took.
    Sign(Sign),
    Wrap(wrap::Wrap),
    Token(token::Token),
}

/// `tally bench sign`
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The key.
    key: KeyName,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many workers, each with one request at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u16,
    /// Length of each message.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    message_bytes: u16,
    /// Sign native transfers of nothing to the first vendor of the development policy instead of messages.
    #[arg(long)]
    evm: bool,
}

impl Bench {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        match self {
            Self::Sign(sign) => sign.run(client).await,
            Self::Wrap(wrap) => wrap.run(client).await,
            Self::Token(token) => token.run(client).await,
        }
    }
}

impl Sign {
    async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        let key = client.key(&self.key).await?;
        let fits = (key.purpose == Purpose::Transaction) == self.evm;
        if !fits {
            let hint = if self.evm { "leave --evm out" } else { "give --evm" };
            return Err(Usage(format!("key {} is for {}s: {hint}", key.name, key.purpose)).into());
        }
        let (seconds, concurrency) = (self.seconds, self.concurrency);
        let sign = Arc::new(self);
        let orders = Arc::clone(&sign);
        let before = Stages::of(client).await;
        let (floor, signing) = measured(client, seconds, concurrency, move |c: Client, number| {
            let order = orders.order(number);
            async move { c.sign(&c.seal(order)?).await.map(|_| ()) }
        })
        .await;
        let stages = Stages::of(client).await.since(&before);
        Ok(sign.shown(&floor, &signing, &stages))
    }

    /// A request that no other one is like.
    fn order(&self, number: u64) -> Order {
        if !self.evm {
            // Text, which is all that some policies permit.
            let mut message = format!("{number:016x}").repeat(usize::from(self.message_bytes).div_ceil(16));
            message.truncate(usize::from(self.message_bytes));
            return Order::sign_message(self.key.clone(), message.into_bytes());
        }
        let payload = eip1559_unsigned(&Eip1559 {
            chain_id: 1,
            nonce: number,
            max_priority_fee_per_gas: 1_000_000_000,
            max_fee_per_gas: 20_000_000_000,
            gas_limit: 21_000,
            to: parse_evm_address(VENDOR).ok(),
            value: Amount([0; 32]),
            input: Vec::new(),
        });
        Order::sign_evm(self.key.clone(), "eip155:1", payload)
    }

    fn shown(&self, floor: &Outcome, signing: &Outcome, stages: &Stages) -> Shown {
        let did = format!("{} signatures with {} by {} workers", signing.done(), self.key, self.concurrency);
        let json = json!({
            "key": self.key.as_str(), "concurrency": self.concurrency, "evm": self.evm,
            "signing": signing.to_json(), "floor": floor.to_json(), "p50_to_floor": to_floor(floor, signing),
            "stages": stages.to_json(),
        });
        shown_with(did, floor, signing, stages.lines(), json)
    }
}

/// Bare calls for a share of the time, and then what is measured.
async fn measured<F, Answer>(client: &Client, seconds: u64, concurrency: u16, call: F) -> (Outcome, Outcome)
where
    F: Fn(Client, u64) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<(), ClientError>> + Send,
{
    let total = Duration::from_secs(seconds);
    let progress = Progress::start("measuring", Some(total));
    let workers = usize::from(concurrency);
    let floor_time = total.mul_f64(FLOOR_SHARE);
    let floor = run(client, Load { workers, time: floor_time }, async |c, _| c.healthy().await.map(|_| ())).await;
    let outcome = run(client, Load { workers, time: total - floor_time }, call).await;
    drop(progress);
    (floor, outcome)
}

fn to_floor(floor: &Outcome, measured: &Outcome) -> f64 {
    measured.quantile_ms(0.5) / floor.quantile_ms(0.5).max(f64::MIN_POSITIVE)
}

fn shown(did: String, floor: &Outcome, measured: &Outcome, json: Value) -> Shown {
    shown_with(did, floor, measured, Vec::new(), json)
}

fn shown_with(did: String, floor: &Outcome, measured: &Outcome, more: Vec<String>, json: Value) -> Shown {
    let mut lines = vec![
        did,
        field("rate", format!("{:.1} a second", measured.rate())),
        field("p50 p90 p99", quantiles(measured)),
        field("floor p50 p90 p99", format!("{} (bare mTLS call, {:.0} a second)", quantiles(floor), floor.rate())),
        field("p50 to floor", format!("{:.1} times", to_floor(floor, measured))),
    ];
    lines.extend(more);
    lines.extend(measured.errors.iter().map(|(reason, count)| field("errors", format!("{count} {reason}"))));
    let exit = if measured.done() == 0 { Exit::Other } else { Exit::Done };
    Shown::with_exit(exit, lines.join("\n"), json)
}

fn quantiles(outcome: &Outcome) -> String {
    let [a, b, c] = [0.5, 0.9, 0.99].map(|q| outcome.quantile_ms(q));
    format!("{a:.2} {b:.2} {c:.2} ms")
}

/// The word that an error is counted under.
fn word(error: &ClientError) -> String {
    match error.refused() {
        Some(refused) => refused.reason.as_str().into(),
        None => match error {
            ClientError::Unreachable { .. } => "unreachable".into(),
            ClientError::Deadline { .. } => "no answer in time".into(),
            other => other.to_string(),
        },
    }
}
