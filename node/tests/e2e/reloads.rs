//! Reading certificates again while the node runs.

use crate::harness::certs::Authority;
use crate::harness::cluster::{CLUSTER, Cluster};
use crate::harness::raw;
use crate::harness::watch;
use std::time::{Duration, Instant};
use tally_proto::v1;
use tonic::transport::Channel;

async fn status(channel: &Channel) -> Result<v1::GetStatusResponse, tonic::Status> {
    let mut service = v1::node_service_client::NodeServiceClient::new(channel.clone());
    service.get_status(v1::GetStatusRequest {}).await.map(tonic::Response::into_inner)
}

/// Has the node read its files again; gives what it says of that.
async fn reloaded(cluster: &Cluster, channel: &Channel) -> String {
    let before = status(channel).await.unwrap().reload.map(|r| r.at_ms);
    tokio::time::sleep(Duration::from_millis(2)).await;
    cluster.hang_up(0);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match status(channel).await.unwrap().reload {
            Some(reload) if Some(reload.at_ms) != before => return reload.fault,
            _ => assert!(Instant::now() < end, "the node does not reload"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_and_what_does_not_check_changes_nothing() {
    let mut cluster = Cluster::prepare(1);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    let old = raw::as_client(&cluster, 0).await;
    assert!(status(&old).await.unwrap().reload.is_none());

    let dir = cluster.nodes[0].dir.clone();
    let new = Authority::new();
    let node = new.renew(&format!("spiffe://{CLUSTER}/node/node-1"), &cluster.nodes[0].tls);
    let client = new.renew(&format!("spiffe://{CLUSTER}/client/payouts-1"), &cluster.clients["payouts-1"].tls);

    // Half of a change: the node's certificate is not of the authority that is configured.
    std::fs::write(dir.join("node.pem"), &node.cert).unwrap();
    let fault = reloaded(&cluster, &old).await;
    assert!(fault.contains("node.pem is not valid now under"), "{fault}");
    let failed = || watch::number(&cluster, 0, "tally_reload_failed");
    assert!(cluster.log_of(0).contains("reload refused") && failed() == 1.0);
    status(&raw::as_client(&cluster, 0).await).await.unwrap();
    std::fs::write(dir.join("node.pem"), "nonsense").unwrap();
    assert!(reloaded(&cluster, &old).await.contains("holds no certificate"));

    // The other half: who is of the new authority comes in, who is of the old one does not, and who is in stays.
    std::fs::write(dir.join("node.pem"), &node.cert).unwrap();
    std::fs::write(cluster.dir.path().join("ca.pem"), new.pem()).unwrap();
    assert_eq!(reloaded(&cluster, &old).await, "");
    assert_eq!(failed(), 0.0);
    let fresh = raw::connect_under(&new, &cluster, 0, &client).await.unwrap();
    assert_eq!(status(&fresh).await.unwrap().node, "node-1");
    assert!(raw::connect_under(&cluster.authority, &cluster, 0, &client).await.is_err());
    status(&old).await.unwrap();

    // A directory is no way to change who may do what.
    let bundle = cluster.dir.path().join("policy/bundle.toml");
    std::fs::write(&bundle, "version = 2\n").unwrap();
    let fault = reloaded(&cluster, &old).await;
    assert!(fault.contains("policy propose") && status(&old).await.unwrap().bundle_version == 1, "{fault}");
}
