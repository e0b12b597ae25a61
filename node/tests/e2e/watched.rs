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
    let took = |port| value(&metrics(port), "tally_signatures_total{part=\"took\"}");
    assert_eq!(took(ports[1]) + took(ports[2]), 2.0);
    for metric in TABLE {
        let name = metric.name;
        let start = if metric.kind == Kind::Seconds { format!("{name}_bucket{{") } else { name.to_owned() };
        assert!(first.lines().any(|line| line.starts_with(&start)), "{name} is not exported");
    }
    assert!(http(ports[0], "GET / HTTP/1.1\r\nhost: node\r\n\r\n").starts_with("HTTP/1.1 404"));

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
        // Two requests, each with its own trace, in which two nodes go through the stages and deliver to each other.
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
    let log = cluster.log_of(0);
    assert!(!log.contains("stage{") && !log.contains("rpc{"), "{log}");
}
