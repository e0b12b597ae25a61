//! What those who watch a cluster see: numbers of each node, and one trace for a request across all nodes that take part.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::watch::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tally_domain::Reason;
use tally_node::metrics::names::{Kind, TABLE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_shown_by_each_node_and_a_request_is_one_trace_across_nodes() {
    let (collector, endpoint) = Collector::start().await;
    let mut cluster = Cluster::prepare(3);
    (0..3).for_each(|i| watch(&cluster, i, &endpoint));
    (0..3).for_each(|i| cluster.launch(i, &[]));
    cluster.all_serving().await;
    let ports: Vec<u16> = (0..3).map(|i| port(&cluster, i)).collect();
    let client = cluster.at(0);
    create_fast(&client).await;
    create_hot(&client).await;
    sign(&client, say("watched")).await.unwrap();
    sign(&client, pay(0, 250)).await.unwrap();
    assert_eq!(reason(sign(&client, pay(1, 5_000)).await), Reason::PolicyDenied);

    let first = metrics(ports[0]);
    assert!(first.starts_with("HTTP/1.1 200") && first.trim_end().ends_with("# EOF"), "{first}");
    assert_eq!(value(&first, "tally_signatures_total{part=\"led\"}"), 2.0);
    assert_eq!(value(&first, "tally_calls_total{method=\"Sign\",outcome=\"ok\"}"), 2.0);
    assert_eq!(value(&first, "tally_calls_total{method=\"Sign\",outcome=\"POLICY_DENIED\"}"), 1.0);
    let refused = "tally_refusals_total{reason=\"POLICY_DENIED\",rule=\"payouts-small\",from=\"client\"}";
    assert_eq!(value(&first, refused), 1.0);
    for stage in ["admit", "propose", "hello", "offline", "vote", "combine", "record"] {
        let count = format!("tally_stage_seconds_count{{session=\"sign\",stage=\"{stage}\"}}");
        assert!(value(&first, &count) >= 2.0, "{stage}");
    }
    assert_eq!(value(&first, "tally_keys"), 2.0);
    assert_eq!(value(&first, "tally_hsm_up{token=\"primary\"}"), 1.0);
    assert!(value(&first, "tally_hsm_calls_total{operation=\"sign_identity\",outcome=\"ok\"}") > 0.0);
    assert_eq!(value(&first, "tally_blame_total{peer=\"node-2\"}"), 0.0);
    assert!(value(&first, "tally_peer_clock_offset_seconds{peer=\"node-3\"}").abs() < 60.0);
    what_numbers_are_true(&cluster, &first).await;
    let took = |port| value(&metrics(port), "tally_signatures_total{part=\"took\"}");
    assert_eq!(took(ports[1]) + took(ports[2]), 2.0);
    for metric in TABLE {
        let name = metric.name;
        let start = if metric.kind == Kind::Seconds { format!("{name}_bucket{{") } else { name.to_owned() };
        assert!(first.lines().any(|line| line.starts_with(&start)), "{name} is not exported");
    }
    assert!(http(ports[0], "GET / HTTP/1.1\r\nhost: node\r\n\r\n").starts_with("HTTP/1.1 404"));

    whole_traces(&collector).await;
    let log = cluster.log_of(0);
    assert!(!log.contains("stage{") && !log.contains("rpc{"), "{log}");

    // A node that starts again knows from its log when its keys last signed.
    let before = last_signatures(&cluster).await;
    cluster.stop(0);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    let after = last_signatures(&cluster).await;
    assert_eq!(after.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["fast", "hot"]);
    // The log has the time of writing, memory that of the answer.
    let close = |one: u64, other: u64| one.abs_diff(other) < 30_000;
    assert!(after.iter().zip(&before).all(|((_, a), (_, b))| close(a.unwrap(), b.unwrap())), "{before:?} {after:?}");
    let latest = after.iter().map(|(_, at)| at.unwrap()).max().unwrap();
    let shown = number(&cluster, 0, "tally_last_signature_timestamp_seconds");
    assert!((shown - latest as f64 / 1_000.0).abs() < 0.01, "{shown} {latest}");
    assert_eq!(number(&cluster, 0, "tally_signatures_total{part=\"led\"}"), 0.0);
}

/// Waits for two requests, each with its own trace, in which two nodes go through the stages and deliver to each other.
async fn whole_traces(collector: &Collector) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = collector.seen();
        let led: Vec<_> = seen.iter().filter(|s| s.span.name == "sign" && s.node == "node-1").collect();
        let nodes_of = |led: &&&Seen| {
            let same = seen.iter().filter(|s| s.span.trace_id == led.span.trace_id);
            let joined = same.filter(|s| s.span.name == "join_sign" && s.text("request") == led.text("request"));
            joined.map(|s| s.node.clone()).collect::<BTreeSet<_>>()
        };
        let whole: Vec<_> = led.iter().filter(|led| !nodes_of(led).is_empty()).collect();
        let stages = |led: &Seen| {
            let same = seen.iter().filter(|s| s.span.trace_id == led.span.trace_id && s.span.name == "stage");
            same.filter_map(|s| Some((s.node.clone(), s.text("stage")?.to_owned()))).collect::<BTreeSet<_>>()
        };
        let complete = whole.len() == 2
            && whole[0].span.trace_id != whole[1].span.trace_id
            && whole.iter().all(|led| {
                let stages = stages(led);
                let nodes: BTreeSet<_> = stages.iter().map(|(node, _)| node).collect();
                nodes.len() == 2 && stages.contains(&("node-1".into(), "combine".into()))
            });
        if complete {
            break;
        }
        assert!(Instant::now() < end, "no whole traces: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// When each key last signed, as node 1 tells it, in milliseconds.
async fn last_signatures(cluster: &Cluster) -> Vec<(String, Option<u64>)> {
    let mut keys: Vec<_> = cluster.at(0).node().await.unwrap().work.keys;
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    keys.into_iter().map(|key| (key.name.to_string(), key.last_signature.map(|at| at.0))).collect()
}

/// Numbers that something else says too.
async fn what_numbers_are_true(cluster: &Cluster, numbers: &str) {
    let told = cluster.at(0).node().await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let last = value(numbers, "tally_last_signature_timestamp_seconds");
    let started = value(numbers, "tally_started_timestamp_seconds");
    assert!(started < last && last <= now && now - started < 600.0, "{started} {last} {now}");
    let one = ["tally_bundle_version", &format!("tally_build_info{{version=\"{}\"}}", told.version)];
    assert_eq!(one.map(|series| value(numbers, series)), [1.0; 2]);
    for nothing in [
        "tally_calls_queued",
        "tally_requests_waiting_for_persons",
        "tally_recovering",
        "tally_bans",
        "tally_freezes",
        "tally_reload_failed",
        "tally_hsm_queued{token=\"primary\"}",
        "tally_hsm_hung{token=\"primary\"}",
        "tally_hsm_restarts{token=\"primary\"}",
        "tally_peer_fenced{peer=\"node-2\"}",
        "tally_calls_shed_total{caller=\"client\"}",
    ] {
        assert_eq!(value(numbers, nothing), 0.0, "{nothing}");
    }
    // Sessions that this node leads are over when they are answered.
    let pending = numbers.lines().filter(|line| line.starts_with("tally_rounds_pending{session=\"sign\""));
    assert!(pending.clone().count() >= 7 && pending.clone().all(|line| line.ends_with(" 0.0")), "{numbers}");
    let some = [
        "tally_connections",
        "tally_commit_seconds_count",
        "tally_hsm_call_seconds_count{operation=\"sign_identity\"}",
    ];
    assert!(some.iter().all(|series| value(numbers, series) >= 1.0), "{numbers}");
    let leaves = value(numbers, "tally_log_leaves");
    assert!(leaves > 10.0 && leaves <= told.log_size as f64, "{leaves}");
    let peers = ["node-2", "node-3"].map(|peer| value(numbers, &format!("tally_peer_reachable{{peer=\"{peer}\"}}")));
    assert_eq!(peers, [1.0; 2]);
}
