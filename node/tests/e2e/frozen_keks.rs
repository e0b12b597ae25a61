//! Frozen KEKs on real nodes: nothing is wrapped, opened, changed or destroyed until a majority lifts it, and a call that the
//! token is at work on gives nothing.

use crate::freezes::{freeze, of_key, unfreeze};
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::*;
use crate::tokens::Faults;
use std::time::{Duration, Instant};
use tally_client::{Client, ClientError, Order};
use tally_domain::{KekChange, KekNumber, Reason, Scope};

/// Longest that anything waited for takes, on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

/// Waits until a version is destroyed.
async fn destroyed(client: &Client, name: &str, number: u32) {
    let end = Instant::now() + LONG;
    while state(client, name, number).await != "destroyed" {
        assert!(Instant::now() < end, "version {number} of {name} is not destroyed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many keys of KEKs a node's token has destroyed since the node's start.
async fn gone(node: &Client) -> u64 {
    let hsm = node.node().await.unwrap().hsm;
    hsm.latencies.iter().find(|l| l.operation == "destroying a KEK").map_or(0, |l| l.count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_kek_does_nothing_and_changes_nothing_until_a_majority_lifts_it() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for name in ["vault", "other"] {
        create_kek(&client, name, 0).await.unwrap();
    }
    let (first, second) = (KekNumber(1), KekNumber(2));
    let (order, plain) = plain(&client, "vault", client.draw_request_id().unwrap(), b"secret");
    let wrapping = client.seal(order).unwrap();
    let wrapped = client.wrap(&wrapping, &plain).await.unwrap();
    let showing = client.seal(Order::generate_data_key(key("vault"), ledger(), 32, true)).unwrap();
    let shown = client.generate_data_key(&showing).await.unwrap();
    change(&client, "vault", KekChange::Rotate).await.unwrap();
    change(&client, "vault", KekChange::Destroy(second, 86_400)).await.unwrap();

    let uses = async |name: &str, blob: &[u8]| -> Vec<Result<(), ClientError>> {
        vec![
            open_with(&client, name, ledger(), blob).await.map(drop),
            rewrap(&client, name, blob, Some(1)).await.map(drop),
            draw(&client, name, 32, true).await.map(drop),
            draw(&client, name, 32, false).await.map(drop),
            wrap(&client, name, b"more").await.map(drop),
        ]
    };
    let changes = [
        KekChange::Rotate,
        KekChange::Disable(first),
        KekChange::Destroy(first, 86_400),
        KekChange::Cancel(second),
        KekChange::Replicate(first),
    ];
    // It is frozen at another node than its home.
    for scope in [of_key("vault"), Scope::All] {
        let frozen = freeze(&cluster.at(1), &scope).await.unwrap();
        assert_eq!(client.kek(&key("vault")).await.unwrap().state, "frozen");
        for outcome in uses("vault", &wrapped.blob).await {
            let refusal = outcome.unwrap_err();
            let refused = refusal.refused().unwrap();
            assert_eq!((refused.reason, &*refused.metadata["scope"]), (Reason::Frozen, scope.as_str()));
            assert_eq!(refused.metadata["freeze"], frozen.freeze.name.id.to_string());
        }
        for wanted in changes {
            assert_eq!(reason(change(&client, "vault", wanted).await), Reason::Frozen, "{wanted:?}");
        }
        // What was shown is not shown again; what was wrapped is no secret, and can still be asked for.
        assert_eq!(reason(client.generate_data_key(&showing).await.map(drop)), Reason::Frozen);
        assert_eq!(client.wrap(&wrapping, &plain).await.unwrap(), wrapped);
        if scope == Scope::All {
            assert_eq!(reason(create_kek(&client, "new", 0).await), Reason::Frozen);
        } else {
            let blob = wrap(&client, "other", b"goes on").await.unwrap().blob;
            assert!(uses("other", &blob).await.iter().all(Result::is_ok));
            change(&client, "other", KekChange::Rotate).await.unwrap();
        }
        unfreeze(&cluster.at(2), &scope, &[&frozen]).await.unwrap();
        assert_eq!(client.kek(&key("vault")).await.unwrap().state, "active");
    }
    assert!(uses("vault", &wrapped.blob).await.iter().all(Result::is_ok));
    assert_eq!(opened(&client, "vault", &wrapped.blob).await, b"secret");
    let again = client.generate_data_key(&showing).await.unwrap();
    assert_eq!(again.plaintext.unwrap().expose(), shown.plaintext.unwrap().expose());
    assert_eq!(change(&client, "vault", KekChange::Cancel(second)).await.unwrap().version.state, "disabled");
    create_kek(&client, "new", 0).await.unwrap();
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_token_is_at_work_on_when_its_kek_is_frozen_does_not_leave() {
    let mut cluster = Cluster::prepare(3);
    let faults = Faults::between(&cluster, 0);
    let module = cluster.nodes[0].token.module.display().to_string();
    let (file, log) = (faults.env().to_owned(), faults.log());
    for i in 0..3 {
        let env = [
            ("P11FAULT_MODULE", module.as_str()),
            ("P11FAULT_FILE", file.as_str()),
            ("P11FAULT_LOG", log.to_str().unwrap()),
        ];
        cluster.launch(i, if i == 0 { &env } else { &[] });
    }
    cluster.all_serving().await;
    let (client, home) = (cluster.client("payouts-1"), cluster.at(0));
    create_kek(&client, "vault", 0).await.unwrap();
    let scope = of_key("vault");
    let showing = home.seal(Order::generate_data_key(key("vault"), ledger(), 32, true)).unwrap();
    let shown = home.generate_data_key(&showing).await.unwrap();

    let (order, plain) = plain(&home, "vault", home.draw_request_id().unwrap(), b"secret");
    let wrapping = home.seal(order).unwrap();
    // One whose outcome would be written down, and one that was done before and would only be shown again.
    for function in ["C_Encrypt", "C_Decrypt"] {
        faults.order(&format!("{function} hang"));
        let at_work = async {
            match function {
                "C_Encrypt" => home.wrap(&wrapping, &plain).await.map(drop),
                _ => home.generate_data_key(&showing).await.map(drop),
            }
        };
        let freezing = async {
            let end = Instant::now() + LONG;
            while !std::fs::read_to_string(&log).unwrap_or_default().lines().any(|line| line == function) {
                assert!(Instant::now() < end, "the token must be at work");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let frozen = freeze(&cluster.at(0), &scope).await.unwrap();
            faults.order("");
            frozen
        };
        let (outcome, frozen) = tokio::join!(at_work, freezing);
        assert_eq!(reason(outcome), Reason::Frozen, "{function}");
        unfreeze(&client, &scope, &[&frozen]).await.unwrap();
    }
    let blob = home.wrap(&wrapping, &plain).await.unwrap().blob;
    assert_eq!(opened(&client, "vault", &blob).await, b"secret");
    let again = home.generate_data_key(&showing).await.unwrap();
    assert_eq!(again.plaintext.unwrap().expose(), shown.plaintext.unwrap().expose());
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_version_of_a_frozen_kek_is_destroyed_though_its_time_has_come() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for name in ["vault", "other"] {
        create_kek(&client, name, 0).await.unwrap();
        for _ in 0..2 {
            change(&client, name, KekChange::Rotate).await.unwrap();
        }
    }
    // The home dies when it has said that version 1 has no way back, and hears of the freeze before it goes on.
    cluster.kill(0);
    cluster.launch(0, &[("TALLY_FAILPOINT", "destroying.after")]);
    cluster.serving(0).await;
    change(&client, "vault", KekChange::Destroy(KekNumber(1), 1)).await.unwrap();
    cluster.died(0).await;
    let frozen = freeze(&cluster.at(1), &of_key("vault")).await.unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    // A round has gone by when another KEK's version is destroyed that was not due before; and one more for its next.
    for number in [1, 2] {
        change(&client, "other", KekChange::Destroy(KekNumber(number), 1)).await.unwrap();
        destroyed(&client, "other", number).await;
    }
    assert_eq!((state(&client, "vault", 1).await.as_str(), gone(&cluster.at(0)).await), ("destroying", 2));
    unfreeze(&client, &of_key("vault"), &[&frozen]).await.unwrap();
    destroyed(&client, "vault", 1).await;
    assert_eq!(gone(&cluster.at(0)).await, 3);

    // One that was not due yet waits, too. Its home is away when it is frozen.
    change(&client, "vault", KekChange::Destroy(KekNumber(2), 5)).await.unwrap();
    cluster.kill(0);
    let frozen = freeze(&cluster.at(1), &of_key("vault")).await.unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    for _ in 0..2 {
        change(&client, "other", KekChange::Rotate).await.unwrap();
    }
    // The first of these is due after it.
    for (number, seconds) in [(3, 5), (4, 1)] {
        change(&client, "other", KekChange::Destroy(KekNumber(number), seconds)).await.unwrap();
        destroyed(&client, "other", number).await;
    }
    assert_eq!((state(&client, "vault", 2).await.as_str(), gone(&cluster.at(0)).await), ("pending-destruction", 2));
    assert_eq!(reason(change(&client, "vault", KekChange::Cancel(KekNumber(2))).await), Reason::Frozen);
    unfreeze(&client, &of_key("vault"), &[&frozen]).await.unwrap();
    destroyed(&client, "vault", 2).await;
    verified(&cluster).await;
}
