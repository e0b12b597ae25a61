//! Serving: own accept loop with TLS, gRPC services with reflection and health, background work, and a clean stop.

use crate::approve;
use crate::boot::boot;
use crate::bundle_news;
use crate::caller::{Caller, CallerStream};
use crate::config::Config;
use crate::freeze_news;
use crate::gate::Gate;
use crate::greet;
use crate::hsm_names;
use crate::kek_care::KekCare;
use crate::node::Node;
use crate::peers::PEER_MESSAGE_MAX_BYTES;
use crate::rpc::Endpoint;
use crate::services;
use crate::tls::Tls;
use crate::typed_errors::TypedErrors;
use crate::vault;
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::key::KeyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

/// Longest handshake: a slow one must not hold a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Streams on one connection (DESIGN 10). tonic's default would lift hyper's own limit.
const STREAMS_MAX: u32 = 100;

/// Connections that are handshaken and not yet taken by the server.
const ACCEPTED_MAX: usize = 32;

/// How often peers are greeted, pending keys asked for, keys in the HSM, freezes, bundles and what waits for persons
/// announced, what they have approved led, KEKs cared for and grown logs checkpointed.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Runs a node until it is told to stop.
///
/// # Errors
/// A sentence for the operator.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let (node, tls) = boot(config).await?;
    let listener = TcpListener::bind(node.config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", node.config.listen))?;
    let rpc = Endpoint::open(&node).await?;
    let connections = accept(listener, tls.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tally_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection = described().build_v1().context("the contract's descriptors do not load")?;
    // Older tools know only the alpha of the same protocol.
    let reflection_alpha = described().build_v1alpha().context("the contract's descriptors do not load")?;
    let limit = PEER_MESSAGE_MAX_BYTES;
    let (open, gate) = watch::channel(false);
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .layer(Gate(gate))
        .layer(TypedErrors)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .add_service(services::signing(node.clone(), limit))
        .add_service(services::key(node.clone(), limit))
        .add_service(services::wrap(node.clone()))
        .add_service(services::token(node.clone()))
        .add_service(services::freeze(node.clone(), limit))
        .add_service(services::approval(node.clone(), limit))
        .add_service(services::policy(node.clone()))
        .add_service(services::limits(node.clone(), limit))
        .add_service(services::audit(node.clone(), limit))
        .add_service(services::node(node.clone(), limit))
        .add_service(services::peer(node.clone(), limit))
        .serve_with_incoming_shutdown(connections, stop_signal());
    let server = tokio::spawn(server);
    // Peers may know that this node was restored from an older copy, and what was frozen while it was away; it must hear
    // so before it serves.
    let peers = node.peers.by_reachability();
    futures_util::future::join_all(peers.iter().map(|peer| async {
        greet::greet(&node, peer).await;
        freeze_news::fetch(&node, peer).await;
    }))
    .await;
    // Nor does it decide by a bundle that has been replaced meanwhile.
    bundle_news::catch_up_with_all(&node).await;
    open.send_replace(true);
    for service in std::iter::once("").chain(services::NAMES) {
        health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
    }
    tracing::info!(node = %node.name(), address = %node.config.listen, incarnation = node.boot.incarnation.0,
        bundle = %node.bundle().digest(), "serving");
    let housekeeping = tokio::spawn(keep_house(node.clone()));
    let rpc = rpc.map(|(rpc, listener)| (rpc.clone(), tokio::spawn(rpc.serve(listener, tls))));
    let vaults = tokio::spawn(vault::keep(node.clone()));
    server.await.context("the server crashed")?.context("the server failed")?;
    housekeeping.abort();
    vaults.abort();
    if let Some((rpc, serving)) = rpc {
        serving.abort();
        rpc.drained().await;
    }
    if let Err(refusal) = node.checkpoints.note(&node).await {
        tracing::warn!(%refusal, "no last checkpoint");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Accepts connections and handshakes each in its own task, so that a slow peer does not hold up the others.
fn accept(listener: TcpListener, tls: Tls) -> ReceiverStream<std::io::Result<CallerStream>> {
    let (out, accepted) = mpsc::channel(ACCEPTED_MAX);
    tokio::spawn(async move {
        loop {
            let tcp = match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    // Out of descriptors, most likely; a pause lets some be given back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, out) = (TlsAcceptor::from(tls.server.clone()), out.clone());
            tokio::spawn(async move {
                match handshake(acceptor, tcp).await {
                    // The server has gone when nobody takes it.
                    Ok(stream) => drop(out.send(Ok(stream)).await),
                    Err(error) => tracing::debug!(%error, "handshake refused"),
                }
            });
        }
    });
    ReceiverStream::new(accepted)
}

pub(crate) async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream) -> std::io::Result<CallerStream> {
    tcp.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await??;
    let caller = match stream.get_ref().1.peer_certificates().and_then(|c| c.first()) {
        Some(certificate) => Caller::of(certificate),
        None => Caller::unknown(),
    };
    Ok(CallerStream::new(stream, caller))
}

/// Ready when the node is told to stop.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut s) => drop(s.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn keep_house(node: Arc<Node>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    let mut care = KekCare::default();
    loop {
        tick.tick().await;
        for peer in node.peers.by_reachability() {
            let node = node.clone();
            tokio::spawn(async move { greet::greet(&node, &peer).await });
        }
        for held in node.keys.all().into_iter().filter(|h| h.state == KeyState::Pending) {
            crate::lead_key::sync_key(&node, &held.record.name).await;
        }
        hsm_names::spread(&node).await;
        freeze_news::spread(&node);
        approve::care(&node).await;
        approve::spread(&node);
        bundle_news::spread(&node);
        care.round(&node).await;
        if let Err(refusal) = node.checkpoints.note(&node).await {
            tracing::warn!(%refusal, "no checkpoint");
        }
    }
}
