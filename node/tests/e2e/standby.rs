//! A node with two tokens: KEKs and keys of token domains reach the standby, which works while the primary does not; making keys
//! never fails over.

use crate::harness::cards::{self, delete, hybrid, make_domain, nth_card, reveal, search, spec, strict, tokenize};
use crate::harness::cluster::{Cluster, tallyd};
use crate::harness::orders::*;
use crate::harness::vault::*;
use crate::harness::watch;
use crate::tokens::Faults;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tally_client::DomainInfo;
use tally_domain::ports::hsm::{HsmError, IndexKeyId, VaultHsm as _};
use tally_domain::{KekChange, KekNumber, Reason, SecretBytes};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{PinSource, RemoteConfig, RemoteHsm, Role};
use tally_tokenization::{DomainChange, RotatedKey};

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
    let numbers = watch::shown(&cluster, 0);
    let up = ["primary", "standby"].map(|token| watch::value(&numbers, &format!("tally_hsm_up{{token=\"{token}\"}}")));
    assert_eq!(up, [0.0, 1.0]);

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

/// The standby as a token of its own, which nobody asks for anything.
fn standby_alone(cluster: &Cluster) -> RemoteHsm {
    let node = &cluster.nodes[0];
    RemoteHsm::connect(RemoteConfig {
        program: std::path::Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("hsmd"),
        env: BTreeMap::from([(node.token.env.0.to_owned(), node.token.env.1.clone())]),
        module: node.dir.join("standby.so"),
        token_label: "other".into(),
        token_serial: None,
        pin: PinSource::File(node.token.pin_file.clone()),
        workers: 1,
        deadline: Duration::from_secs(10),
        role: Role::Standby,
        mode: tally_hsm_adapter::Mode::Development,
        profile: None,
        log_level: "error".into(),
        log_json: false,
    })
    .unwrap()
}

/// Blind-index keys of the node's domains, as the token knows them, out of its database.
fn index_keys(cluster: &Cluster) -> Vec<IndexKeyId> {
    let c = rusqlite::Connection::open(cluster.nodes[0].dir.join("data/tally.db")).unwrap();
    let mut all = c.prepare("SELECT object FROM index_key ORDER BY domain, number").unwrap();
    all.query_map([], |row| row.get(0).map(IndexKeyId)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_are_kept_found_and_shown_by_the_standby_and_what_is_shredded_is_gone_from_both() {
    let (mut cluster, faults) = with_standby().await;
    let client = cluster.client("payouts-1");
    let domains = [("fast-cards", hybrid()), ("safe-cards", strict())];
    let mut tokens = Vec::new();
    for (name, keeping) in domains {
        make_domain(&client, &spec(name, keeping)).await.unwrap();
        tokens.push(tokenize(&client, name, &nth_card(1)).await.unwrap().token);
    }
    let before = index_keys(&cluster);

    faults.order("* rv=0x30");
    for ((name, _), token) in domains.iter().zip(&tokens) {
        assert_eq!(reveal(&client, name, token).await.unwrap(), nth_card(1));
        assert_eq!(search(&client, name, &nth_card(1)).await.unwrap().tokens, std::slice::from_ref(token));
        let meanwhile = tokenize(&client, name, &nth_card(2)).await.unwrap().token;
        assert_eq!(reveal(&client, name, &meanwhile).await.unwrap(), nth_card(2));
        assert_eq!(reason(cards::change(&client, name, DomainChange::Rotate(RotatedKey::Index)).await), Reason::Hsm);
    }
    assert_eq!(reason(make_domain(&client, &spec("third", hybrid())).await), Reason::Hsm);
    faults.order("");
    let end = Instant::now() + LONG;
    while client.node().await.unwrap().hsm.error.is_some() {
        assert!(Instant::now() < end, "the primary does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (name, _) in domains {
        delete(&client, name, &tokens.remove(0)).await.unwrap();
        cards::change(&client, name, DomainChange::Shred).await.unwrap();
        let done = |d: &DomainInfo| d.doomed_keys == 0 && d.keys.iter().all(|key| key.state != "previous");
        while !done(&client.domain(&key(name)).await.unwrap()) {
            assert!(Instant::now() < end, "{}", cluster.log_of(0));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(search(&client, name, &nth_card(1)).await.unwrap().tokens, []);
    }
    let standby = standby_alone(&cluster);
    for id in index_keys(&cluster) {
        let print = standby.fingerprints(id, vec![SecretBytes::new(b"x".to_vec())]).await;
        let is_gone = matches!(print, Err(HsmError::KeyNotFound { .. }));
        assert!(is_gone == before.contains(&id) && (is_gone || print.is_ok()), "{print:?}");
    }
    drop(standby);

    // Without its standby the node goes on, and makes no key that it alone would have.
    cluster.stop(0);
    let config = cluster.nodes[0].dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("token_label = \"other\"", "token_label = \"lost\"");
    std::fs::write(&config, text).unwrap();
    let module = cluster.nodes[0].token.module.display().to_string();
    cluster.launch(0, &[("P11FAULT_MODULE", module.as_str()), ("P11FAULT_FILE", faults.env())]);
    cluster.serving(0).await;
    for (name, keeping) in domains {
        assert_eq!(reason(make_domain(&client, &spec(&format!("{name}-2"), keeping)).await), Reason::HsmStandby);
        assert_eq!(reason(cards::change(&client, name, DomainChange::Shred).await), Reason::HsmStandby);
        assert_eq!(search(&client, name, &nth_card(2)).await.unwrap().tokens.len(), 1);
    }
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
