//! Nodes with different policy bundles do not sign with each other, and say so with both digests.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use tally_domain::Reason;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_bundle_is_refused_with_both_digests_and_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    create_fast(&cluster.client("payouts-1")).await;
    cluster.kill(2);
    let (common, own) = (cluster.dir.path().join("policy"), cluster.nodes[2].dir.join("policy"));
    std::fs::create_dir_all(own.join("lists")).unwrap();
    for file in ["bundle.toml", "assets.toml", "roster.toml", "policy.cedar", "groups.toml", "lists/vendors.txt"] {
        std::fs::copy(common.join(file), own.join(file)).unwrap();
    }
    let looser = std::fs::read_to_string(own.join("policy.cedar")).unwrap().replace("\"1000\"", "\"9000\"");
    std::fs::write(own.join("policy.cedar"), looser).unwrap();
    let config = cluster.nodes[2].dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("\"../policy\"", "\"policy\"");
    std::fs::write(&config, text).unwrap();
    cluster.launch(2, &[]);
    cluster.serving(2).await;

    let digest = |dir: &std::path::Path| tally_node::load_bundle(dir).unwrap().digest().to_string();
    let refused = sign(&cluster.at(2), say("no")).await.unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.reason, Reason::BundleMismatch);
    assert_eq!((&refused.metadata["ours"], &refused.metadata["theirs"]), (&digest(&common), &digest(&own)));

    for i in 0..6 {
        sign(&cluster.at(i % 2), say(&format!("yes {i}"))).await.unwrap();
    }
}
