//! `kill -9` just before and just after each durable step: nothing is lost, and never two results for one request.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use std::collections::BTreeSet;
use tally_client::{Order, RequestState};
use tally_domain::RequestId;

const PLACES: [&str; 6] =
    ["vote.before", "vote.after", "release.before", "release.after", "complete.before", "complete.after"];

/// Kills `victim` at `place` while node 1 leads, with all three nodes up or only the two that sign.
async fn killed_at(cluster: &mut Cluster, id: RequestId, order: Order, place: &str, victim: usize, third: bool) {
    let client = cluster.client("payouts-1");
    let intent = client.seal(order.request_id(id)).unwrap();
    cluster.kill(victim);
    cluster.launch(victim, &[("TALLY_FAILPOINT", place)]);
    cluster.serving(victim).await;
    if !third {
        cluster.kill(2);
    }
    // The victim may or may not be among the signers when a third node is there; when it is not, ask until it is.
    let early = cluster.at(0).sign(&intent).await;
    if third && victim != 0 {
        cluster.kill(victim);
    } else {
        cluster.died(victim).await;
    }
    cluster.launch(victim, &[]);
    cluster.serving(victim).await;
    if !third {
        cluster.launch(2, &[]);
        cluster.serving(2).await;
    }
    let mut results = Vec::new();
    for i in 0..3 {
        results.push(cluster.client("payouts-1").rotated(i).sign(&intent).await.unwrap());
    }
    results.extend(early);
    assert!(results.iter().all(|r| *r == results[0]), "{place}: two results for one request");
    for i in 0..3 {
        let stored = cluster.at(i).request(id).await.unwrap();
        assert!(matches!(stored.state, RequestState::Completed(Some(s)) if *s == results[0]), "{place}, node {i}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_signer_killed_at_any_durable_step_loses_nothing() {
    let mut cluster = Cluster::start().await;
    create_fast(&cluster.client("payouts-1")).await;
    for (n, place) in (1u8..).zip(PLACES) {
        for (m, third) in [(0, false), (100, true)] {
            let order = say(&format!("member {place} {third}"));
            killed_at(&mut cluster, RequestId([n + m; 16]), order, place, 1, third).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_leader_killed_at_any_durable_step_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    create_hot(&client).await;
    for (n, place) in (1u8..).zip(PLACES) {
        killed_at(&mut cluster, RequestId([n; 16]), say(&format!("leader {place}")), place, 0, true).await;
    }
    for (n, place) in (50u8..).zip(["release.before", "release.after"]) {
        killed_at(&mut cluster, RequestId([n; 16]), pay(n.into(), 10), place, 1, false).await;
    }
    let distinct: BTreeSet<Vec<u8>> = client
        .requests(50, None)
        .await
        .unwrap()
        .requests
        .into_iter()
        .filter_map(|r| match r.state {
            RequestState::Completed(Some(s)) => Some(s.signature),
            _ => None,
        })
        .collect();
    assert_eq!(distinct.len(), PLACES.len() + 2, "every request has a signature of its own");
}
