//! Much more than a node can do, and callers that mean harm: a healthy client still gets its signature, and who is shed is
//! told so, with a time to come again.

use crate::harness::certs::Issued;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use crate::harness::watch;
use std::net::TcpStream;
use std::sync::Arc;
use tally_client::{Client, RequestState};
use tally_domain::{Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::batch_sign_response::Outcome;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic_types::StatusExt as _;

/// Connections that say nothing, if this process may have as many.
const IDLE: usize = 10_000;

/// Descriptors of this process for all else.
const OTHERS: u64 = 1_000;

/// Descriptors that a node has at most with any number of connections that say nothing: 512 handshakes that have not ended, and
/// what it needs for itself.
const DESCRIPTORS_MAX: usize = 700;

/// Far more calls than a caller ever takes back before they are looked at.
const RESETS: usize = 20_000;

/// Streams of one client, each with as many messages as are worked on at once: more than it has places.
const STREAMS: usize = 14;
const IN_A_STREAM: usize = 16;

/// More than a client has places for connections.
const SLOW: usize = 150;

async fn healthy(client: &Client, what: &str) {
    sign(client, say(what)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// A TLS connection that speaks HTTP/2 or pretends to.
async fn tls(cluster: &Cluster, who: &Issued) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.authority.pem().as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(who.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(who.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = [&rustls::version::TLS13];
    let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions).unwrap();
    let mut config = config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", cluster.nodes[0].port)).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_connections_and_messages_do_no_harm() {
    let cluster = Cluster::start().await;
    let client = cluster.at(0);
    create_fast(&client).await;
    let before = resident_kib(&cluster);

    // Connections that never say anything.
    let port = cluster.nodes[0].port;
    let idle: Vec<_> = (0..idle_max()).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    healthy(&cluster.at(0), "beside idle connections").await;
    let open = cluster.descriptors(0);
    assert!(open < DESCRIPTORS_MAX, "{open} descriptors for {} connections", idle.len());

    // Slowloris: a known caller opens more than its share, begins a head and never ends it.
    let who = &cluster.clients["payouts-2"].tls;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = tls(&cluster, who).await.unwrap();
        // The preface, empty settings, and a frame of HEADERS that announces 16 KiB and brings one byte.
        let begun = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x40\0\x01\x04\0\0\0\x01\x82".as_slice()];
        let _ = stream.write_all(begun.concat().as_slice()).await;
        let _ = stream.flush().await;
        slow.push(stream);
    }
    healthy(&cluster.at(0), "beside slow heads").await;
    drop((idle, slow));

    // Rapid reset: the connection is ended, not the node.
    let (mut send, connection) =
        h2::client::handshake(tls(&cluster, &cluster.clients["reader"].tls).await.unwrap()).await.unwrap();
    let driven = tokio::spawn(connection);
    let mut opened = 0;
    for _ in 0..RESETS {
        let Ok(ready) = send.clone().ready().await else { break };
        send = ready;
        let request = http::Request::post("https://127.0.0.1/tally.v1.SigningService/Sign")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let Ok((_, mut stream)) = send.send_request(request, false) else { break };
        stream.send_reset(h2::Reason::CANCEL);
        opened += 1;
    }
    assert!(driven.await.unwrap().is_err() && opened < RESETS, "the connection stayed after {opened} resets");
    healthy(&cluster.at(0), "after rapid resets").await;

    // Heads without end, and bodies of nothing but fields.
    let mut service = SigningServiceClient::new(raw::connect(&cluster, 0, who).await.unwrap());
    let mut request = tonic::Request::new(v1::SignRequest::default());
    for i in 0..100 {
        let key = tonic::metadata::MetadataKey::from_bytes(format!("x-{i}").as_bytes()).unwrap();
        request.metadata_mut().insert(key, "v".repeat(1_000).parse().unwrap());
    }
    assert!(service.sign(request).await.is_err());
    let fields = |n| {
        let signatures = vec![v1::EnvelopeSignature::default(); n];
        v1::SignRequest { intent: Some(v1::Envelope { signatures, ..v1::Envelope::default() }) }
    };
    let mut service = SigningServiceClient::new(raw::connect(&cluster, 0, who).await.unwrap());
    assert_eq!(typed(service.sign(fields(1_000_000)).await), (Code::InvalidArgument, Reason::Oversized));
    for _ in 0..5 {
        let (code, _) = typed(service.sign(fields(120_000)).await);
        assert_eq!(code, Code::InvalidArgument);
    }
    healthy(&cluster.at(0), "after a million fields").await;
    let closed = |why| watch::number(&cluster, 0, &format!("tally_connections_shed_total{{why=\"{why}\"}}"));
    assert!(closed("handshakes") > 0.0 && closed("caller") > 0.0);
    let after = resident_kib(&cluster);
    assert!(after < before * 3 / 2 + ALLOWANCE_KIB, "{before} KiB became {after} KiB");
}

/// As many connections as the system lets this process have, up to [`IDLE`].
pub fn idle_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let room = maximum.map_or(IDLE, |n| usize::try_from(n.saturating_sub(OTHERS)).unwrap());
    assert!(room > DESCRIPTORS_MAX, "the limit of descriptors is too low to show anything: raise `ulimit -Hn`");
    room.min(IDLE)
}

/// What an allocator keeps of large messages, in a debug build.
const ALLOWANCE_KIB: u64 = 24 * 1024;

fn resident_kib(cluster: &Cluster) -> u64 {
    let status = cluster.proc_file(0, "status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_too_much_is_shed_with_a_time_to_come_again_and_others_are_served() {
    let cluster = Cluster::start().await;
    let client = cluster.at(0);
    create_fast(&client).await;
    let hog = cluster.client("payouts-2");
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(raw::connect(&cluster, 0, &cluster.clients["payouts-2"].tls).await.unwrap());
    }
    let mut flood = tokio::task::JoinSet::new();
    for i in 0..320_usize {
        let intent = hog.seal(say(&format!("flood {i}"))).unwrap();
        let envelope = raw::envelope_of(&intent);
        let channel = connections[i % connections.len()].clone();
        flood.spawn(async move { raw::sign(channel, envelope).await });
    }
    tokio::task::yield_now().await;
    healthy(&client, "during a flood").await;
    let (mut signed, mut shed) = (0, 0);
    while let Some(outcome) = flood.join_next().await {
        match outcome.unwrap() {
            Ok(_) => signed += 1,
            Err(status) => {
                let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
                assert!(hint.is_some_and(|delay| !delay.is_zero()), "{status:?}");
                assert_eq!(typed::<()>(Err(status)), (Code::ResourceExhausted, Reason::Overloaded));
                shed += 1;
            }
        }
    }
    assert!(signed > 0 && shed > 0, "{signed} signed, {shed} shed");

    let numbers = watch::shown(&cluster, 0);
    let counted =
        ["tally_calls_shed_total{caller=\"client\"}", "tally_calls_total{method=\"Sign\",outcome=\"OVERLOADED\"}"];
    assert_eq!(counted.map(|series| watch::value(&numbers, series)), [f64::from(shed); 2]);

    streams_are_no_way_around(&cluster).await;

    // Who does not wait is not worked for: with the only other signers silent, nothing goes on after the caller's time.
    cluster.freeze(1, true);
    cluster.freeze(2, true);
    let hurried = RequestId([8; 16]);
    let mut request = tonic::Request::new(v1::SignRequest {
        intent: Some(raw::envelope_of(&client.seal(say("in a hurry").request_id(hurried)).unwrap())),
    });
    request.set_timeout(std::time::Duration::from_millis(300));
    let channel = raw::as_client(&cluster, 0).await;
    let gone = SigningServiceClient::new(channel).sign(request).await.unwrap_err();
    assert!(matches!(gone.code(), Code::DeadlineExceeded | Code::Cancelled), "{gone:?}");
    cluster.freeze(1, false);
    cluster.freeze(2, false);
    // Who is shed now waits as long as the node asks.
    healthy(&cluster.client("payouts-1").only(0).unwrap(), "after all that").await;
    let went_on = client.request(hurried).await.is_ok_and(|r| matches!(r.state, RequestState::Completed(_)));
    assert!(!went_on, "the others were back, and nobody waited");
    // And who does not wait at all is not even looked at.
    let late = RequestId([9; 16]);
    let intent = Some(raw::envelope_of(&client.seal(say("too late").request_id(late)).unwrap()));
    let who = &cluster.clients["payouts-1"].tls;
    let refused = too_late(&cluster, who, "tally.v1.SigningService/Sign", &v1::SignRequest { intent }).await;
    assert_eq!(typed::<()>(Err(refused)), (Code::DeadlineExceeded, Reason::Deadline));
    assert_eq!(reason(client.request(late).await), Reason::RequestNotFound);
}

/// What node 1 says to a call whose time is over as it comes, to a caller that listens all the same.
pub async fn too_late(cluster: &Cluster, who: &Issued, method: &str, message: &impl prost::Message) -> tonic::Status {
    let (send, connection) = h2::client::handshake(tls(cluster, who).await.unwrap()).await.unwrap();
    let driven = tokio::spawn(connection);
    let request = http::Request::post(format!("https://127.0.0.1/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "0n")
        .body(())
        .unwrap();
    let (answer, mut body) = send.ready().await.unwrap().send_request(request, false).unwrap();
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    body.send_data([&[0], length.as_slice(), &bytes].concat().into(), true).unwrap();
    let answer = answer.await.unwrap();
    driven.abort();
    tonic::Status::from_header_map(answer.headers()).expect("no status")
}

/// What one client has in its streams takes places as its other calls do.
async fn streams_are_no_way_around(cluster: &Cluster) {
    let (client, channel) = (cluster.at(0), raw::as_client(cluster, 0).await);
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..STREAMS {
        let message = |i| client.seal(say(&format!("stream {stream}, {i}"))).unwrap();
        let intents = (0..IN_A_STREAM).map(|i| v1::BatchSignRequest { intent: Some(raw::envelope_of(&message(i))) });
        let intents: Vec<_> = intents.collect();
        let mut service = SigningServiceClient::new(channel.clone());
        streams.spawn(async move {
            let mut answers = match service.batch_sign(tokio_stream::iter(intents)).await {
                Ok(answers) => answers.into_inner(),
                // What the other streams have is all that this client may have, and not even the call is taken.
                Err(status) => {
                    assert_eq!(typed::<()>(Err(status)), (Code::ResourceExhausted, Reason::Overloaded));
                    return (0, IN_A_STREAM);
                }
            };
            let (mut signed, mut shed) = (0, 0);
            while let Some(answer) = answers.message().await.unwrap() {
                match answer.outcome.unwrap() {
                    Outcome::Signed(_) => signed += 1,
                    Outcome::Failure(failure) => {
                        assert_eq!((failure.reason.as_str(), failure.retry_after_ms), ("OVERLOADED", 1_000));
                        shed += 1;
                    }
                }
            }
            (signed, shed)
        });
    }
    let ended = streams.join_all().await.into_iter();
    let (signed, shed) = ended.fold((0, 0), |(signed, shed), (s, r)| (signed + s, shed + r));
    assert_eq!(signed + shed, STREAMS * IN_A_STREAM);
    assert!(signed > 0 && shed > 0, "{signed} signed, {shed} shed");
}
