//! Request ids: one intent each, one result each, from whichever node, however many ask at once.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use tally_client::{Order, RequestState};
use tally_domain::{KeySpec, Purpose, Reason, RequestId, Scheme, Threshold};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_gives_one_result_at_every_node_and_refuses_other_content() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let id = RequestId([7; 16]);
    let intent = client.seal(say("once").request_id(id)).unwrap();
    let first = cluster.at(0).sign(&intent).await.unwrap();
    for i in 0..3 {
        assert_eq!(cluster.at(i).sign(&intent).await.unwrap(), first, "node {i}");
        let other = client.seal(say("twice").request_id(id)).unwrap();
        assert_eq!(reason(cluster.at(i).sign(&other).await), Reason::RequestIdConflict, "node {i}");
    }
    let stored = client.request(id).await.unwrap();
    assert!(matches!(stored.state, RequestState::Completed(Some(s)) if *s == first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_leaders_at_once_make_one_signature_for_one_request() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    for round in 1..=4u8 {
        let intent = client.seal(say("race").request_id(RequestId([round; 16]))).unwrap();
        let racers = (0..6).map(|i| {
            let (client, intent) = (cluster.client("payouts-1").rotated(i), intent.clone());
            tokio::spawn(async move { client.sign(&intent).await.unwrap() })
        });
        let results = futures_util::future::join_all(racers).await;
        let first = results[0].as_ref().unwrap();
        assert!(results.iter().all(|r| r.as_ref().unwrap() == first), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_a_key_twice_gives_the_same_key_and_another_request_finds_the_name_taken() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let intent = client.seal(Order::create_key(key("fast"), spec)).unwrap();
    let first = client.create_key(&intent).await.unwrap().key;
    for i in 0..3 {
        assert_eq!(cluster.at(i).create_key(&intent).await.unwrap().key.public_key, first.public_key);
    }
    let again = client.seal(Order::create_key(key("fast"), spec)).unwrap();
    assert_eq!(reason(client.create_key(&again).await), Reason::KeyExists);

    let wrong = KeySpec { threshold: Threshold::new(2, 2).unwrap(), ..spec };
    let refused = client.create_key(&client.seal(Order::create_key(key("two"), wrong)).unwrap()).await;
    assert_eq!(reason(refused), Reason::ParameterRange);
    let wrong = KeySpec { purpose: Purpose::Transaction, ..spec };
    let refused = client.create_key(&client.seal(Order::create_key(key("three"), wrong)).unwrap()).await;
    assert_eq!(reason(refused), Reason::KeyScheme);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_a_result_refuses_other_content_and_then_gives_the_result() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    cluster.kill(2);
    let id = RequestId([8; 16]);
    let intent = client.seal(say("the one").request_id(id)).unwrap();
    let first = cluster.at(0).sign(&intent).await.unwrap();
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    let other = client.seal(say("another").request_id(id)).unwrap();
    assert_eq!(reason(cluster.at(2).sign(&other).await), Reason::RequestIdConflict);
    assert_eq!(cluster.at(2).sign(&intent).await.unwrap(), first);
    assert_eq!(reason(cluster.at(2).sign(&other).await), Reason::RequestIdConflict);
}
