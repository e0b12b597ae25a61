//! Serving: own accept loop with TLS, gRPC services with reflection and health, background work, and a clean stop.

use crate::admission::Admitted;
use crate::approve;
use crate::boot::boot;
use crate::bundle_news;
use crate::calls::Counted;
use crate::config::Config;
use crate::connections::{Connections, accept};
use crate::freeze_news;
use crate::gate::Gate;
use crate::greet;
use crate::hsm_names;
use crate::kek_care::KekCare;
use crate::log_check::Unread;
use crate::metrics;
use crate::node::Node;
use crate::peers::PEER_MESSAGE_MAX_BYTES;
use crate::reload;
use crate::rpc::Endpoint;
use crate::services;
use crate::traces::Traced;
use crate::typed_errors::TypedErrors;
use crate::vault;
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::key::KeyState;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;

/// Streams on one connection (DESIGN 10). tonic's default would lift hyper's own limit.
const STREAMS_MAX: u32 = 100;

/// What a caller may send on one connection before it is read: one message between nodes. More would be memory for whoever
/// asks.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Names and values of one call's head. Ours have a few hundred bytes.
const HEADERS_MAX_BYTES: u32 = 16 * 1024;

/// Streams that a caller has opened and reset before they were looked at (CVE-2023-44487); then its connection ends.
const RESETS_MAX: usize = 20;

/// How often peers are greeted, pending keys asked for, keys in the HSM, freezes, bundles and what waits for persons
/// announced, what they have approved led, KEKs cared for and grown logs checkpointed.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Runs a node until it is told to stop.
///
/// # Errors
/// A sentence for the operator.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let (node, tls, unread) = boot(config).await?;
    let listener = TcpListener::bind(node.config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", node.config.listen))?;
    let rpc = Endpoint::open(&node).await?;
    tokio::spawn(reload::on_hangup(node.clone(), tls.clone()));
    let places = Connections::new(node.metrics.clone());
    let connections = accept(listener, tls.clone(), places.clone());
    show_metrics(&node).await?;
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
    let server = bounded()
        .layer(Counted(node.metrics.clone()))
        .layer(Traced)
        .layer(Admitted(node.admission.clone()))
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
    hear_first(&node).await;
    open.send_replace(true);
    for service in std::iter::once("").chain(services::NAMES) {
        health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
    }
    tracing::info!(node = %node.name(), address = %node.config.listen, incarnation = node.boot.incarnation.0,
        bundle = %node.bundle().digest(), "serving");
    let housekeeping = tokio::spawn(keep_house(node.clone()));
    let rpc = rpc.map(|(rpc, listener)| (rpc.clone(), tokio::spawn(rpc.serve(listener, tls, places))));
    let vaults = tokio::spawn(vault::keep(node.clone()));
    let log = tokio::spawn(read_log(node.clone(), unread));
    server.await.context("the server crashed")?.context("the server failed")?;
    housekeeping.abort();
    vaults.abort();
    if let Some((rpc, serving)) = rpc {
        rpc.stop(&serving).await;
    }
    if let Err(refusal) = node.checkpoints.note(&node).await {
        tracing::warn!(%refusal, "no last checkpoint");
    }
    tracing::info!("stopped");
    if log.is_finished() { log.await.context("the check of the log crashed")? } else { Ok(()) }
}

/// Checks the rest of the log, and stops the node as an operator would if it is not what was signed.
async fn read_log(node: Arc<Node>, unread: Unread) -> anyhow::Result<()> {
    let read = unread.read(node).await;
    if let Err(error) = &read {
        tracing::error!(%error, "stops");
        use rustix::process::{Signal, getpid, kill_process};
        kill_process(getpid(), Signal::TERM).context("cannot stop")?;
    }
    read
}

/// What a node must hear before it serves.
async fn hear_first(node: &Arc<Node>) {
    // Peers may know that this node was restored from an older copy, and what was frozen while it was away; it must hear
    // so before it serves.
    let peers = node.peers.by_reachability();
    futures_util::future::join_all(peers.iter().map(|peer| async {
        greet::greet(node, peer).await;
        freeze_news::fetch(node, peer).await;
    }))
    .await;
    // Nor does it decide by a bundle that has been replaced meanwhile.
    bundle_news::catch_up_with_all(node).await;
}

/// A server whose connections have limits.
fn bounded() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

/// Listens for collectors, if it is configured.
async fn show_metrics(node: &Arc<Node>) -> anyhow::Result<()> {
    let Some(config) = &node.config.metrics else { return Ok(()) };
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {} for `[metrics]`", config.listen))?;
    let address = listener.local_addr().context("the listener for `[metrics]` has no address")?;
    tracing::info!(%address, "shows metrics");
    tokio::spawn(metrics::serve(node.clone(), listener));
    Ok(())
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
