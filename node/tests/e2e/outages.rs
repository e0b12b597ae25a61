//! Nodes that are away: t live ones sign, fewer refuse with the reason and leave nothing half done.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
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
