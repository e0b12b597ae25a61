//! Limits on what one node does alone: exact whoever is asked and however many at once, durable through every kill, and
//! provable from the logs.

use crate::freezes::{freeze, unfreeze};
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use crate::harness::vault::*;
use crate::main_job::logs_of;
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tally_audit::event::{Event, What};
use tally_client::{Client, ClientError, Order, RequestState};
use tally_domain::facts::{Facts, MessageFacts};
use tally_domain::vote::{HomeTask, VoteBody};
use tally_domain::{
    Attempt, Charge, Claims, Digest, HsmScheme, Intent, Interval, LineClaim, Purpose, Reason, RequestId, Scope,
    UnixMillis,
};
use tally_policy::{Bundle, DecisionRequest, PolicyAction};
use tally_proto::v1;
use tally_proto::v1::peer_service_client::PeerServiceClient;

const LIMITS: &str = r#"
[[limit]]
id = "jwt-day"
key = "jwt"
count = 5
per = "24h"

[[limit]]
id = "hot-usdc-day"
key = "hot"
asset = "USDC"
max = "1_000"
per = "24h"

[[limit]]
id = "unwraps"
action = "unwrap"
count = 10
per = "24h"
by = ["client"]
"#;

/// Three nodes whose bundle has limits.
async fn limited() -> Cluster {
    limited_with(|roster| roster).await
}

async fn limited_with(roster: impl FnOnce(String) -> String) -> Cluster {
    let mut cluster = Cluster::prepare(3);
    let policy = cluster.dir.path().join("policy");
    std::fs::write(policy.join("limits.toml"), LIMITS).unwrap();
    let text = std::fs::read_to_string(policy.join("roster.toml")).unwrap();
    std::fs::write(policy.join("roster.toml"), roster(text)).unwrap();
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    cluster
}

/// A key in the HSM of a node, once every node knows it.
async fn key_of(cluster: &Cluster, name: &str, node: usize, scheme: HsmScheme, purpose: Purpose) {
    create_hsm(&cluster.client("payouts-1"), name, &in_hsm_of(node, scheme, purpose)).await.unwrap();
    known(cluster, name).await;
}

async fn vault_of(cluster: &Cluster, name: &str, node: usize) {
    create_kek(&cluster.client("payouts-1"), name, node).await.unwrap();
    known(cluster, name).await;
}

async fn known(cluster: &Cluster, name: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    for i in 0..3 {
        while cluster.at(i).key(&key(name)).await.map(|k| k.state).ok().as_deref() != Some("active") {
            assert!(Instant::now() < end, "node {i} does not know {name}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn jwt(cluster: &Cluster, node: usize) {
    key_of(cluster, "jwt", node, HsmScheme::EcdsaP256, Purpose::Message).await;
}

fn token(text: &str) -> Order {
    Order::sign_message(key("jwt"), text.as_bytes().to_vec())
}

/// The limit that has no room; any other outcome fails the test.
fn no_room<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> String {
    let error = outcome.expect_err("the limit is used up");
    let refused = error.refused().unwrap_or_else(|| panic!("not a typed refusal: {error:?}"));
    assert_eq!(refused.reason, Reason::VelocityLimit);
    refused.metadata["limit"].clone()
}

/// How many more tokens the limit of `jwt` allows.
async fn headroom(client: &Client) -> usize {
    for n in 0..=5 {
        let signed = sign(client, token(&format!("headroom {n}"))).await;
        if signed.is_err() {
            assert_eq!(no_room(signed), "jwt-day");
            return n;
        }
    }
    panic!("the limit does not hold");
}

/// How many certificates of its own work a node's log holds, and how many votes.
async fn certified(cluster: &Cluster, node: usize) -> (usize, usize) {
    let leaves = &logs_of(cluster).await[node].entries;
    let count = |is: fn(&What) -> bool| leaves.iter().filter(|l| is(&Event::from_leaf(l).unwrap().what)).count();
    (count(|what| matches!(what, What::Certified { .. })), count(|what| matches!(what, What::Voted { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_key_in_an_hsm_signs_within_its_limits_whichever_node_is_asked() {
    let cluster = limited().await;
    let client = cluster.client("payouts-1");
    jwt(&cluster, 0).await;
    key_of(&cluster, "hot", 1, HsmScheme::EcdsaSecp256k1, Purpose::Transaction).await;
    key_of(&cluster, "free", 2, HsmScheme::Ed25519, Purpose::Message).await;

    for n in 0..5 {
        let id = RequestId([n + 1; 16]);
        let intent = client.seal(token(&format!("token {n}")).request_id(id)).unwrap();
        let first = client.rotated(n.into()).sign(&intent).await.unwrap();
        // Again, from anywhere: the same bytes, and nothing more is taken.
        for i in 0..3 {
            assert_eq!(client.rotated(i).sign(&intent).await.unwrap(), first);
        }
        // Voters have heard of the request; its home tells of it.
        for i in 0..3 {
            let found = client.rotated(i).find_request(id).await.unwrap();
            assert!(matches!(found.state, RequestState::Completed(Some(s)) if *s == first), "asked at {i}");
        }
        let told = cluster.at(1).requests(10, None).await.unwrap().requests;
        assert!(told.iter().all(|r| r.request_id != id), "a voter does not list what it cannot tell the end of");
    }
    for i in 0..3 {
        assert_eq!(no_room(sign(&client.rotated(i), token("one too many")).await), "jwt-day");
    }
    assert_eq!(certified(&cluster, 0).await, (5, 5));
    let full = client.seal(token("explained")).unwrap();
    assert_eq!(no_room(cluster.at(0).sign(&full).await), "jwt-day");
    let told = cluster.at(0).explain(full.request_id()).await.unwrap();
    let last = told.decisions.last().unwrap();
    assert_eq!((last.reason.as_deref(), last.limits[0].limit.as_str()), (Some("VELOCITY_LIMIT"), "jwt-day"));
    assert_eq!(last.limits[0].stands.map(|s| (s.taken, s.left, s.full)), Some((5, 0, true)));
    assert_eq!(told.outcome.unwrap().state, "refused");
    let at_home = cluster.at(1).explain(RequestId([1; 16])).await.unwrap();
    assert!(at_home.outcome.is_none() && !at_home.decisions.is_empty(), "its home tells of it");

    sign(&client, pay(0, 600)).await.unwrap();
    assert_eq!(no_room(sign(&client, pay(1, 401)).await), "hot-usdc-day");
    sign(&client, pay(2, 400)).await.unwrap();
    assert_eq!(no_room(sign(&client, pay(3, 1)).await), "hot-usdc-day");
    for n in 0..6 {
        sign(&client, Order::sign_message(key("free"), vec![n])).await.unwrap();
    }
    assert_eq!(certified(&cluster, 1).await, (2, 7));
    assert_eq!(certified(&cluster, 2).await, (0, 7));
    verified(&cluster).await;
}

/// Opens as often as it takes until it is opened or there is no room: the same request, which keeps what it has of a line.
/// Where a machine has more to do than it can, voters do not answer in time.
async fn opens_at_last(caller: &Client, vault: &str, blob: &[u8]) -> Result<Vec<u8>, ClientError> {
    let intent = caller.seal(Order::unwrap(key(vault), ledger(), blob)).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match bytes(caller.unwrap(&intent, blob).await) {
            Err(error) if error.is_transient() && Instant::now() < end => {}
            outcome => return outcome,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_sixteen_callers_at_once_open_as_much_as_the_limit_of_each_client_and_no_more() {
    // A witness votes on what others do alone, too.
    let witness =
        |roster: String| roster.replacen("\"node-3\"\nrole = \"signer\"", "\"node-3\"\nrole = \"witness\"", 1);
    let cluster = limited_with(witness).await;
    let client = cluster.client("payouts-1");
    vault_of(&cluster, "vault", 0).await;
    vault_of(&cluster, "other", 1).await;
    let blob = wrap(&client, "vault", b"secret").await.unwrap().blob;
    let beside = wrap(&client, "other", b"secret").await.unwrap().blob;
    let callers: Vec<_> = (0..16).map(|n| client.rotated(n)).collect();
    let outcomes = join_all(callers.iter().map(|caller| opens_at_last(caller, "vault", &blob))).await;
    let opened = outcomes.iter().filter(|o| o.as_deref().is_ok_and(|plain| plain == b"secret")).count();
    assert_eq!(opened, 10, "{outcomes:?}");
    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(no_room(refused), "unwraps");
    }
    // The line is the client's, whichever KEK opens; wrapping is not limited, and another client has a line of its own.
    assert_eq!(no_room(opens_at_last(&client, "other", &beside).await), "unwraps");
    wrap(&client, "vault", b"more").await.unwrap();

    // Two homes and one line at the same time: sometimes less, never more.
    let second = cluster.client("payouts-2");
    let callers: Vec<_> = (0..16).map(|n| (second.rotated(n), n % 2 == 0)).collect();
    let open = async |(caller, first): &(Client, bool)| match first {
        true => opens_at_last(caller, "vault", &blob).await,
        false => opens_at_last(caller, "other", &beside).await,
    };
    let outcomes = join_all(callers.iter().map(open)).await;
    let opened = outcomes.iter().filter(|o| o.is_ok()).count();
    assert!((1..=10).contains(&opened), "{opened}: {outcomes:?}");
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_limited_needs_voters_and_what_is_not_works_alone() {
    let mut cluster = limited().await;
    jwt(&cluster, 0).await;
    key_of(&cluster, "free", 0, HsmScheme::Ed25519, Purpose::Message).await;
    vault_of(&cluster, "vault", 0).await;
    let home = cluster.at(0);
    let blob = wrap(&home, "vault", b"secret").await.unwrap().blob;
    let shown = home.seal(Order::unwrap(key("vault"), ledger(), &blob)).unwrap();
    home.unwrap(&shown, &blob).await.unwrap();
    cluster.kill(1);
    cluster.kill(2);
    let intent = home.seal(token("later")).unwrap();
    let refused = home.sign(&intent).await.unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.reason, Reason::Voters);
    assert!(refused.metadata["node"].contains("node-2") || refused.metadata["node"].contains("node-3"));
    assert_eq!(reason(bytes(open_with(&home, "vault", ledger(), &blob).await)), Reason::Voters);
    sign(&home, Order::sign_message(key("free"), b"alone".to_vec())).await.unwrap();
    wrap(&home, "vault", b"alone").await.unwrap();
    // What was opened before is shown again; that takes nothing.
    assert_eq!(home.unwrap(&shown, &blob).await.unwrap().plaintext.expose(), b"secret");

    cluster.launch(1, &[]);
    cluster.launch(2, &[]);
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    client.sign(&intent).await.unwrap();
    assert_eq!(headroom(&client).await, 4, "the try without voters took what its retry has kept");
    verified(&cluster).await;
}

/// A node that is killed at a place while `jwt`'s home works on an intent, which is then asked for again.
async fn killed_at(cluster: &mut Cluster, victim: usize, place: &str) {
    let client = cluster.client("payouts-1");
    let intent = client.seal(token(place)).unwrap();
    cluster.kill(victim);
    cluster.launch(victim, &[("TALLY_FAILPOINT", place)]);
    cluster.serving(victim).await;
    cluster.at(0).sign(&intent).await.unwrap_err();
    cluster.died(victim).await;
    cluster.launch(victim, &[]);
    cluster.serving(victim).await;
    let signed = client.sign(&intent).await.unwrap();
    for i in 0..3 {
        assert_eq!(client.rotated(i).sign(&intent).await.unwrap(), signed, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_home_killed_around_its_vote_its_certificate_and_its_work_takes_the_same_once() {
    let mut cluster = limited().await;
    jwt(&cluster, 0).await;
    for place in ["vote.after", "release.before", "release.after", "complete.before"] {
        killed_at(&mut cluster, 0, place).await;
    }
    assert_eq!(headroom(&cluster.client("payouts-1")).await, 1);
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_voter_killed_around_its_vote_takes_the_same_once() {
    let mut cluster = limited().await;
    jwt(&cluster, 0).await;
    for place in ["concur.before", "concur.after"] {
        killed_at(&mut cluster, 1, place).await;
    }
    assert_eq!(headroom(&cluster.client("payouts-1")).await, 3);
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_key_takes_nothing_of_its_limit() {
    let cluster = limited().await;
    let client = cluster.client("payouts-1");
    jwt(&cluster, 0).await;
    vault_of(&cluster, "vault", 0).await;
    let blob = wrap(&client, "vault", b"secret").await.unwrap().blob;
    let everything = Scope::All;
    let frozen = freeze(&cluster.at(1), &everything).await.unwrap();
    for n in 0..3 {
        assert_eq!(reason(sign(&client, token(&format!("frozen {n}"))).await), Reason::Frozen);
        assert_eq!(reason(bytes(open_with(&client, "vault", ledger(), &blob).await)), Reason::Frozen);
    }
    assert_eq!(certified(&cluster, 0).await, (0, 0));
    unfreeze(&client, &everything, &[&frozen]).await.unwrap();
    assert_eq!(headroom(&client).await, 5);
    verified(&cluster).await;
}

/// What `jwt`'s home asks others to vote for.
fn asked_for(bundle: &Bundle, intent: &Intent, from_unit: u128) -> VoteBody {
    let facts = Facts::Message(MessageFacts { bytes: intent.content.len() as u64, text: true });
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action: PolicyAction::Sign(&facts) };
    let charges: Vec<Charge> = tally_policy::charges(bundle, &request).unwrap();
    let piece = Interval::new(from_unit, from_unit + 1).unwrap();
    let lines = charges.iter().map(|charge| LineClaim::new(charge, vec![piece]).unwrap()).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let task = HomeTask {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        home: home(0),
        digest: Digest::of(&intent.content),
        bundle: bundle.digest(),
        rule: "messages".into(),
        approvals: Vec::new(),
    };
    task.body(Attempt(1), Claims::new(UnixMillis(now.try_into().unwrap()), lines).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_votes_on_anothers_work_only_if_its_home_asks_for_what_the_voter_computes_itself() {
    let cluster = limited().await;
    let client = cluster.client("payouts-1");
    jwt(&cluster, 0).await;
    vault_of(&cluster, "vault", 0).await;
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let ask = async |from: usize, intent: &Intent, body: &VoteBody| {
        let request = v1::VoteRequest {
            approvals: Vec::new(),
            intent: Some(raw::signed(&cluster, intent)),
            vote: body.to_bytes(),
            bundle_digest: bundle.digest().0.to_vec(),
            told: None,
        };
        let answer = PeerServiceClient::new(raw::as_node(&cluster, from, 2).await).vote(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let sealed = client.seal(token("asked for")).unwrap();
    let (intent, good) = (sealed.intent(), asked_for(&bundle, sealed.intent(), 0));
    assert_eq!(raw::typed(ask(1, intent, &good).await).1, Reason::ProtocolViolation, "not the home");
    let of_a_session = VoteBody { session: Digest([1; 32]), ..good.clone() };
    assert_eq!(raw::typed(ask(0, intent, &of_a_session).await).1, Reason::KeyNotFound, "no threshold key");
    let another_rule = HomeTask { rule: "another".into(), ..task_of(&good) };
    let other_digest = HomeTask { digest: Digest([9; 32]), ..task_of(&good) };
    let other_home = HomeTask { home: home(1), ..task_of(&good) };
    for other in [another_rule, other_digest, other_home] {
        let body = other.body(Attempt(1), good.claims.clone().unwrap());
        assert_eq!(raw::typed(ask(0, intent, &body).await).1, Reason::ProtocolViolation, "{body:?}");
    }
    // Of a KEK's work the home has to tell what only it knows.
    let drawn = client.seal(Order::unwrap(key("vault"), ledger(), b"wrapped")).unwrap();
    let untold = HomeTask { request_id: drawn.request_id(), ..task_of(&good) };
    let untold = untold.body(Attempt(1), good.claims.clone().unwrap());
    assert_eq!(raw::typed(ask(0, drawn.intent(), &untold).await).1, Reason::Malformed);

    assert!(ask(0, intent, &good).await.unwrap().vote.is_some());
    let second = client.seal(token("in the way")).unwrap();
    let beside = ask(0, second.intent(), &asked_for(&bundle, second.intent(), 0)).await.unwrap();
    assert!(beside.vote.is_none() && beside.in_the_way.len() == 1);
    assert!(ask(0, second.intent(), &asked_for(&bundle, second.intent(), 1)).await.unwrap().vote.is_some());
}

fn task_of(body: &VoteBody) -> HomeTask {
    HomeTask {
        tenant: body.tenant.clone(),
        request_id: body.request_id,
        intent_digest: body.intent_digest,
        home: body.home().unwrap().clone(),
        digest: body.digest,
        bundle: body.bundle,
        rule: body.rule.clone(),
        approvals: body.approvals.clone(),
    }
}
