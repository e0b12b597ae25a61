//! A node with two tokens: KEKs reach the standby, which wraps while the primary does not; making keys never fails over.

use crate::harness::cluster::{Cluster, tallyd};
use crate::harness::orders::*;
use crate::harness::vault::*;
use crate::tokens::Faults;
use std::time::{Duration, Instant};
use tally_domain::{KekChange, KekNumber, Reason};
use tally_hsm_adapter::testing::SoftHsmToken;

/// How long a token may take to be tried again, on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// A cluster whose first node has a standby token, and a module that can be told to fail before its primary.
async fn with_standby() -> (Cluster, Faults) {
    let mut cluster = Cluster::prepare(3);
    let node = &cluster.nodes[0];
    let other = SoftHsmToken::create(node.token.pin_file.parent().unwrap(), "other").unwrap();
    // A module that has been told to fail has the real one loaded; the standby's is another file.
    let module = node.dir.join("standby.so");
    std::fs::copy(&other.module, &module).unwrap();
    let standby = format!(
        "[hsm.standby]\nmodule = \"{}\"\ntoken_label = \"other\"\ntoken_serial = \"{}\"\npin_file = \"{}\"\n[log]",
        module.display(),
        other.serial,
        other.pin_file.display()
    );
    let config = node.dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("[log]", &standby);
    std::fs::write(&config, text).unwrap();
    assert!(tallyd(&config).arg("--init").output().unwrap().status.success());
    let module = node.token.module.display().to_string();
    let faults = Faults::between(&cluster, 0);
    for i in 0..3 {
        let env = [("P11FAULT_MODULE", module.as_str()), ("P11FAULT_FILE", faults.env())];
        cluster.launch(i, if i == 0 { &env } else { &[] });
    }
    cluster.all_serving().await;
    (cluster, faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_wraps_while_the_primary_does_not_and_makes_no_keys() {
    let (cluster, faults) = with_standby().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    let before = wrap(&client, "vault", b"before the primary is lost").await.unwrap();
    change(&client, "vault", KekChange::Rotate).await.unwrap();
    for number in [1, 2] {
        let copied = change(&client, "vault", KekChange::Replicate(KekNumber(number))).await;
        let copied = copied.unwrap();
        assert_eq!((copied.version.number.0, copied.version.state.as_str()), (number, "enabled"));
    }
    let well = client.node().await.unwrap().hsm;
    assert!(well.error.is_none() && well.standby.is_some_and(|standby| standby.error.is_none()));

    faults.order("* rv=0x30");
    let during = wrap(&client, "vault", b"while the primary is lost").await.unwrap();
    assert_eq!(opened(&client, "vault", &before.blob).await, b"before the primary is lost");
    assert_eq!(opened(&client, "vault", &during.blob).await, b"while the primary is lost");
    assert_eq!(reason(create_kek(&client, "other", 0).await), Reason::Hsm);
    assert_eq!(reason(change(&client, "vault", KekChange::Rotate).await), Reason::Hsm);
    let lost = client.node().await.unwrap().hsm;
    assert!(lost.error.is_some() && lost.standby.is_some_and(|standby| standby.error.is_none()));

    faults.order("");
    let end = Instant::now() + LONG;
    while client.node().await.unwrap().hsm.error.is_some() {
        assert!(Instant::now() < end, "the primary does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(opened(&client, "vault", &during.blob).await, b"while the primary is lost");
    change(&client, "vault", KekChange::Rotate).await.unwrap_or_else(|e| panic!("{e}\n{}", cluster.log_of(0)));
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_on_a_node_with_one_token_cannot_be_replicated() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 1).await.unwrap();
    let first = KekNumber::FIRST;
    assert_eq!(reason(change(&client, "vault", KekChange::Replicate(first)).await), Reason::KekNotReplicable);
    let unknown = change(&client, "vault", KekChange::Replicate(first.next())).await;
    assert_eq!(reason(unknown), Reason::KekVersionUnknown);
    verified(&cluster).await;
}
