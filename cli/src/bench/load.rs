//! Workers that each make one call after the other for some time, and what came of it.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally_client::{Client, ClientError};
use tokio::task::JoinSet;

/// How much for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub workers: usize,
    pub time: Duration,
}

/// Latencies of what was done, and what was not.
#[derive(Debug, Default)]
pub struct Outcome {
    latencies: Vec<Duration>,
    time: Duration,
    /// By the reason's word.
    pub errors: BTreeMap<String, u64>,
}

/// Calls until the time is over. Each worker starts with another node; each call gets a number of its own.
pub async fn run<F, Answer>(client: &Client, load: Load, call: F) -> Outcome
where
    F: Fn(Client, u64) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<(), ClientError>> + Send,
{
    let (call, numbers) = (Arc::new(call), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..load.workers {
        let (client, call, numbers) = (client.rotated(worker), Arc::clone(&call), Arc::clone(&numbers));
        workers.spawn(async move {
            let mut outcome = Outcome::default();
            while began.elapsed() < load.time {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let started = Instant::now();
                match call(client.clone(), number).await {
                    Ok(()) => outcome.latencies.push(started.elapsed()),
                    Err(error) => *outcome.errors.entry(super::word(&error)).or_default() += 1,
                }
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    for outcome in workers.join_all().await {
        all.latencies.extend(outcome.latencies);
        for (reason, count) in outcome.errors {
            *all.errors.entry(reason).or_default() += count;
        }
    }
    all.time = began.elapsed();
    all.latencies.sort();
    all
}

impl Outcome {
    /// How many calls did what was asked.
    pub fn done(&self) -> usize {
        self.latencies.len()
    }

    /// Calls done a second.
    pub fn rate(&self) -> f64 {
        self.done() as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that a share `q` of the calls done was within, by the nearest rank; 0 without any.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let rank = (q * self.done() as f64).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    }

    /// All of it as a JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "done": self.done(), "seconds": self.time.as_secs_f64(), "rate": self.rate(),
            "p50_ms": self.quantile_ms(0.5), "p90_ms": self.quantile_ms(0.9), "p99_ms": self.quantile_ms(0.99),
            "errors": self.errors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let outcome = Outcome { latencies, time: Duration::from_secs(2), errors: BTreeMap::new() };
        assert_eq!([0.01, 0.5, 0.9, 0.99, 1.0].map(|q| outcome.quantile_ms(q).round()), [1.0, 50.0, 90.0, 99.0, 100.0]);
        assert!((outcome.rate() - 50.0).abs() < 1e-9);
        assert_eq!(Outcome::default().quantile_ms(0.5).to_bits(), 0.0_f64.to_bits());
    }
}
