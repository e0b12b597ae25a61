//! Freezes on real nodes: one stops all, who was away learns it, a majority lifts it, and nothing leaves in between.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use crate::harness::watch;
use crate::main_job::logs_of;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tally_audit::verify::verify_together;
use tally_client::{Client, ClientError, Frozen, Order, SealedIntent, Unfrozen};
use tally_domain::{
    FreezeId, FreezeName, HsmScheme, KeySpec, NodeName, Purpose, Reason, RequestId, Scheme, Scope, Threshold,
};
use tally_proto::v1;
use tally_proto::v1::peer_service_client::PeerServiceClient;

pub fn of_key(name: &str) -> Scope {
    Scope::Key(key(name))
}

pub async fn freeze(client: &Client, scope: &Scope) -> Result<Frozen, ClientError> {
    client.freeze(&client.seal(Order::freeze(scope).unwrap()).unwrap()).await
}

pub fn lift_of(client: &Client, scope: &Scope, freezes: &[&Frozen]) -> SealedIntent {
    let names: BTreeSet<_> = freezes.iter().map(|f| f.freeze.name.clone()).collect();
    client.seal(Order::unfreeze(scope, names).unwrap()).unwrap()
}

pub async fn unfreeze(client: &Client, scope: &Scope, freezes: &[&Frozen]) -> Result<Unfrozen, ClientError> {
    client.unfreeze(&lift_of(client, scope, freezes)).await
}

/// Waits until a node knows of so many freezes in force.
async fn knows(cluster: &Cluster, i: usize, count: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    while cluster.at(i).freezes().await.unwrap().len() != count {
        assert!(Instant::now() < end, "node {i} must know {count} freezes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(watch::number(cluster, i, "tally_freezes"), f64::from(u32::try_from(count).unwrap()));
}

async fn logs_verify(cluster: &Cluster) {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    verify_together(bundle.roster(), &logs_of(cluster).await).unwrap();
}

async fn create_jwt(client: &Client) {
    create_hsm(client, "jwt", &in_hsm_of(0, HsmScheme::EcdsaP256, Purpose::Message)).await.unwrap();
}

fn token(text: &str) -> Order {
    Order::sign_message(key("jwt"), text.as_bytes().to_vec())
}

/// A node's freezes in force, as it tells other nodes.
pub async fn statements(cluster: &Cluster, from: usize, of: usize) -> Vec<v1::Statement> {
    let mut service = PeerServiceClient::new(raw::as_node(cluster, from, of).await);
    service.fetch_freezes(v1::FetchFreezesRequest { skip: 0 }).await.unwrap().into_inner().freezes
}

pub async fn announce(
    cluster: &Cluster,
    from: usize,
    to: usize,
    freeze: Option<v1::Statement>,
    unfreeze: Vec<v1::Statement>,
) -> Result<(), tonic::Status> {
    let mut service = PeerServiceClient::new(raw::as_node(cluster, from, to).await);
    service.announce_freeze(v1::AnnounceFreezeRequest { freeze, unfreeze }).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_frozen_at_one_node_signs_through_none_until_a_majority_lifts_just_that() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    create_jwt(&client).await;
    let before = client.seal(say("before")).unwrap();
    let signed = client.sign(&before).await.unwrap();

    let scope = of_key("fast");
    let intent = client.seal(Order::freeze(&scope).unwrap()).unwrap();
    let frozen = cluster.at(1).freeze(&intent).await.unwrap();
    assert_eq!((frozen.freeze.name.by.as_str(), frozen.rule.as_deref()), ("node-2", Some("stop")));
    let others = ["node-1", "node-3"].map(|n| NodeName::parse(n).unwrap());
    assert_eq!((&frozen.told.acknowledged[..], &frozen.told.waiting[..]), (&others[..], &[][..]));
    for i in 0..3 {
        let refusal = sign(&cluster.at(i), say("frozen")).await.unwrap_err();
        let refused = refusal.refused().unwrap();
        assert_eq!(refused.reason, Reason::Frozen, "node {i}");
        let facts = ["scope", "key", "frozen_by", "freeze"].map(|name| refused.metadata[name].clone());
        assert_eq!(facts, ["key", "fast", "node-2", &frozen.freeze.name.id.to_string()]);
        let node = cluster.at(i);
        assert_eq!(node.key(&key("fast")).await.unwrap().state, "frozen");
        assert_eq!(node.node().await.unwrap().freezes, std::slice::from_ref(&frozen.freeze));
        // What was signed before can still be read, and asked for again.
        assert_eq!(node.sign(&before).await.unwrap(), signed);
    }
    // The same request is the same freeze; another key is left alone.
    let again = cluster.at(1).freeze(&intent).await.unwrap();
    assert_eq!((&again.freeze, again.rule, again.told), (&frozen.freeze, None, frozen.told.clone()));
    sign(&client, token("not frozen")).await.unwrap();
    let old = statements(&cluster, 0, 2).await;
    assert_eq!(old.len(), 1);

    let lift = lift_of(&client, &scope, &[&frozen]);
    let lifted = cluster.at(2).unfreeze(&lift).await.unwrap();
    assert_eq!(lifted.lifted, std::slice::from_ref(&frozen.freeze.name));
    assert!(lifted.signers >= 2 && lifted.told.waiting.is_empty(), "{lifted:?}");
    for i in 0..3 {
        let text = format!("thawed {i}");
        verified_ed25519(&fast, text.as_bytes(), &sign(&cluster.at(i), say(&text)).await.unwrap().signature);
    }
    // The old statement again, whoever shows it, freezes nothing; nor does the old request.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        announce(&cluster, from, to, Some(old[0].clone()), vec![]).await.unwrap();
    }
    assert_eq!(reason(cluster.at(1).freeze(&intent).await), Reason::FreezeNotFound);
    sign(&client, say("replayed")).await.unwrap();
    // A later freeze has a name of its own, and the old lift does nothing to it.
    let later = freeze(&cluster.at(0), &scope).await.unwrap();
    assert_ne!(later.freeze.name, frozen.freeze.name);
    assert_eq!(cluster.at(2).unfreeze(&lift).await.unwrap().rule, None);
    assert_eq!(reason(sign(&cluster.at(2), say("frozen again")).await), Reason::Frozen);
    unfreeze(&client, &scope, &[&later]).await.unwrap();
    sign(&client, say("and again not")).await.unwrap();
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_frozen_signs_and_makes_nothing_and_only_who_may_freezes_and_lifts() {
    let cluster = Cluster::start().await;
    let (client, reader) = (cluster.client("payouts-1"), cluster.client("reader"));
    create_fast(&client).await;
    create_jwt(&client).await;
    assert_eq!(reason(freeze(&reader, &Scope::All).await), Reason::PolicyDenied);
    assert_eq!(reason(freeze(&reader, &of_key("fast")).await), Reason::PolicyDenied);
    let frozen = freeze(&client, &Scope::All).await.unwrap();
    for i in 0..3 {
        let node = cluster.at(i);
        assert_eq!(reason(sign(&node, say("frozen")).await), Reason::Frozen);
        assert!(node.keys().await.unwrap().iter().all(|k| k.state == "frozen"), "reads go on");
    }
    assert_eq!(reason(sign(&client, token("frozen")).await), Reason::Frozen);
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let create = client.seal(Order::create_key(key("new"), spec)).unwrap();
    assert_eq!(reason(client.create_key(&create).await), Reason::Frozen);
    let resident = in_hsm_of(0, HsmScheme::Ed25519, Purpose::Message);
    assert_eq!(reason(create_hsm(&client, "new", &resident).await), Reason::Frozen);

    assert_eq!(reason(unfreeze(&reader, &Scope::All, &[&frozen]).await), Reason::PolicyDenied);
    // Everything is not a key: its freeze is not lifted under one's name.
    assert_eq!(reason(unfreeze(&client, &of_key("fast"), &[&frozen]).await), Reason::FreezeNotFound);
    let unheard = FreezeName { by: frozen.freeze.name.by.clone(), id: FreezeId([9; 16]) };
    let order = Order::unfreeze(&Scope::All, BTreeSet::from([unheard, frozen.freeze.name.clone()])).unwrap();
    assert_eq!(reason(client.unfreeze(&client.seal(order).unwrap()).await), Reason::FreezeNotFound);
    assert_eq!(reason(sign(&client, say("still frozen")).await), Reason::Frozen);

    unfreeze(&client, &Scope::All, &[&frozen]).await.unwrap();
    sign(&client, say("thawed")).await.unwrap();
    sign(&client, token("thawed")).await.unwrap();
    client.create_key(&create).await.unwrap();
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_learns_a_freeze_before_it_serves_and_its_lift_soon_after() {
    let mut cluster = Cluster::start().await;
    create_fast(&cluster.client("payouts-1")).await;
    cluster.kill(2);
    let scope = of_key("fast");
    let frozen = freeze(&cluster.at(0), &scope).await.unwrap();
    let named = |n: &str| vec![NodeName::parse(n).unwrap()];
    assert_eq!((frozen.told.acknowledged.clone(), frozen.told.waiting.clone()), (named("node-2"), named("node-3")));
    // Who has made it is gone; another node tells it.
    cluster.kill(0);
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    assert_eq!(cluster.at(2).freezes().await.unwrap(), std::slice::from_ref(&frozen.freeze));
    assert_eq!(reason(sign(&cluster.at(2), say("was away")).await), Reason::Frozen);
    // A majority lifts it without the one that made it, which hears of that when it is back.
    let lifted = unfreeze(&cluster.at(1), &scope, &[&frozen]).await.unwrap();
    assert_eq!((lifted.signers, lifted.told.waiting), (2, named("node-1")));
    sign(&cluster.at(2), say("two are enough")).await.unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    knows(&cluster, 0, 0).await;
    sign(&cluster.at(0), say("back")).await.unwrap();
    // All start again from their disks.
    let again = freeze(&cluster.at(2), &Scope::All).await.unwrap();
    for i in 0..3 {
        cluster.kill(i);
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    for i in 0..3 {
        assert_eq!(cluster.at(i).freezes().await.unwrap(), std::slice::from_ref(&again.freeze), "node {i}");
        assert_eq!(reason(sign(&cluster.at(i), say("after a restart")).await), Reason::Frozen);
    }
    unfreeze(&cluster.at(0), &Scope::All, &[&again]).await.unwrap();
    sign(&cluster.at(1), say("at last")).await.unwrap();
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_than_a_majority_lift_nothing() {
    let mut cluster = Cluster::start().await;
    create_fast(&cluster.client("payouts-1")).await;
    let scope = of_key("fast");
    let frozen = freeze(&cluster.at(0), &scope).await.unwrap();
    cluster.kill(1);
    cluster.kill(2);
    let alone = cluster.at(0);
    let intent = lift_of(&alone, &scope, &[&frozen]);
    let refusal = alone.unfreeze(&intent).await.unwrap_err();
    let refused = refusal.refused().unwrap();
    assert_eq!(refused.reason, Reason::Participants);
    assert_eq!((&*refused.metadata["needed"], &*refused.metadata["available"]), ("2", "1"));
    assert_eq!(alone.freezes().await.unwrap(), std::slice::from_ref(&frozen.freeze));
    assert_eq!(reason(sign(&alone, say("still frozen")).await), Reason::Frozen);
    cluster.launch(1, &[]);
    cluster.serving(1).await;
    // The same request, once there are enough.
    assert_eq!(alone.unfreeze(&intent).await.unwrap().signers, 2);
    sign(&alone, say("two of three")).await.unwrap();
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    knows(&cluster, 2, 0).await;
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_running_gives_nothing_once_its_key_is_frozen() {
    let mut cluster = Cluster::start().await;
    let fast = create_fast(&cluster.client("payouts-1")).await;
    // Node 1 leads and waits for node 2, the only other one, which says nothing.
    cluster.kill(2);
    cluster.freeze(1, true);
    let leader = cluster.at(0);
    let intent = leader.seal(say("too late").request_id(RequestId([7; 16]))).unwrap();
    let running = tokio::spawn({
        let (leader, intent) = (leader.clone(), intent.clone());
        async move { leader.sign(&intent).await }
    });
    let end = Instant::now() + Duration::from_secs(10);
    while leader.request(intent.request_id()).await.is_err() {
        assert!(Instant::now() < end, "the leader must have taken the request");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let scope = of_key("fast");
    let frozen = freeze(&leader, &scope).await.unwrap();
    assert_eq!(frozen.told.acknowledged, []);
    cluster.freeze(1, false);
    assert_eq!(reason(running.await.unwrap()), Reason::Frozen);
    knows(&cluster, 1, 1).await;
    assert_eq!(reason(cluster.at(1).sign(&intent).await), Reason::Frozen);

    unfreeze(&leader, &scope, &[&frozen]).await.unwrap();
    let signed = leader.sign(&intent).await.unwrap();
    verified_ed25519(&fast, b"too late", &signed.signature);
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    logs_verify(&cluster).await;
}

/// A partial that is on a disk, and that nobody has, is as good as none while its key is frozen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_released_and_never_arrived_does_not_leave_a_frozen_node() {
    let mut cluster = Cluster::start().await;
    let fast = create_fast(&cluster.client("payouts-1")).await;
    cluster.kill(2);
    cluster.kill(1);
    cluster.launch(1, &[("TALLY_FAILPOINT", "release.after")]);
    cluster.serving(1).await;
    let leader = cluster.at(0);
    let intent = leader.seal(say("half done")).unwrap();
    leader.sign(&intent).await.unwrap_err();
    cluster.died(1).await;
    cluster.launch(1, &[]);
    cluster.serving(1).await;
    cluster.launch(2, &[]);
    cluster.serving(2).await;
    let scope = of_key("fast");
    let frozen = freeze(&leader, &scope).await.unwrap();
    for i in 0..3 {
        assert_eq!(reason(cluster.at(i).sign(&intent).await), Reason::Frozen, "node {i}");
    }
    // Nor does any other node get it by asking.
    let recover = async || {
        let mut peer = PeerServiceClient::new(raw::as_node(&cluster, 2, 1).await);
        let request = v1::RecoverRequest { intent: Some(raw::signed(&cluster, intent.intent())) };
        peer.recover(request).await.map(|answer| answer.into_inner().attempts)
    };
    assert_eq!(raw::typed(recover().await).1, Reason::Frozen);
    unfreeze(&leader, &scope, &[&frozen]).await.unwrap();
    assert!(!recover().await.unwrap()[0].partial.is_empty(), "it was released");
    verified_ed25519(&fast, b"half done", &leader.sign(&intent).await.unwrap().signature);
    logs_verify(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_node_killed_as_it_freezes_or_lifts_has_done_it_or_not() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let scope = of_key("fast");
    let armed = async |cluster: &mut Cluster, i: usize, place: &str| {
        cluster.kill(i);
        cluster.launch(i, &[("TALLY_FAILPOINT", place)]);
        cluster.serving(i).await;
    };
    let restarted = async |cluster: &mut Cluster, i: usize| {
        cluster.died(i).await;
        cluster.launch(i, &[]);
        cluster.serving(i).await;
    };
    for place in ["freeze.before", "freeze.after"] {
        let intent = client.seal(Order::freeze(&scope).unwrap()).unwrap();
        armed(&mut cluster, 0, place).await;
        cluster.at(0).freeze(&intent).await.unwrap_err();
        restarted(&mut cluster, 0).await;
        let done = usize::from(place == "freeze.after");
        assert_eq!(cluster.at(0).freezes().await.unwrap().len(), done, "{place}");
        // The others hear of it from the node that had no time to tell them; or from the same request again.
        let frozen = cluster.at(0).freeze(&intent).await.unwrap();
        assert_eq!(frozen.rule.is_none(), done == 1, "{place}");
        for i in 0..3 {
            knows(&cluster, i, 1).await;
            assert_eq!(reason(sign(&cluster.at(i), say(place)).await), Reason::Frozen);
        }
        unfreeze(&client, &scope, &[&frozen]).await.unwrap();
    }
    for place in ["lift.before", "lift.after"] {
        let frozen = freeze(&cluster.at(1), &scope).await.unwrap();
        let intent = lift_of(&client, &scope, &[&frozen]);
        armed(&mut cluster, 0, place).await;
        cluster.at(0).unfreeze(&intent).await.unwrap_err();
        restarted(&mut cluster, 0).await;
        let left = cluster.at(0).freezes().await.unwrap().len();
        assert_eq!(left, usize::from(place == "lift.before"), "{place}");
        cluster.at(0).unfreeze(&intent).await.unwrap();
        for i in 0..3 {
            knows(&cluster, i, 0).await;
            sign(&cluster.at(i), say(&format!("{place} {i}"))).await.unwrap();
        }
    }
    // One that is killed as it hears of it does not say that it has; it learns it before it serves again.
    armed(&mut cluster, 1, "freeze.before").await;
    let frozen = freeze(&cluster.at(0), &scope).await.unwrap();
    assert_eq!(frozen.told.waiting, [NodeName::parse("node-2").unwrap()]);
    restarted(&mut cluster, 1).await;
    assert_eq!(cluster.at(1).freezes().await.unwrap(), std::slice::from_ref(&frozen.freeze));
    unfreeze(&client, &scope, &[&frozen]).await.unwrap();
    logs_verify(&cluster).await;
}
