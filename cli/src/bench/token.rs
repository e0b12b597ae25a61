//! `tally bench token`

use super::{CONCURRENCY_MAX, measured, shown, to_floor};
use crate::output::{Progress, Shown, field};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_client::{BoundCard, CardRow, Client, MESSAGE_ROWS_MAX, Order};
use tally_domain::token::Token as TokenText;
use tally_domain::{KeyName, SecretBytes};
use tally_tokenization::Call;
use tally_tokenization::luhn;
use tally_tokenization::pan::Form;

/// Messages on their way.
const AHEAD: usize = 4;

/// Keeps made-up card numbers, each another, alone or in streams; then shows them again.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// The token domain.
    domain: KeyName,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many workers, each with one request at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u16,
    /// One stream of many cards instead, and then one of their tokens.
    #[arg(long)]
    batch: bool,
    /// What the cards are then revealed for; not revealed without it.
    #[arg(long, value_name = "WORD")]
    purpose: Option<String>,
}

impl Token {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        if self.batch { self.streams(client).await } else { self.alone(client).await }
    }

    async fn alone(self, client: &Client) -> anyhow::Result<Shown> {
        let start = drawn()?;
        let domain = Arc::new(self.domain.clone());
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (into, tokens) = (Arc::clone(&domain), Arc::clone(&kept));
        let (floor, keeping) = measured(client, self.seconds, self.concurrency, move |c: Client, number| {
            let (domain, tokens) = (Arc::clone(&into), Arc::clone(&tokens));
            async move {
                let id = c.draw_request_id()?;
                let card = BoundCard::new(c.profile(), id, made_up(start.wrapping_add(number)), None)?;
                let call = Call::Tokenize { card: card.commitment() };
                let order = Order::tokens((*domain).clone(), "", call).request_id(id);
                let given = c.tokenize(&c.seal(order)?, &card).await?;
                tokens.lock().unwrap_or_else(PoisonError::into_inner).push(given.token);
                Ok(())
            }
        })
        .await;
        let mut did = format!("{} cards kept in {} by {} workers", keeping.done(), self.domain, self.concurrency);
        let mut json = json!({
            "domain": self.domain.as_str(), "concurrency": self.concurrency,
            "keeping": keeping.to_json(), "floor": floor.to_json(), "p50_to_floor": to_floor(&floor, &keeping),
        });
        let tokens = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(purpose) = self.purpose.filter(|_| !tokens.is_empty()) {
            let (_, showing) = measured(client, self.seconds, self.concurrency, move |c: Client, number| {
                // There is at least one.
                let at = usize::try_from(number).unwrap_or(0) % tokens.len();
                let call = tokens.get(at).map(|token| Call::Reveal { token: token.clone(), form: Form::Full });
                let order = call.map(|call| Order::tokens((*domain).clone(), &purpose, call));
                async move {
                    let Some(order) = order else { return Ok(()) };
                    c.reveal(&c.seal(order)?).await.map(|_| ())
                }
            })
            .await;
            did.push_str(&format!("; revealed {:.0} a second, p50 {:.2} ms", showing.rate(), showing.quantile_ms(0.5)));
            if let Some(members) = json.as_object_mut() {
                members.insert("revealing".into(), showing.to_json());
            }
        }
        Ok(shown(did, &floor, &keeping, json))
    }

    async fn streams(self, client: &Client) -> anyhow::Result<Shown> {
        let (mut next, end) = (drawn()?, Duration::from_secs(self.seconds));
        let progress = Progress::start("measuring", Some(end));
        let call = Call::TokenizeMany { rows_max: 10_000_000, import: None };
        let mut stream = client.tokenize_many(&client.seal(Order::tokens(self.domain.clone(), "", call))?).await?;
        let (began, mut tokens, mut waiting): (_, Vec<TokenText>, _) = (Instant::now(), Vec::new(), 0);
        let mut refused = 0_u64;
        loop {
            let over = began.elapsed() >= end;
            if !over && waiting < AHEAD {
                let rows = (0..MESSAGE_ROWS_MAX as u64).map(|at| {
                    let number = made_up(next.wrapping_add(at));
                    CardRow { number, subject: None, line: 0 }
                });
                stream.send(rows.collect()).await?;
                next = next.wrapping_add(MESSAGE_ROWS_MAX as u64);
                waiting += 1;
                continue;
            }
            if waiting == 0 {
                break;
            }
            for row in stream.next().await?.unwrap_or_default() {
                match row.outcome {
                    Ok((token, _)) => tokens.push(token),
                    Err(_) => refused += 1,
                }
            }
            waiting -= 1;
        }
        stream.end();
        let kept = tokens.len() as f64 / began.elapsed().as_secs_f64();
        let mut lines = vec![
            format!("{} cards kept in {} in one stream", tokens.len(), self.domain),
            field("rate", format!("{kept:.0} a second")),
            field("refused", refused),
        ];
        let mut json = json!({ "domain": self.domain.as_str(), "kept": tokens.len(), "kept_per_second": kept, "refused": refused });
        if let Some(purpose) = &self.purpose {
            let shown = revealed(client, &self.domain, purpose, tokens).await?;
            lines.push(field("revealed", format!("{shown:.0} a second")));
            if let Some(members) = json.as_object_mut() {
                members.insert("revealed_per_second".into(), shown.into());
            }
        }
        drop(progress);
        Ok(Shown::done(lines.join("\n"), json))
    }
}

async fn revealed(client: &Client, domain: &KeyName, purpose: &str, tokens: Vec<TokenText>) -> anyhow::Result<f64> {
    let rows_max = u32::try_from(tokens.len()).unwrap_or(u32::MAX).max(1);
    let call = Call::RevealMany { rows_max, form: Form::Full };
    let mut stream = client.reveal_many(&client.seal(Order::tokens(domain.clone(), purpose, call))?).await?;
    let (began, mut shown, mut waiting) = (Instant::now(), 0_u64, 0);
    let mut chunks = tokens.chunks(MESSAGE_ROWS_MAX);
    loop {
        if waiting < AHEAD
            && let Some(chunk) = chunks.next()
        {
            stream.send(chunk.to_vec()).await?;
            waiting += 1;
            continue;
        }
        if waiting == 0 {
            break;
        }
        let rows = stream.next().await?.unwrap_or_default();
        shown += rows.iter().filter(|row| row.outcome.is_ok()).count() as u64;
        waiting -= 1;
    }
    stream.end();
    Ok(shown as f64 / began.elapsed().as_secs_f64())
}

/// Where to begin, so that another run has other cards.
fn drawn() -> anyhow::Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs().wrapping_mul(1_000_003))
}

/// The n-th of many card numbers, over many issuers: the enumeration guard is not what is measured.
fn made_up(n: u64) -> SecretBytes {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let body = format!("4{:014}", mixed % 100_000_000_000_000);
    let digits = |check: u64| format!("{body}{check}");
    let valid = |text: &String| luhn::is_valid(text.bytes().map(|b| b.wrapping_sub(b'0')));
    SecretBytes::new((0..10).map(digits).find(valid).unwrap_or_default().into_bytes())
}
