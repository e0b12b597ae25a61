//! What is counted is shown; the dashboard and the alert rules name metrics that exist, with labels that they have.

use super::*;
use std::collections::BTreeSet;

const DASHBOARD: &str = include_str!("../../../ops/grafana/tally.json");
const ALERTS: &str = include_str!("../../../ops/alerts.yml");
const GUIDE: &str = include_str!("../../../docs/operating.md");

/// Words that begin as metrics do.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tally_")).collect()
}

fn exists(name: &str) -> bool {
    TABLE.iter().any(|metric| match metric.kind {
        Kind::Counter | Kind::Gauge => metric.name == name,
        Kind::Seconds => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name)),
    })
}

#[test]
fn dashboard_and_alerts_name_only_what_a_node_exports() {
    for (file, text) in [("ops/grafana/tally.json", DASHBOARD), ("ops/alerts.yml", ALERTS)] {
        let named = names(text);
        assert!(named.len() > 10, "{file} names {named:?}");
        for name in named {
            assert!(exists(name), "{file} names {name}, which no node exports");
        }
    }
    assert!(!exists("tally_call_seconds") && !exists("tally_made_up_total"));
}

/// Who asks by JSON-RPC alone is watched as who asks by gRPC.
#[test]
fn whatever_counts_signing_counts_it_by_each_door() {
    for (file, text, wanted) in [("ops/grafana/tally.json", DASHBOARD, 2), ("ops/alerts.yml", ALERTS, 2)] {
        let text = text.replace("\\\"", "\"");
        let selected: Vec<_> = text.split("method=~\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(selected.len() == wanted && !text.contains("method=\"Sign\""), "{file} selects {selected:?}");
        for method in ["Sign", "eth_signTransaction", "eth_signTypedData_v4", "personal_sign"] {
            let named = |word: &str| word.strip_suffix(".*").map_or(word == method, |start| method.starts_with(start));
            assert!(selected.iter().all(|all| all.split('|').any(named)), "{file} does not watch {method}");
        }
    }
}

#[test]
fn what_a_node_exports_is_on_the_dashboard_or_in_the_guide() {
    let shown: BTreeSet<_> = names(DASHBOARD).union(&names(ALERTS)).copied().collect();
    for metric in TABLE {
        let bucket = format!("{}_bucket", metric.name);
        assert!(shown.contains(metric.name) || shown.contains(bucket.as_str()), "{} is shown nowhere", metric.name);
        assert!(GUIDE.contains(&format!("`{}`", metric.name)), "docs/operating.md does not explain {}", metric.name);
    }
}

#[test]
fn the_dashboard_is_json_and_each_panel_asks_for_something() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asking: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(asking.len() > 15);
    for panel in asking {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            assert!(!names(expr).is_empty(), "{}: {expr}", panel["title"]);
            assert_eq!(expr.matches('(').count(), expr.matches(')').count(), "{expr}");
            assert_eq!(expr.matches('{').count(), expr.matches('}').count(), "{expr}");
        }
    }
}

#[test]
fn what_an_expression_filters_and_groups_by_is_a_label() {
    let mut known: BTreeSet<&str> = TABLE.iter().flat_map(|metric| metric.labels.iter().copied()).collect();
    known.extend(["instance", "le", "job"]);
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned);
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array());
    let panels = targets.flatten().map(|target| target["expr"].as_str().unwrap().to_owned());
    let mut seen = 0;
    for expr in alerts.chain(panels) {
        let by = expr.split("by (").skip(1).filter_map(|rest| rest.split(')').next()).flat_map(|list| list.split(", "));
        let matchers = expr.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let matched = matchers.flat_map(|list| list.split(',')).filter_map(|one| one.split(['=', '!']).next());
        for label in by.chain(matched) {
            seen += 1;
            assert!(known.contains(label), "{expr}: `{label}` is no label");
        }
    }
    assert!(seen > 40);
}

#[test]
fn each_name_is_well_formed_and_there_once() {
    let mut seen = std::collections::BTreeSet::new();
    for metric in TABLE {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("tally_"), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert_eq!(
            metric.name.ends_with("_seconds"),
            metric.kind == Kind::Seconds || metric.name.contains("offset") || metric.name.contains("timestamp"),
            "{}",
            metric.name
        );
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn what_is_counted_is_shown_and_labels_do_not_grow_without_bound() {
    let metrics = Metrics::default();
    metrics.count(&names::REFUSALS, &["POLICY_DENIED", "no-\"vendors\"", "client"]);
    metrics.took(&names::CALL_SECONDS, &["Sign"], Duration::from_millis(3));
    metrics.set(&names::CLOCK_OFFSET, &["node-2"], -0.5);
    metrics.add(&names::BLAME, &["node-2"], 0);
    metrics.set(&names::KEYS, &[], 2.0);
    metrics.took(&names::COMMIT_SECONDS, &[], Duration::from_millis(250));
    let text = metrics.render();
    for line in [
        "tally_refusals_total{reason=\"POLICY_DENIED\",rule=\"no-\\\"vendors\\\"\",from=\"client\"} 1",
        "tally_call_seconds_bucket{le=\"0.004\",method=\"Sign\"} 1",
        "tally_call_seconds_count{method=\"Sign\"} 1",
        "tally_peer_clock_offset_seconds{peer=\"node-2\"} -0.5",
        "tally_blame_total{peer=\"node-2\"} 0",
        "tally_keys 2.0",
        "tally_commit_seconds_sum 0.25",
        "tally_commit_seconds_count 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("{}"), "{text}");
    for i in 0..SERIES_MAX + 100 {
        metrics.count(&names::REFUSALS, &["POLICY_DENIED", &format!("rule-{i}"), "client"]);
    }
    let series = metrics.render().lines().filter(|l| l.starts_with("tally_refusals_total{")).count();
    assert_eq!(series, SERIES_MAX + 1);
}
