//! Streams of requests: many signed at once, and watched from a cursor on, also across a restart.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::people::*;
use crate::harness::raw;
use std::ops::ControlFlow;
use std::time::Duration;
use tally_client::{Client, RequestInfo, RequestState, Watched};
use tally_domain::{Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tokio::time::timeout;

/// What a node tells from a cursor on, until `enough`; with the cursor of each.
async fn watched(
    client: &Client,
    from: &str,
    enough: impl Fn(&[RequestInfo]) -> bool,
) -> (Vec<RequestInfo>, Vec<String>) {
    let (mut told, mut cursors) = (Vec::new(), Vec::new());
    let watching = client.watch_requests(from, |watched: Watched| {
        told.extend(watched.request);
        cursors.push(watched.cursor);
        if enough(&told) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    timeout(Duration::from_secs(30), watching).await.expect("the node must tell").unwrap();
    (told, cursors)
}

fn state_of(told: &[RequestInfo], id: RequestId) -> Option<&RequestState> {
    told.iter().rev().find(|r| r.request_id == id).map(|r| &r.state)
}

fn completed(told: &[RequestInfo], id: RequestId) -> bool {
    matches!(state_of(told, id), Some(RequestState::Completed(Some(_))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_signed_over_one_stream_and_each_change_is_told_from_a_cursor_on() {
    let mut cluster = Cluster::start().await;
    let (client, node) = (cluster.client("payouts-1"), cluster.at(0));
    let fast = create_fast(&client).await;
    create_board(&client).await;

    let orders = (0..40).map(|n| if n == 7 { pay(n, 5) } else { say(&format!("number {n}")) });
    let intents: Vec<_> = orders.map(|order| client.seal(order).unwrap()).collect();
    let outcomes = client.batch_sign(&intents).await;
    for (n, (intent, outcome)) in intents.iter().zip(&outcomes).enumerate() {
        match outcome {
            Ok(signed) => verified_ed25519(&fast, &intent.intent().content, &signed.signature),
            // There is no key `hot` here, which stops no other.
            Err(error) => assert_eq!((n, error.refused().unwrap().reason), (7, Reason::KeyNotFound)),
        }
    }
    // Each is a request as any other: the same intent gives the same bytes, alone and in a stream.
    assert_eq!(client.sign(&intents[3]).await.unwrap().signature, outcomes[3].as_ref().unwrap().signature);
    assert_eq!(
        client.batch_sign(&intents[3..4]).await[0].as_ref().unwrap().signature,
        outcomes[3].as_ref().unwrap().signature
    );

    // From the beginning on, everything; each request at least as it ended.
    let ids: Vec<_> = intents.iter().map(|i| i.request_id()).collect();
    let last = |told: &[RequestInfo]| ids.iter().enumerate().all(|(n, id)| n == 7 || completed(told, *id));
    let (told, cursors) = watched(&node, "node-1/0", last).await;
    assert!(told.iter().any(|r| r.action == "create_key" && matches!(r.state, RequestState::Completed(None))));
    assert!(matches!(state_of(&told, ids[7]), Some(RequestState::Refused(why)) if why == "KEY_NOT_FOUND"));

    // Asked for while nobody watches, waiting and then rejected: told from the cursor on.
    let cursor = cursors.last().unwrap();
    let waits = asked(&node, minute("a minute")).await.request_id();
    let (told, cursors) = watched(&node, cursor, |told| state_of(told, waits).is_some()).await;
    assert!(matches!(state_of(&told, waits), Some(RequestState::AwaitingApproval(Some(_)))), "{told:?}");
    assert!(told.iter().all(|r| !ids[10..].contains(&r.request_id)), "what was told is not told again");
    // Another node's cursor is none of this one's, and what a stopped node has told holds when it is back.
    assert_eq!(reason(cluster.at(1).watch_requests(cursor, |_| ControlFlow::Break(())).await), Reason::ParameterRange);
    let watcher = node.clone();
    let watching = tokio::spawn(async move { watcher.watch_requests("", |_| ControlFlow::Continue(())).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.stop(0);
    assert!(timeout(Duration::from_secs(20), watching).await.unwrap().is_ok(), "a watcher does not hold a node up");
    let more = client.seal(say("while node 1 is away")).unwrap();
    cluster.at(1).sign(&more).await.unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    let after = client.seal(say("and back")).unwrap();
    cluster.at(0).sign(&after).await.unwrap();
    let node = cluster.at(0);
    let (told, _) = watched(&node, cursors.last().unwrap(), |told| completed(told, after.request_id())).await;
    assert!(told.iter().all(|r| !ids.contains(&r.request_id)), "{told:?}");

    strangers(&cluster).await;
}

/// Streams ask who calls as every call does, and the envelope is checked as everywhere.
async fn strangers(cluster: &Cluster) {
    let as_node = raw::as_node(cluster, 1, 0).await;
    let request = v1::WatchRequestsRequest { tenant: "acme".into(), cursor: String::new() };
    let refused = SigningServiceClient::new(as_node).watch_requests(request.clone()).await.map(|_| ());
    assert_eq!(raw::typed(refused).1, Reason::UnknownClient);
    let mut client = SigningServiceClient::new(raw::as_client(cluster, 0).await);
    let other = v1::WatchRequestsRequest { tenant: "other".into(), ..request };
    assert_eq!(raw::typed(client.watch_requests(other).await.map(|_| ())).1, Reason::Acl);
    let forged = raw::envelope(cluster, "payouts-2", vec![0xff; 8]);
    let intents = [None, Some(forged)].map(|intent| v1::BatchSignRequest { intent });
    let mut answers = client.batch_sign(tokio_stream::iter(intents)).await.unwrap().into_inner();
    let mut reasons = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let Some(v1::batch_sign_response::Outcome::Failure(failure)) = answer.outcome else { panic!() };
        reasons.push((answer.index, failure.reason));
    }
    reasons.sort();
    assert_eq!(reasons, [(0, "MALFORMED".to_owned()), (1, "MALFORMED".to_owned())]);
}
