//! Nodes that are away: t live ones sign, fewer refuse with the reason and leave nothing half done.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::watch;
use tally_client::{Order, RequestState};
use tally_domain::{KeySpec, Purpose, Reason, RequestId, Scheme, Threshold};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_down_still_signs_and_two_down_refuse_until_they_are_back() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;

    cluster.kill(1);
    for i in 0..4 {
        let text = format!("without node 2, {i}");
        let said = sign(&cluster.at(i % 2 * 2), say(&text)).await.unwrap();
        verified_ed25519(&fast, text.as_bytes(), &said.signature);
    }

    let reached = |peer: &str| format!("tally_peer_reachable{{peer=\"{peer}\"}}");
    let numbers = watch::shown(&cluster, 0);
    assert_eq!(["node-2", "node-3"].map(|peer| watch::value(&numbers, &reached(peer))), [0.0, 1.0]);

    cluster.kill(2);
    let id = RequestId([9; 16]);
    let intent = client.seal(say("later").request_id(id)).unwrap();
    assert_eq!(reason(cluster.at(0).sign(&intent).await), Reason::Signers);
    assert!(matches!(cluster.at(0).request(id).await.unwrap().state, RequestState::Received));
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let create = client.seal(Order::create_key(key("new"), spec)).unwrap();
    assert_eq!(reason(cluster.at(0).create_key(&create).await), Reason::Participants);

    for i in [1, 2] {
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    }
    let said = client.sign(&intent).await.unwrap();
    verified_ed25519(&fast, b"later", &said.signature);
    client.create_key(&create).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_left_out_and_two_silent_ones_are_named() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    cluster.freeze(1, true);
    for n in 0..3 {
        let text = format!("silent node 2, {n}");
        let said = sign(&cluster.at(0), say(&text)).await.unwrap();
        verified_ed25519(&fast, text.as_bytes(), &said.signature);
    }
    cluster.freeze(2, true);
    let id = RequestId([5; 16]);
    let intent = client.seal(say("nobody there").request_id(id)).unwrap();
    assert_eq!(reason(cluster.at(0).sign(&intent).await), Reason::Signers);
    cluster.freeze(1, false);
    cluster.freeze(2, false);
    let said = client.sign(&intent).await.unwrap();
    verified_ed25519(&fast, b"nobody there", &said.signature);
}

/// In the middle of a session, where a stopped process is not noticed before it is asked: each stage has its own patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_that_falls_silent_in_a_session_is_named_within_its_time_and_another_signs() {
    let mut cluster = Cluster::prepare(3);
    let silent = cluster.nodes[1].dir.join("silent");
    for i in 0..3 {
        let env = [("TALLY_SILENT", silent.to_str().unwrap())];
        cluster.launch(i, if i == 1 { &env } else { &[] });
    }
    cluster.all_serving().await;
    let client = cluster.at(0);
    let fast = create_fast(&client).await;
    for stage in ["hello", "offline", "vote"] {
        std::fs::write(&silent, stage).unwrap();
        let named = |log: &str| {
            let failed = log.lines().filter(|line| line.contains("session failed") && line.contains("SIGNERS"));
            let here =
                |line: &str| line.contains(&format!("\"{stage}\"")) && line.contains("missing=[NodeName(node-2)]");
            failed.into_iter().any(here)
        };
        // Who signs is drawn by lot: node 2 is among them sooner or later.
        for n in 0..20 {
            let text = format!("silent from {stage} on, {n}");
            let said = sign(&client, say(&text)).await.unwrap();
            verified_ed25519(&fast, text.as_bytes(), &said.signature);
            if named(&cluster.log_of(0)) {
                break;
            }
        }
        assert!(named(&cluster.log_of(0)), "{stage}: {}", cluster.log_of(0));
    }
    // Silence is counted, and it is nobody's fault.
    let numbers = watch::shown(&cluster, 0);
    let of = |metric: &str| watch::value(&numbers, &format!("{metric}{{peer=\"node-2\"}}"));
    assert!(of("tally_missing_total") >= 3.0 && of("tally_blame_total") == 0.0, "{numbers}");
    let failed = "tally_session_failures_total{session=\"sign\",reason=\"SIGNERS\"}";
    assert!(watch::value(&numbers, failed) >= 3.0);
    std::fs::remove_file(&silent).unwrap();
    sign(&cluster.at(1), say("heard again")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_can_be_followed_through_the_logs_of_all_its_nodes() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let id = RequestId([0xab; 16]);
    // Nobody can complete this: node 2 dies when it should vote, node 3 is away.
    cluster.kill(2);
    cluster.kill(1);
    cluster.launch(1, &[("TALLY_FAILPOINT", "vote.before")]);
    cluster.serving(1).await;
    assert_eq!(reason(sign(&cluster.at(0), say("traced").request_id(id)).await), Reason::Signers);
    cluster.died(1).await;
    let (leader, member) = (cluster.log_of(0), cluster.log_of(1));
    assert!(leader.contains(&format!("request=\"{id}\"")), "{leader}");
    assert!(member.contains(&format!("request=\"{id}\"")), "{member}");
}
