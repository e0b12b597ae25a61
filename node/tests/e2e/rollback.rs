//! Disks that are restored from an older copy, or touched: the node has forgotten votes, and must not vote again.

use crate::harness::cluster::{Cluster, tallyd};
use crate::harness::orders::*;
use std::path::Path;
use std::time::Duration;
use tally_domain::Reason;

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

async fn settled<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    for _ in 0..200 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_6_a_node_restored_from_an_older_copy_takes_part_in_nothing_until_the_others_accept_it() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    let (data, backup) = (cluster.nodes[2].dir.join("data"), cluster.dir.path().join("backup"));
    cluster.stop(2);
    copy(&data, &backup);
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    for n in 0..4 {
        sign(&cluster.at(2), say(&format!("forgotten {n}"))).await.unwrap();
    }
    // The others have seen how far its log has come.
    let size = cluster.at(2).node().await.unwrap().log_size;
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.stop(2);
    copy(&backup, &data);
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    assert!(cluster.at(2).node().await.unwrap().log_size < size);

    let said = sign(&cluster.at(2), say("from the restored node")).await;
    assert_eq!(reason(said), Reason::Recovering);
    // Alone with it, node 1 does not sign; with node 2 it does.
    for n in 0..4 {
        sign(&cluster.at(0), say(&format!("without it {n}"))).await.unwrap();
    }
    cluster.kill(1);
    let refused = reason(sign(&cluster.at(0), say("with it")).await);
    assert!(matches!(refused, Reason::Signers | Reason::RolledBack), "{refused:?}");

    // The fence outlives a restart of those who have put it up, and ends when their operators say so.
    cluster.kill(0);
    for i in [0, 1] {
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    }
    assert_eq!(reason(sign(&cluster.at(2), say("still not")).await), Reason::Recovering);
    for i in 0..3 {
        cluster.stop(i);
    }
    for i in [0, 1] {
        let config = cluster.nodes[i].dir.join("node.toml");
        let output = tallyd(&config).args(["--accept-restore", "node-3"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    settled("the restored node must be accepted", || async { sign(&cluster.at(2), say("accepted")).await.is_ok() })
        .await;
    let said = sign(&cluster.at(2), say("back")).await.unwrap();
    verified_ed25519(&fast, b"back", &said.signature);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_start_on_a_log_that_somebody_has_changed() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    sign(&cluster.at(0), say("change this text")).await.unwrap();
    cluster.stop(0);
    let path = cluster.nodes[0].dir.join("data/tally.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at: Vec<usize> =
        bytes.windows(16).enumerate().filter(|(_, w)| w == b"change this text").map(|(i, _)| i).collect();
    assert!(!at.is_empty());
    at.iter().for_each(|i| bytes[*i] ^= 1);
    std::fs::write(&path, bytes).unwrap();
    let said = cluster.refuses_to_start(0);
    assert!(said.contains("are not those that were signed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_empty_store_is_fenced_by_those_who_knew_it() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.stop(2);
    std::fs::remove_dir_all(cluster.nodes[2].dir.join("data")).unwrap();
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    assert_eq!(reason(sign(&cluster.at(2), say("who am I")).await), Reason::Recovering);
}

const ONE_LIMIT: &str = "[[limit]]\nid = \"fast-hour\"\nkey = \"fast\"\ncount = 9\nper = \"1h\"\n";

/// ADR 12: a witness comes back into its seat with nothing on its disk, and is the vote that a limit needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_with_an_empty_store_votes_again_once_all_others_have_accepted_it() {
    let mut cluster = Cluster::limited(ONE_LIMIT).await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    sign(&client, say("before")).await.unwrap();
    let fences = async |c: tally_client::Client| {
        let peers = c.node().await.map(|n| n.peers).unwrap_or_default();
        peers.iter().any(|p| p.node.as_str() == "node-5" && p.fenced)
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.stop(4);
    std::fs::remove_dir_all(cluster.nodes[4].dir.join("data")).unwrap();
    cluster.launch(4, &[]);
    cluster.serving(4).await;
    for i in 0..4 {
        settled("it must be fenced", || fences(cluster.at(i))).await;
    }
    // Without the other witness there are only three whose votes count.
    cluster.kill(3);
    assert_eq!(reason(sign(&cluster.at(0), say("three of five")).await), Reason::Voters);
    for i in [0, 1, 2, 4] {
        cluster.stop(i);
    }
    for i in 0..4 {
        let output = tallyd(&cluster.nodes[i].dir.join("node.toml")).args(["--accept-restore", "node-5"]).output();
        assert!(output.unwrap().status.success(), "node {i}");
    }
    // It believes that it is fenced until it starts again.
    for i in [0, 1, 2, 4] {
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    }
    settled("its vote must count", || async { sign(&cluster.at(0), say("four of five")).await.is_ok() }).await;
}
