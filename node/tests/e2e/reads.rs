//! Reading: requests, keys, policy, nodes, logs, reflection and health; each to whom it may be shown.

use crate::harness::cluster::{Cluster, TENANT};
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use tally_client::RequestState;
use tally_domain::{DerivationPath, Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::audit_service_client::AuditServiceClient;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_keys_policy_and_nodes_can_be_read() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    for n in 1..=5u8 {
        sign(&client, say("page").request_id(RequestId([n; 16]))).await.unwrap();
    }
    assert_eq!(reason(sign(&client, pay(0, 1).request_id(RequestId([6; 16]))).await), Reason::KeyNotFound);

    let mut ids = Vec::new();
    let mut page = client.requests(3, None).await.unwrap();
    loop {
        ids.extend(page.requests.iter().map(|r| r.request_id));
        let Some(next) = page.next.take() else { break };
        page = client.requests(3, Some(&next)).await.unwrap();
    }
    assert_eq!(ids.len(), 7, "five messages, one refusal, one key");
    let refused = client.request(RequestId([6; 16])).await.unwrap();
    assert_eq!(refused.state, RequestState::Refused("KEY_NOT_FOUND".into()));
    assert_eq!(reason(client.request(RequestId([99; 16])).await), Reason::RequestNotFound);

    assert_eq!(client.keys().await.unwrap().len(), 1);
    assert_eq!(reason(client.key(&key("nothing")).await), Reason::KeyNotFound);
    let path = DerivationPath::parse("m/1").unwrap();
    let child = client.derive(&key("fast"), &path).await.unwrap();
    assert_eq!(cluster.at(1).derive(&key("fast"), &path).await.unwrap(), child);
    let rules: Vec<_> = client.policy().await.unwrap().rules.into_iter().map(|r| r.id).collect();
    let expected = [
        "payouts-small",
        "messages",
        "minutes",
        "payouts-large",
        "make-keys",
        "vendors-collect",
        "vendors-collect-large",
        "mail",
        "suppliers",
        "raw",
        "vaults",
        "make-keks",
        "change-keks",
        "stop",
        "go-on",
        "cards",
        "refunds",
        "support",
        "domains",
        "veto",
    ];
    assert_eq!(rules, expected);
    let limits = cluster.proc_file(0, "limits").unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "S-3.1: no core dumps");
    let node = client.node().await.unwrap();
    assert!(node.hsm.error.is_none() && node.peers.len() == 2 && node.log_size > 0, "{node:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_for_auditors_and_requests_for_their_tenant() {
    let cluster = Cluster::start().await;
    let reader = raw::connect(&cluster, 0, &cluster.clients["reader"].tls).await.unwrap();
    let mut audit = AuditServiceClient::new(reader);
    let denied = (Code::PermissionDenied, Reason::Acl);
    assert_eq!(typed(audit.read_entries(v1::ReadEntriesRequest { from: 0, limit: 0 }).await), denied);
    assert_eq!(typed(audit.get_checkpoint(v1::GetCheckpointRequest {}).await), denied);

    let mut signing = SigningServiceClient::new(raw::as_client(&cluster, 0).await);
    let list = |tenant: &str, token: &str| v1::ListRequestsRequest {
        tenant: tenant.into(),
        page_size: 0,
        page_token: token.into(),
    };
    assert_eq!(typed(signing.list_requests(list("other", "")).await), denied);
    assert_eq!(typed(signing.list_requests(list(TENANT, "x")).await).1, Reason::Malformed);
    let get = v1::GetRequestRequest { tenant: "other".into(), request_id: vec![1; 16] };
    assert_eq!(typed(signing.get_request(get).await), denied);
    let get = v1::GetRequestRequest { tenant: TENANT.into(), request_id: vec![1; 3] };
    assert_eq!(typed(signing.get_request(get).await).1, Reason::Malformed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_every_service() {
    let cluster = Cluster::start().await;
    let mut reflection = ServerReflectionClient::new(raw::as_client(&cluster, 0).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for service in ["SigningService", "KeyService", "PolicyService", "AuditService", "NodeService", "PeerService"] {
        assert!(names.contains(&format!("tally.v1.{service}").as_str()), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health"));
}
