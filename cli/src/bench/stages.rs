//! Which stage of a signature takes how long, as the nodes themselves count it.

use crate::output::field;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tally_client::Client;

/// Stages in the order in which a signature goes through them; what is not named here comes after them.
const ORDER: [&str; 8] = ["admit", "propose", "hello", "offline", "vote", "quorum", "combine", "record"];

/// The session that signs.
const SIGN: &str = "sign";

/// How often each stage was gone through at all nodes together, and how long that took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages(BTreeMap<(usize, String), (u64, Duration)>);

impl Stages {
    /// What the nodes have counted by now. One that is away, or does not tell, is left out.
    pub async fn of(client: &Client) -> Self {
        let mut all = Self::default();
        let count = client.endpoints().count();
        for one in (0..count).filter_map(|i| client.only(i)) {
            let Ok(node) = one.once().node().await else { continue };
            for stage in node.work.stages.into_iter().filter(|stage| stage.session == SIGN) {
                all.add(stage.stage, stage.count, stage.time);
            }
        }
        all
    }

    fn add(&mut self, stage: String, count: u64, time: Duration) {
        let place = ORDER.iter().position(|name| *name == stage).unwrap_or(ORDER.len());
        let total = self.0.entry((place, stage)).or_default();
        *total = (total.0.saturating_add(count), total.1.saturating_add(time));
    }

    /// What has come since then.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (stage, (count, time)) in &mut self.0 {
            if let Some((earlier, spent)) = before.0.get(stage) {
                (*count, *time) = (count.saturating_sub(*earlier), time.saturating_sub(*spent));
            }
        }
        self.0.retain(|_, (count, _)| *count > 0);
        self
    }

    fn means(&self) -> impl Iterator<Item = (&str, u64, f64)> {
        let mean = |count: u64, time: Duration| time.as_secs_f64() * 1_000.0 / count.max(1) as f64;
        self.0.iter().map(move |((_, stage), (count, time))| (stage.as_str(), *count, mean(*count, *time)))
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        let line = |(stage, count, mean): (&str, u64, f64)| {
            field(&format!("stage {stage}"), format!("{mean:.2} ms on average, {count} times at all nodes"))
        };
        self.means().map(line).collect()
    }

    /// The same for scripts.
    pub fn to_json(&self) -> Value {
        self.means().map(|(stage, count, mean)| json!({ "stage": stage, "count": count, "mean_ms": mean })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_shown_in_their_order_with_what_came_since() {
        let ms = Duration::from_millis;
        let (mut before, mut after) = (Stages::default(), Stages::default());
        before.add("vote".into(), 2, ms(10));
        before.add("record".into(), 1, ms(1));
        // Two nodes.
        after.add("vote".into(), 4, ms(20));
        after.add("vote".into(), 2, ms(10));
        after.add("record".into(), 1, ms(1));
        after.add("another".into(), 1, ms(3));
        after.add("hello".into(), 2, ms(1));
        let since = after.since(&before);
        let shown: Vec<_> = since.means().collect();
        assert_eq!(shown, [("hello", 2, 0.5), ("vote", 4, 5.0), ("another", 1, 3.0)]);
        assert_eq!(since.to_json()[1], json!({ "stage": "vote", "count": 4, "mean_ms": 5.0 }));
        assert_eq!(since.lines().len(), 3);
    }
}
