//! Looking at a configuration without starting, and reading certificates again while the node runs.

use crate::harness::certs::{Authority, write_secret};
use crate::harness::cluster::{CLUSTER, Cluster, tallyd};
use crate::harness::raw;
use crate::harness::watch;
use std::path::Path;
use std::time::{Duration, Instant};
use tally_proto::v1;
use tonic::transport::Channel;

fn checked(config: &Path) -> (bool, String) {
    let output = tallyd(config).arg("--check-config").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once_and_nothing_is_started() {
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    let file = node.dir.join("node.toml");
    let (good, said) = checked(&file);
    assert!(good && said.contains("is good"), "{said}");
    assert!(!node.dir.join("data").exists());

    let text = std::fs::read_to_string(&file).unwrap();
    let pin = node.token.pin_file.display().to_string();
    std::fs::write(node.dir.join("open-pin"), "1\n").unwrap();
    let bad = text
        .replace("name = \"node-1\"", "name = \"node-9\"")
        .replace(&format!("cluster = \"{CLUSTER}\""), "cluster = \"another\"")
        .replace("level = \"info\"", "level = \"loud\"")
        .replace("cert = \"node.pem\"", "cert = \"missing.pem\"")
        .replace(&node.token.module.display().to_string(), "/nonexistent/module.so")
        .replace(&pin, &node.dir.join("open-pin").display().to_string())
        .replace("data_dir = \"data\"", "data_dir = \"node.pem/data\"");
    let port = node.port;
    std::fs::write(&file, format!("{bad}[metrics]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    let (good, said) = checked(&file);
    assert!(!good);
    for fault in [
        "`node-9`",
        "`another`",
        "`loud`",
        "missing.pem",
        "module.so is no file",
        "open-pin",
        "data_dir",
        "metrics.listen",
    ] {
        assert!(said.contains(fault), "{fault} is not told: {said}");
    }
    assert!(said.contains("8 faults") && said.matches("\n- ").count() == 8, "{said}");
    std::fs::write(&file, text.replace("mode =", "mood =")).unwrap();
    assert!(checked(&file).1.contains("mood"));

    // What peers would refuse: an expired or foreign certificate, another key.
    std::fs::write(&file, &text).unwrap();
    let other = Authority::new();
    let uri = format!("spiffe://{CLUSTER}/node/node-1");
    std::fs::write(node.dir.join("node.pem"), other.renew(&uri, &node.tls).cert).unwrap();
    let (good, said) = checked(&file);
    assert!(!good && said.contains("is not valid now under"), "{said}");
    let another = cluster.authority.issue(&uri);
    std::fs::write(node.dir.join("node.pem"), &another.cert).unwrap();
    std::fs::remove_file(node.dir.join("node.key")).unwrap();
    write_secret(&node.dir.join("node.key"), another.key.as_bytes());
    let (good, said) = checked(&file);
    assert!(!good && said.contains("is not the one that the roster names"), "{said}");
}

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
