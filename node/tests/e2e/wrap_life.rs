//! Versions of KEKs from their making to their destruction, on nodes that are killed at every durable step.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::*;
use std::time::{Duration, Instant};
use tally_client::{Client, Order, RequestState};
use tally_domain::{KekChange, KekNumber, Reason, RequestId};

/// Waits until a version is destroyed.
async fn destroyed(client: &Client, name: &str, number: u32) {
    let end = Instant::now() + Duration::from_secs(30);
    while state(client, name, number).await != "destroyed" {
        assert!(Instant::now() < end, "version {number} is not destroyed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts a node that dies at a place, and gives it something to do.
async fn dies_at<T>(cluster: &mut Cluster, node: usize, place: &str, work: impl AsyncFnOnce(Client) -> T) -> T {
    cluster.kill(node);
    cluster.launch(node, &[("TALLY_FAILPOINT", place)]);
    cluster.serving(node).await;
    let done = work(cluster.at(node)).await;
    cluster.died(node).await;
    cluster.launch(node, &[]);
    cluster.serving(node).await;
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_enabled_does_nothing_and_a_destroyed_one_never_again() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    let first = KekNumber(1);
    let to_open = async |client: &Client, blob: &[u8]| bytes(open_with(client, "vault", ledger(), blob).await);
    let to_wrap = client.seal(Order::generate_data_key(key("vault"), ledger(), 32, true)).unwrap();
    let blob = client.generate_data_key(&to_wrap).await.unwrap().wrapped.blob;

    let off = change(&client, "vault", KekChange::Disable(first)).await.unwrap();
    assert_eq!(off.version.state, "disabled");
    for outcome in [
        to_open(&client, &blob).await.map(drop),
        rewrap(&client, "vault", &blob, None).await.map(drop),
        draw(&client, "vault", 32, false).await.map(drop),
        // Shown once, and not again while it may not be.
        client.generate_data_key(&to_wrap).await.map(drop),
    ] {
        assert_eq!(reason(outcome), Reason::KekDisabled);
    }
    assert_eq!(reason(change(&client, "vault", KekChange::Disable(first)).await), Reason::KekState);
    assert_eq!(reason(change(&client, "vault", KekChange::Cancel(first)).await), Reason::KekState);
    assert_eq!(reason(change(&client, "vault", KekChange::Enable(KekNumber(2))).await), Reason::KekVersionUnknown);
    change(&client, "vault", KekChange::Enable(first)).await.unwrap();
    let secret = to_open(&client, &blob).await.unwrap();

    change(&client, "vault", KekChange::Rotate).await.unwrap();
    for seconds in [0, 30 * 24 * 3_600 + 1] {
        let outcome = change(&client, "vault", KekChange::Destroy(first, seconds)).await;
        assert_eq!(reason(outcome), Reason::ParameterRange);
    }
    // A day; and it is cancelled.
    let intent = client.seal(Order::change_kek(key("vault"), KekChange::Destroy(first, 86_400))).unwrap();
    let pending = client.change_kek(&intent).await.unwrap();
    assert_eq!(pending.version.state, "pending-destruction");
    assert_eq!(reason(to_open(&client, &blob).await), Reason::KekDisabled);
    cluster.kill(0);
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    let client = cluster.client("payouts-1");
    assert_eq!(state(&client, "vault", 1).await, "pending-destruction");
    assert_eq!(change(&client, "vault", KekChange::Cancel(first)).await.unwrap().version.state, "disabled");
    // The same wish again is answered as it was, and does nothing.
    assert_eq!(client.change_kek(&intent).await.unwrap(), pending);
    assert_eq!(state(&client, "vault", 1).await, "disabled");
    change(&client, "vault", KekChange::Enable(first)).await.unwrap();
    assert_eq!(to_open(&client, &blob).await.unwrap(), secret);
    let anew = rewrap(&client, "vault", &blob, None).await.unwrap().blob;

    change(&client, "vault", KekChange::Destroy(first, 1)).await.unwrap();
    destroyed(&client, "vault", 1).await;
    assert_eq!(reason(to_open(&client, &blob).await), Reason::KekDestroyed);
    assert_eq!(reason(rewrap(&client, "vault", &anew, Some(1)).await), Reason::KekDestroyed);
    for undo in [KekChange::Enable(first), KekChange::Cancel(first), KekChange::Destroy(first, 1)] {
        assert_eq!(reason(change(&client, "vault", undo).await), Reason::KekDestroyed);
    }
    assert_eq!(to_open(&client, &anew).await.unwrap(), secret);
    assert_eq!(draw(&client, "vault", 32, false).await.unwrap().wrapped.by.version, KekNumber(2));
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_home_killed_at_any_durable_step_has_one_kek_and_one_outcome() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for place in ["name.before", "name.after", "activate.before", "activate.after"] {
        let name = format!("kek-{}", place.replace('.', "-"));
        let intent = client.seal(Order::create_kek(key(&name), home(0))).unwrap();
        dies_at(&mut cluster, 0, place, async |node| node.create_kek(&intent).await.unwrap_err()).await;
        let made = client.create_kek(&intent).await.unwrap().kek;
        let again = client.create_kek(&intent).await.unwrap().kek;
        assert_eq!(
            (&made.versions, made.state.as_str(), made.versions.len()),
            (&again.versions, "active", 1),
            "{place}"
        );
        let blob = wrap(&client, &name, b"secret").await.unwrap().blob;
        assert_eq!(opened(&client, &name, &blob).await, b"secret", "{place}");
    }
    let name = "kek-name-after";
    for (n, place) in (1u8..).zip(["wrap.before", "wrap.after"]) {
        let id = RequestId([n; 16]);
        let (order, plain) = plain(&client, name, id, place.as_bytes());
        let intent = client.seal(order).unwrap();
        dies_at(&mut cluster, 0, place, async |node| node.wrap(&intent, &plain).await.unwrap_err()).await;
        let stored = cluster.at(0).request(id).await;
        match place {
            // Nothing of it is there: neither the claim nor the leaf that it was permitted.
            "wrap.before" => assert_eq!(reason(stored), Reason::RequestNotFound),
            _ => assert_eq!(stored.unwrap().state, RequestState::Completed(None)),
        }
        let wrapped = client.wrap(&intent, &plain).await.unwrap();
        assert_eq!(client.wrap(&intent, &plain).await.unwrap(), wrapped);
        assert_eq!(opened(&client, name, &wrapped.blob).await, place.as_bytes());
        // A plaintext that was not told is told after all, and is written down once.
        let intent = client.seal(Order::unwrap(key(name), ledger(), &wrapped.blob)).unwrap();
        dies_at(&mut cluster, 0, place, async |node| {
            node.unwrap(&intent, &wrapped.blob).await.map(drop).unwrap_err();
        })
        .await;
        for _ in 0..2 {
            let outcome = bytes(client.unwrap(&intent, &wrapped.blob).await);
            assert_eq!(outcome.unwrap(), place.as_bytes());
        }
    }
    for (number, place) in (2..).zip(["rotate.before", "rotate.after"]) {
        let intent = client.seal(Order::change_kek(key(name), KekChange::Rotate)).unwrap();
        dies_at(&mut cluster, 0, place, async |node| node.change_kek(&intent).await.unwrap_err()).await;
        assert_eq!(client.change_kek(&intent).await.unwrap().version.number, KekNumber(number), "{place}");
        assert_eq!(client.kek(&key(name)).await.unwrap().versions.len(), number as usize, "{place}");
    }
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destruction_that_has_begun_is_finished_by_the_next_start() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_kek(&client, "vault", 0).await.unwrap();
    let places = ["destroying.before", "destroying.after", "destroyed.before", "destroyed.after"];
    for (number, place) in (1..).zip(places) {
        let blob = wrap(&client, "vault", place.as_bytes()).await.unwrap().blob;
        change(&client, "vault", KekChange::Rotate).await.unwrap();
        dies_at(&mut cluster, 0, place, async |node| {
            change(&node, "vault", KekChange::Destroy(KekNumber(number), 1)).await.unwrap();
        })
        .await;
        destroyed(&client, "vault", number).await;
        assert_eq!(reason(bytes(open_with(&client, "vault", ledger(), &blob).await)), Reason::KekDestroyed);
        let next = wrap(&client, "vault", b"next").await.unwrap();
        assert_eq!(
            (next.by.version, opened(&client, "vault", &next.blob).await),
            (KekNumber(number + 1), b"next".to_vec())
        );
    }
    verified(&cluster).await;
}
