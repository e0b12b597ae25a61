//! Calls without the SDK: any certificate, any bytes.

use super::certs::{Authority, Issued};
use super::cluster::Cluster;
use std::time::Duration;
use tally_domain::{Intent, Reason};
use tally_proto::v1;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub async fn connect(cluster: &Cluster, node: usize, who: &Issued) -> Result<Channel, tonic::transport::Error> {
    connect_under(&cluster.authority, cluster, node, who).await
}

/// The same, under another authority.
pub async fn connect_under(
    authority: &Authority,
    cluster: &Cluster,
    node: usize,
    who: &Issued,
) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .identity(Identity::from_pem(&who.cert, &who.key));
    Endpoint::from_shared(format!("https://127.0.0.1:{}", cluster.nodes[node].port))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .timeout(Duration::from_secs(60))
        .connect()
        .await
}

/// A channel of client `payouts-1`.
pub async fn as_client(cluster: &Cluster, node: usize) -> Channel {
    connect(cluster, node, &cluster.clients["payouts-1"].tls).await.unwrap()
}

/// A channel of one node to another.
pub async fn as_node(cluster: &Cluster, from: usize, to: usize) -> Channel {
    connect(cluster, to, &cluster.nodes[from].tls).await.unwrap()
}

pub fn envelope(cluster: &Cluster, client: &str, payload: Vec<u8>) -> v1::Envelope {
    wire(cluster.clients[client].intent_key().seal(tally_domain::intent::PAYLOAD_TYPE, payload))
}

/// What the SDK would send.
pub fn envelope_of(intent: &tally_client::SealedIntent) -> v1::Envelope {
    wire(intent.envelope().clone())
}

fn wire(e: tally_domain::dsse::Envelope) -> v1::Envelope {
    v1::Envelope {
        payload: e.payload,
        payload_type: e.payload_type,
        signatures: e
            .signatures
            .into_iter()
            .map(|s| v1::EnvelopeSignature { key_id: s.key_id, signature: s.signature })
            .collect(),
    }
}

pub fn signed(cluster: &Cluster, intent: &Intent) -> v1::Envelope {
    envelope(cluster, intent.client.as_str(), intent.to_bytes())
}

pub async fn sign(channel: Channel, intent: v1::Envelope) -> Result<v1::SignResponse, Status> {
    let mut service = v1::signing_service_client::SigningServiceClient::new(channel);
    service.sign(v1::SignRequest { intent: Some(intent) }).await.map(tonic::Response::into_inner)
}

/// The typed reason and code of an error; an error without one fails the test.
pub fn typed<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, Reason) {
    let status = outcome.expect_err("this must be refused");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "tally");
    let reason = Reason::parse(&info.reason).unwrap_or_else(|| panic!("unknown reason: {info:?}"));
    assert_eq!(status.message(), reason.sentence(), "the text of a reason is constant");
    (status.code(), reason)
}
