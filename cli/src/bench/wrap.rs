//! `tally bench wrap`

use super::{CONCURRENCY_MAX, measured, shown, to_floor};
use crate::output::Shown;
use serde_json::json;
use std::sync::Arc;
use tally_client::{Client, Order, Plain};
use tally_domain::{EncryptionContext, KeyName, SecretBytes};

/// Wraps as often as it goes, something else each time.
#[derive(Debug, clap::Args)]
pub struct Wrap {
    /// The KEK.
    kek: KeyName,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many workers, each with one request at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u16,
    /// Length of what is wrapped.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    bytes: u16,
}

impl Wrap {
    /// Runs it.
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        let kek = client.kek(&self.kek).await?.name;
        let context = EncryptionContext::from_pairs([("app".to_owned(), "demo".to_owned())])?;
        let (about, bytes) = (Arc::new((kek, context)), self.bytes);
        let (floor, wrapping) = measured(client, self.seconds, self.concurrency, move |c: Client, number| {
            let about = Arc::clone(&about);
            async move {
                let id = c.draw_request_id()?;
                let plain = Plain::new(c.profile(), id, something(number, bytes))?;
                let order = Order::wrap(about.0.clone(), about.1.clone(), &plain).request_id(id);
                c.wrap(&c.seal(order)?, &plain).await.map(|_| ())
            }
        })
        .await;
        let did =
            format!("{} wraps of {bytes} bytes with {} by {} workers", wrapping.done(), self.kek, self.concurrency);
        let json = json!({
            "kek": self.kek.as_str(), "concurrency": self.concurrency, "bytes": bytes,
            "wrapping": wrapping.to_json(), "floor": floor.to_json(), "p50_to_floor": to_floor(&floor, &wrapping),
        });
        Ok(shown(did, &floor, &wrapping, json))
    }
}

fn something(number: u64, bytes: u16) -> SecretBytes {
    SecretBytes::new(number.to_be_bytes().into_iter().cycle().take(usize::from(bytes)).collect())
}
