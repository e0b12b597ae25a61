//! Bad input: each kind has a typed answer, and nothing is signed.

use crate::harness::certs::Authority;
use crate::harness::cluster::{CLUSTER, Cluster, TENANT};
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use prost::Message as _;
use tally_domain::time::INTENT_VALIDITY_MAX_MS;
use tally_domain::{
    Action, ClientId, ClusterId, ContentKind, DerivationPath, Intent, Purpose, Reason, RequestId, Tenant, UnixMillis,
};
use tally_proto::v1;
use tonic::Code;

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(since.as_millis()).unwrap())
}

/// A good request for the key `fast`, under its own id.
fn message(id: u8) -> Intent {
    Intent {
        request_id: RequestId([id; 16]),
        tenant: Tenant::parse(TENANT).unwrap(),
        client: ClientId::parse("payouts-1").unwrap(),
        action: Action::Sign,
        key: key("fast"),
        path: DerivationPath::default(),
        kind: ContentKind::Message,
        chain: String::new(),
        content: b"hello".to_vec(),
        purpose: Purpose::Message,
        not_before: now().minus(1_000),
        expires_at: now().plus(60_000),
        min_bundle_version: 1,
        note: String::new(),
        cluster: ClusterId::parse(CLUSTER).unwrap(),
    }
}

fn transaction(id: u8, content: Vec<u8>) -> Intent {
    Intent {
        key: key("hot"),
        kind: ContentKind::EvmTransaction,
        chain: "eip155:1".into(),
        content,
        purpose: Purpose::Transaction,
        ..message(id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intents_that_must_be_refused_are_refused_with_their_reason() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    create_hot(&client).await;
    let channel = raw::as_client(&cluster, 0).await;
    let other = |change: fn(&mut Intent), id: u8| {
        let mut intent = message(id);
        change(&mut intent);
        intent
    };
    let good = usdc(1, 0, 1_000_000);
    let cases: Vec<(Intent, Reason, Code)> = vec![
        (other(|i| i.expires_at = now().minus(5_000), 1), Reason::ValidityTooLong, Code::InvalidArgument),
        (
            other(|i| (i.not_before, i.expires_at) = (now().minus(60_000), now().minus(5_000)), 2),
            Reason::Expired,
            Code::FailedPrecondition,
        ),
        (
            other(|i| (i.not_before, i.expires_at) = (now().plus(30_000), now().plus(60_000)), 3),
            Reason::TooEarly,
            Code::FailedPrecondition,
        ),
        (
            other(|i| i.expires_at = i.not_before.plus(INTENT_VALIDITY_MAX_MS + 1), 4),
            Reason::ValidityTooLong,
            Code::InvalidArgument,
        ),
        (other(|i| i.min_bundle_version = 2, 5), Reason::StalePolicy, Code::FailedPrecondition),
        (other(|i| i.key = key("nothing"), 6), Reason::KeyNotFound, Code::NotFound),
        (other(|i| i.tenant = Tenant::parse("other").unwrap(), 7), Reason::Acl, Code::PermissionDenied),
        (other(|i| i.cluster = ClusterId::parse("prod").unwrap(), 21), Reason::Acl, Code::PermissionDenied),
        (other(|i| i.purpose = Purpose::Transaction, 8), Reason::KeyPurpose, Code::PermissionDenied),
        (other(|i| i.key = key("hot"), 9), Reason::KeyPurpose, Code::PermissionDenied),
        (other(|i| i.kind = ContentKind::RawDigest, 10), Reason::KeyPurpose, Code::PermissionDenied),
        (other(|i| i.action = Action::CreateKey, 11), Reason::Malformed, Code::InvalidArgument),
        (other(|i| i.content = Vec::new(), 12), Reason::Malformed, Code::InvalidArgument),
        (other(|i| i.kind = ContentKind::EvmTransaction, 13), Reason::KeyScheme, Code::InvalidArgument),
        (transaction(14, vec![2, 0xc0]), Reason::TxUnparseable, Code::InvalidArgument),
        (transaction(15, vec![0x7f, 1, 2, 3]), Reason::TxUnparseable, Code::InvalidArgument),
        (transaction(16, usdc(137, 0, 1_000_000)), Reason::ChainMismatch, Code::InvalidArgument),
        (
            Intent { chain: "eip155:5".into(), ..transaction(17, good.clone()) },
            Reason::ChainMismatch,
            Code::InvalidArgument,
        ),
        (transaction(18, call(1, 0, vec![1, 2, 3, 4])), Reason::TxOpaque, Code::PermissionDenied),
        (
            Intent { client: ClientId::parse("reader").unwrap(), ..transaction(19, good.clone()) },
            Reason::UnknownClient,
            Code::Unauthenticated,
        ),
    ];
    for (intent, reason, code) in cases {
        let outcome = raw::sign(channel.clone(), raw::signed(&cluster, &intent)).await;
        assert_eq!(typed(outcome), (code, reason), "{intent:?}");
    }

    // In no group: denied by policy, under its own certificate.
    let reader = raw::connect(&cluster, 0, &cluster.clients["reader"].tls).await.unwrap();
    let intent = Intent { client: ClientId::parse("reader").unwrap(), ..transaction(20, good.clone()) };
    let denied = typed(raw::sign(reader.clone(), raw::signed(&cluster, &intent)).await);
    assert_eq!(denied, (Code::PermissionDenied, Reason::PolicyDenied));

    // A refused id is not free for another intent.
    let reused = raw::sign(channel.clone(), raw::signed(&cluster, &transaction(18, good))).await;
    assert_eq!(typed(reused), (Code::AlreadyExists, Reason::RequestIdConflict));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_certificate_or_a_tampered_intent_signs_nothing() {
    let cluster = Cluster::start().await;
    create_fast(&cluster.client("payouts-1")).await;
    let channel = raw::as_client(&cluster, 0).await;
    let unauthenticated = |reason| (Code::Unauthenticated, reason);

    // The certificate of payouts-1, but not its intent key.
    let mut stolen = raw::signed(&cluster, &message(1));
    let payload = stolen.payload.clone();
    stolen.signatures = raw::envelope(&cluster, "reader", payload).signatures;
    assert_eq!(typed(raw::sign(channel.clone(), stolen).await), unauthenticated(Reason::IntentSignature));

    // A captured intent, under another client's certificate.
    let reader = raw::connect(&cluster, 0, &cluster.clients["reader"].tls).await.unwrap();
    let captured = raw::signed(&cluster, &message(2));
    assert_eq!(typed(raw::sign(reader, captured).await), unauthenticated(Reason::UnknownClient));

    // A certificate of our authority that the roster does not know; and one of the right name with another key.
    for name in ["nobody", "payouts-1"] {
        let unknown = cluster.authority.issue(&format!("spiffe://{CLUSTER}/client/{name}"));
        let channel = raw::connect(&cluster, 0, &unknown).await.unwrap();
        let outcome = raw::sign(channel, raw::signed(&cluster, &message(3))).await;
        assert_eq!(typed(outcome), unauthenticated(Reason::UnknownClient), "{name}");
    }

    // A certificate of another authority does not get as far as a call.
    let foreign = Authority::new().issue(&format!("spiffe://{CLUSTER}/client/payouts-1"));
    let refused = match raw::connect(&cluster, 0, &foreign).await {
        Err(_) => true,
        Ok(channel) => raw::sign(channel, raw::signed(&cluster, &message(4))).await.is_err(),
    };
    assert!(refused, "TLS must refuse another authority's certificate");

    // Every byte of the signed payload and of the signature flipped; a client that does not exist; no client.
    let good = raw::signed(&cluster, &message(5));
    for i in 0..good.payload.len() {
        let mut bad = good.clone();
        bad.payload[i] ^= 1;
        typed(raw::sign(channel.clone(), bad).await);
    }
    for i in 0..good.signatures[0].signature.len() {
        let mut bad = good.clone();
        bad.signatures[0].signature[i] ^= 1;
        assert_eq!(typed(raw::sign(channel.clone(), bad).await).1, Reason::IntentSignature);
    }
    let mut other_type = good.clone();
    other_type.payload_type.push('x');
    assert_eq!(typed(raw::sign(channel.clone(), other_type).await).1, Reason::IntentSignature);
    let mut no_signature = good.clone();
    no_signature.signatures.clear();
    assert_eq!(typed(raw::sign(channel.clone(), no_signature).await).1, Reason::IntentSignature);

    // Replayed, it gives what it gave, to the byte; no second signature is made.
    let first = raw::sign(channel.clone(), good.clone()).await.unwrap();
    let second = raw::sign(channel, good).await.unwrap();
    assert_eq!(first.encode_to_vec(), second.encode_to_vec());
}

/// `SignRequest` with a number where the envelope belongs.
#[derive(Clone, PartialEq, prost::Message)]
struct Garbled {
    #[prost(uint64, tag = "1")]
    intent: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_malformed_or_too_large_have_a_typed_answer() {
    let cluster = Cluster::start().await;
    let channel = raw::as_client(&cluster, 0).await;

    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/tally.v1.SigningService/Sign");
    let codec = tonic_prost::ProstCodec::<Garbled, v1::SignResponse>::default();
    let garbled = grpc.unary(tonic::Request::new(Garbled { intent: 7 }), path, codec).await;
    assert_eq!(typed(garbled), (Code::InvalidArgument, Reason::Malformed));

    // Signed, but with a field that nobody knows; not protobuf at all; no intent.
    let mut unknown = message(1).to_bytes();
    unknown.extend_from_slice(&[0x98, 0x06, 0x01]);
    for payload in [unknown, b"not protobuf".to_vec()] {
        let outcome = raw::sign(channel.clone(), raw::envelope(&cluster, "payouts-1", payload)).await;
        assert_eq!(typed(outcome), (Code::InvalidArgument, Reason::Malformed));
    }
    let mut service = v1::signing_service_client::SigningServiceClient::new(channel.clone());
    let empty = service.sign(v1::SignRequest { intent: None }).await;
    assert_eq!(typed(empty), (Code::InvalidArgument, Reason::Malformed));

    // Over the limit of an intent, and over the limit of any message.
    for size in [70_000, 600_000] {
        let mut big = message(2);
        big.content = vec![b'x'; size];
        let outcome = raw::sign(channel.clone(), raw::signed(&cluster, &big)).await;
        assert_eq!(typed(outcome), (Code::InvalidArgument, Reason::Oversized), "{size}");
    }
}
