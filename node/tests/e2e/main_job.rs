//! The main job: make keys, sign what policy permits, refuse the rest, survive restarts, and prove it all from the logs.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use tally_audit::verify::{ExportedLog, verify_together};
use tally_client::Order;
use tally_domain::{DerivationPath, NodeName, Reason};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_sign_what_policy_permits_and_refuse_the_rest() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let hot = create_hot(&client).await;
    let fast = create_fast(&client).await;

    // ECDSA, at the key and at a child, with an independent recovery and a stock BIP-32.
    let signed = sign(&client, pay(0, 250)).await.unwrap();
    assert_eq!(signed.rule, "payouts-small");
    assert_eq!(recovered(&signed), hot);
    let path = DerivationPath::parse("m/0/7").unwrap();
    let child = sign(&client, pay(1, 250).path(path.clone())).await.unwrap();
    let xpub: bip32::XPub = client.key(&key("hot")).await.unwrap().xpub().unwrap().parse().unwrap();
    let expected = [0, 7].iter().fold(xpub, |k, i| k.derive_child(bip32::ChildNumber(*i)).unwrap());
    assert_eq!(recovered(&child), expected.to_bytes());
    assert_eq!(client.derive(&key("hot"), &path).await.unwrap().public_key, expected.to_bytes());

    // Ed25519, with another library; a client whose intent key is P-256.
    let said = sign(&client, say("hello")).await.unwrap();
    verified_ed25519(&fast, b"hello", &said.signature);
    let other = cluster.client("payouts-2");
    verified_ed25519(&fast, b"p-256", &sign(&other, say("p-256")).await.unwrap().signature);

    // Refusals name the rule and the condition; what nothing decodes is opaque.
    let refused = sign(&client, pay(2, 5_000)).await.unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!((refused.reason, refused.metadata["rule"].as_str()), (Reason::PolicyDenied, "payouts-small"));
    assert!(refused.metadata["condition"].contains("1000"), "{:?}", refused.metadata);
    let unknown = Order::sign_evm(key("hot"), "eip155:1", call(1, 3, vec![0xde, 0xad, 0xbe, 0xef]));
    assert_eq!(reason(sign(&client, unknown).await), Reason::TxOpaque);

    // The same keys sign after all have been killed and started again.
    for i in 0..3 {
        cluster.kill(i);
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    assert_eq!(recovered(&sign(&client, pay(4, 1)).await.unwrap()), hot);
    verified_ed25519(&fast, b"again", &sign(&client, say("again")).await.unwrap().signature);

    logs_verify(&cluster).await;
}

/// Every node's log as it exports it.
pub async fn logs_of(cluster: &Cluster) -> Vec<ExportedLog> {
    let mut logs = Vec::new();
    for (i, node) in cluster.nodes.iter().enumerate() {
        let client = cluster.at(i);
        let checkpoint = client.checkpoint().await.unwrap();
        let mut entries = Vec::new();
        client.read_log(checkpoint.size, |leaf| entries.push(leaf)).await.unwrap();
        logs.push(ExportedLog { node: NodeName::parse(&node.name).unwrap(), entries, checkpoint: checkpoint.note });
    }
    logs
}

/// Every node's log checks offline, alone and together, and shows permits and refusals.
async fn logs_verify(cluster: &Cluster) {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let mut logs = logs_of(cluster).await;
    let reports = verify_together(bundle.roster(), &logs).unwrap();
    assert!(reports.iter().all(|r| r.keys == 2 && !r.permits.is_empty()), "{reports:?}");
    assert!(reports.iter().any(|r| r.refusals.iter().any(|l| l.reason == "POLICY_DENIED")));
    assert!(reports.iter().any(|r| r.refusals.iter().any(|l| l.reason == "TX_OPAQUE")));

    let leaf = logs[0].entries.last_mut().unwrap();
    *leaf.last_mut().unwrap() ^= 1;
    assert!(verify_together(bundle.roster(), &logs).is_err(), "a flipped byte must be found");
}
