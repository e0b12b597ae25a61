//! What a node shows of itself in numbers. Counting costs a lock that is held for nanoseconds; gauges are read when somebody
//! asks.

pub mod names;
mod page;
pub mod token;

pub use page::serve;

use names::{Kind, Metric, TABLE};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Series of one metric. Labels come from closed lists, the roster and the bundle; where bundles come and go, what is beyond
/// this is counted together.
const SERIES_MAX: usize = 2_000;

/// The value of labels beyond [`SERIES_MAX`].
const OTHER: &str = "other";

/// From what a token takes for a signature to what a client waits at most, in seconds.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 4.0, 20.0];

type Labels = Vec<(&'static str, String)>;
type Make<M> = fn() -> M;

/// All metrics of one node.
pub struct Metrics {
    registry: Registry,
    counters: HashMap<&'static str, Series<Counter>>,
    gauges: HashMap<&'static str, Series<Gauge<f64, AtomicU64>>>,
    seconds: HashMap<&'static str, Series<Histogram>>,
    stages: Mutex<BTreeMap<(String, String), StageTotal>>,
}

/// What a stage has taken so far: histograms do not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTotal {
    /// How often.
    pub count: u64,
    /// All together.
    pub time: Duration,
}

/// All series of one metric.
struct Series<M> {
    family: Family<Labels, M, Make<M>>,
    count: AtomicUsize,
}

impl<M: Clone> Series<M> {
    fn new(make: Make<M>) -> Self {
        Self { family: Family::new_with_constructor(make), count: AtomicUsize::new(0) }
    }

    fn of(&self, metric: &Metric, values: &[&str]) -> M {
        let named = |of: &[&str]| metric.labels.iter().copied().zip(of.iter().map(|v| (*v).to_owned())).collect();
        let labels: Labels = named(values);
        if let Some(known) = self.family.get(&labels) {
            return known.clone();
        }
        if self.count.fetch_add(1, Ordering::Relaxed) < SERIES_MAX {
            return self.family.get_or_create_owned(&labels);
        }
        self.family.get_or_create_owned(&named(&vec![OTHER; metric.labels.len()]))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let (mut registry, mut counters, mut gauges) = (Registry::default(), HashMap::new(), HashMap::new());
        let mut seconds = HashMap::new();
        for metric in TABLE {
            // The library adds the ending of a counter, and a full stop.
            let (name, help) = (metric.name.trim_end_matches("_total"), metric.help.trim_end_matches('.'));
            match metric.kind {
                Kind::Counter => {
                    let series = Series::new(Counter::default as Make<_>);
                    registry.register(name, help, series.family.clone());
                    counters.insert(metric.name, series);
                }
                Kind::Gauge => {
                    let series = Series::new(Gauge::default as Make<_>);
                    registry.register(name, help, series.family.clone());
                    gauges.insert(metric.name, series);
                }
                Kind::Seconds => {
                    let series = Series::new((|| Histogram::new(BUCKETS)) as Make<_>);
                    registry.register(name, help, series.family.clone());
                    seconds.insert(metric.name, series);
                }
            }
        }
        Self { registry, counters, gauges, seconds, stages: Mutex::default() }
    }
}

impl Metrics {
    /// One more.
    pub fn count(&self, metric: &Metric, labels: &[&str]) {
        self.add(metric, labels, 1);
    }

    /// So many more. None makes the series appear, so that a rate over it is right from the first event.
    pub fn add(&self, metric: &Metric, labels: &[&str], n: u64) {
        if let Some(series) = self.counters.get(metric.name) {
            series.of(metric, labels).inc_by(n);
        }
    }

    /// How it is now.
    pub fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        if let Some(series) = self.gauges.get(metric.name) {
            series.of(metric, labels).set(value);
        }
    }

    /// So much more than before, or less.
    pub fn change(&self, metric: &Metric, labels: &[&str], by: f64) {
        if let Some(series) = self.gauges.get(metric.name) {
            series.of(metric, labels).inc_by(by);
        }
    }

    /// It took so long.
    pub fn took(&self, metric: &Metric, labels: &[&str], time: Duration) {
        if let Some(series) = self.seconds.get(metric.name) {
            series.of(metric, labels).observe(time.as_secs_f64());
        }
        if let [session, stage] = labels
            && metric.name == names::STAGE_SECONDS.name
        {
            let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
            let total = stages.entry(((*session).to_owned(), (*stage).to_owned())).or_default();
            (total.count, total.time) = (total.count.saturating_add(1), total.time.saturating_add(time));
        }
    }

    /// What the stages of sessions have taken so far, by session and stage.
    pub fn stages(&self) -> BTreeMap<(String, String), StageTotal> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything as text (OpenMetrics).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        // The library writes an empty set of labels, which not every reader takes.
        let bare = TABLE.iter().filter(|metric| metric.labels.is_empty());
        let endings = ["", "_sum", "_count"];
        let names = bare.flat_map(|metric| endings.map(|ending| format!("{}{ending}", metric.name)));
        names.fold(text, |text, name| text.replace(&format!("\n{name}{{}} "), &format!("\n{name} ")))
    }
}

#[cfg(test)]
mod tests;
