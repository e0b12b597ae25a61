//! What other nodes may say: only members, only for themselves, only what the protocol says; everything else is typed.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use crate::harness::watch;
use tally_client::SealedIntent;
use tally_domain::{Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::peer_service_client::PeerServiceClient;
use tonic::Code;
use tonic::transport::Channel;

/// Node 2, in person, proposes to node 1 to sign `intent` with S = {1, 2}.
async fn propose(
    cluster: &Cluster,
    peer: &mut PeerServiceClient<Channel>,
    session: [u8; 16],
    intent: &SealedIntent,
) -> Result<tonic::Response<v1::ProposeSignResponse>, tonic::Status> {
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    peer.propose_sign(v1::ProposeSignRequest {
        session: session.to_vec(),
        intent: Some(raw::signed(cluster, intent.intent())),
        attempt: 1,
        signers: vec![1, 2],
        bundle_digest: bundle.digest().0.to_vec(),
        abandonments: Vec::new(),
        claims: Vec::new(),
        approvals: vec![],
    })
    .await
}

fn frame(session: [u8; 16], from: u32, message: Vec<u8>) -> v1::DeliverRequest {
    v1::DeliverRequest { session: session.to_vec(), from, message }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_20_a_peer_that_lies_about_its_index_or_breaks_the_protocol_is_refused_by_name() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let mut node2 = PeerServiceClient::new(raw::as_node(&cluster, 1, 0).await);
    let mut node3 = PeerServiceClient::new(raw::as_node(&cluster, 2, 0).await);

    let intent = client.seal(say("with a liar").request_id(RequestId([1; 16]))).unwrap();
    propose(&cluster, &mut node2, [1; 16], &intent).await.unwrap();

    // Node 2 claims to be party 3; node 3, which is not in S, claims to be party 2, and then says who it is.
    let lie = node2.deliver(frame([1; 16], 3, vec![1, 0])).await;
    assert_eq!(typed(lie), (Code::InvalidArgument, Reason::ProtocolViolation));
    for claimed in [2, 3] {
        let outsider = node3.deliver(frame([1; 16], claimed, vec![1, 0])).await;
        assert_eq!(typed(outsider), (Code::Unauthenticated, Reason::UnknownNode));
    }

    // While that session runs, nobody else can start one for the request; the same session id is taken.
    assert_eq!(typed(propose(&cluster, &mut node2, [2; 16], &intent).await).1, Reason::Contention);
    let other = client.seal(say("same session").request_id(RequestId([2; 16]))).unwrap();
    assert_eq!(typed(propose(&cluster, &mut node2, [1; 16], &other).await).1, Reason::Malformed);

    // Garbage ends the session with node 2's name in the log of node 1, and the request can then be signed properly.
    node2.deliver(frame([1; 16], 2, b"garbage".to_vec())).await.unwrap();
    let said = client.sign(&intent).await.unwrap();
    assert!(!said.signature.is_empty());
    assert!(cluster.log_of(0).contains("PROTOCOL_VIOLATION"), "{}", cluster.log_of(0));
    let numbers = watch::shown(&cluster, 0);
    let failed = "tally_session_failures_total{session=\"sign\",reason=\"PROTOCOL_VIOLATION\"}";
    let blamed = ["tally_blame_total{peer=\"node-2\"}", "tally_blame_total{peer=\"node-3\"}", failed];
    assert_eq!(blamed.map(|series| watch::value(&numbers, series)), [1.0, 0.0, 1.0]);

    // Too large for any round.
    let big = node2.deliver(frame([3; 16], 2, vec![0; 300 * 1024])).await;
    assert_eq!(typed(big), (Code::InvalidArgument, Reason::Oversized));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_are_admitted_by_the_peer_itself() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    create_hot(&client).await;
    let mut node2 = PeerServiceClient::new(raw::as_node(&cluster, 1, 0).await);

    // A leader that proposes what policy denies is told so by the peer.
    let denied = client.seal(pay(0, 5_000)).unwrap();
    let outcome = propose(&cluster, &mut node2, [1; 16], &denied).await;
    assert_eq!(typed(outcome), (Code::PermissionDenied, Reason::PolicyDenied));

    // Signer sets that are not t members with leader and peer in them.
    let intent = client.seal(say("sets")).unwrap();
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let mut request = v1::ProposeSignRequest {
        session: vec![2; 16],
        intent: Some(raw::signed(&cluster, intent.intent())),
        attempt: 1,
        signers: vec![1, 2],
        bundle_digest: bundle.digest().0.to_vec(),
        abandonments: Vec::new(),
        claims: Vec::new(),
        approvals: vec![],
    };
    for signers in [vec![], vec![1], vec![1, 1], vec![1, 3], vec![2, 3], vec![1, 2, 3], vec![1, 9], vec![0, 1]] {
        request.signers.clone_from(&signers);
        let outcome = node2.propose_sign(request.clone()).await;
        assert_eq!(typed(outcome), (Code::InvalidArgument, Reason::ParameterRange), "{signers:?}");
    }
    request.signers = vec![1, 2];
    request.bundle_digest = vec![0; 32];
    assert_eq!(typed(node2.propose_sign(request.clone()).await).1, Reason::BundleMismatch);
    request.bundle_digest = bundle.digest().0.to_vec();
    request.attempt = 0;
    assert_eq!(typed(node2.propose_sign(request.clone()).await).1, Reason::ParameterRange);

    // A leader that does not wait for the answer is not worked for: nothing is written down.
    let hurried = client.seal(say("too late").request_id(RequestId([7; 16]))).unwrap();
    request.intent = Some(raw::signed(&cluster, hurried.intent()));
    request.attempt = 1;
    let method = "tally.v1.PeerService/ProposeSign";
    let refused = crate::overload::too_late(&cluster, &cluster.nodes[1].tls, method, &request).await;
    assert_eq!(typed::<()>(Err(refused)), (Code::DeadlineExceeded, Reason::Deadline));
    assert_eq!(reason(cluster.at(0).request(RequestId([7; 16])).await), Reason::RequestNotFound);

    // A made-up result is not kept.
    let made_up = v1::CompleteRequest { intent: Some(raw::signed(&cluster, intent.intent())), result: vec![1, 2, 3] };
    assert_eq!(typed(node2.complete(made_up).await).1, Reason::ProtocolViolation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_not_nodes_and_nodes_are_not_clients() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let intent = client.seal(say("x")).unwrap();
    let mut as_client = PeerServiceClient::new(raw::as_client(&cluster, 0).await);
    let outcome = propose(&cluster, &mut as_client, [1; 16], &intent).await;
    assert_eq!(typed(outcome), (Code::Unauthenticated, Reason::UnknownNode));
    let channel = raw::as_node(&cluster, 1, 0).await;
    let outcome = raw::sign(channel, raw::signed(&cluster, intent.intent())).await;
    assert_eq!(typed(outcome), (Code::Unauthenticated, Reason::UnknownClient));

    // Another node's greeting, brought by node 2.
    let mut node2 = PeerServiceClient::new(raw::as_node(&cluster, 1, 0).await);
    let mut node3 = PeerServiceClient::new(raw::as_node(&cluster, 1, 2).await);
    assert_eq!(typed(node2.greet(v1::GreetRequest { greeting: None }).await).1, Reason::Malformed);
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let stolen = v1::FetchKeyRequest { name: "nothing".into() };
    assert_eq!(typed(node3.fetch_key(stolen).await).1, Reason::KeyNotFound);
    assert_eq!(bundle.version(), 1);
}
