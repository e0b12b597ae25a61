//! The JSON-RPC endpoint: what EVM libraries ask becomes an intent of the client that the operator has given this endpoint the
//! key of, and goes the way of every client's. Nothing is decided here that the nodes would not decide again.

mod account;
mod ask;
mod call;
mod fault;
mod http;
pub(crate) mod key;
mod message;

pub use key::read as intent_key;

#[cfg(feature = "testing")]
pub use call::Call;
#[cfg(feature = "testing")]
pub use message::{Body, Item, answer};

use crate::caller::{Caller, CallerStream};
use crate::config::Rpc;
use crate::connections::{Connections, accept};
use crate::node::Node;
use crate::tls::Tls;
use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected as _;

/// Bodies that are worked on at once: as many as a node has sessions. One more is told to come back.
const BODIES_MAX: u32 = 64;

/// Longest wait for a whole head, and so for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of a request, and bytes that a connection buffers: libraries send a dozen short ones.
const HEADERS_MAX: usize = 64;
const BUFFER_MAX_BYTES: usize = 16 * 1024;

/// Longest wait at a stop for what is being answered: as long as a signature may take.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// The endpoint of one node.
pub struct Endpoint {
    node: Arc<Node>,
    config: Rpc,
    key: SigningKey,
    bodies: Semaphore,
}

impl Endpoint {
    /// Reads the key and takes the address; nothing if the configuration has no endpoint.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn open(node: &Arc<Node>) -> anyhow::Result<Option<(Arc<Self>, TcpListener)>> {
        let Some(config) = node.config.rpc.clone() else { return Ok(None) };
        let key = key::read(&config.intent_key)?;
        let known = node.bundle().roster().client(&config.client).map(|c| c.intent_key == key.verifying_key());
        if known != Some(true) {
            // Another bundle may name it; until then every call is refused with the reason.
            tracing::warn!(client = %config.client, "the roster does not name the key of [rpc] `intent_key` as this client's");
        }
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {} for JSON-RPC", config.listen))?;
        tracing::info!(address = %config.listen, client = %config.client, "serving JSON-RPC");
        let bodies = Semaphore::new(usize::try_from(BODIES_MAX).unwrap_or(usize::MAX));
        Ok(Some((Arc::new(Self { node: node.clone(), config, key, bodies }), listener)))
    }

    /// Serves until it is aborted. Connections are counted with those of gRPC.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Tls, places: Arc<Connections>) {
        let mut accepted = accept(listener, move || http1_only(&tls), places);
        while let Some(next) = accepted.next().await {
            if let Ok(stream) = next {
                tokio::spawn(self.clone().connection(stream));
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: CallerStream) {
        let caller = stream.connect_info();
        let service = service_fn(|request| {
            let (this, caller): (_, Caller) = (self.clone(), caller.clone());
            async move { Ok::<_, Infallible>(http::answer(&this, &caller, request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        http.max_headers(HEADERS_MAX).max_buf_size(BUFFER_MAX_BYTES);
        if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a JSON-RPC connection ended");
        }
    }

    /// Accepts nothing more, and waits for what is being answered.
    pub async fn stop(&self, serving: &JoinHandle<()>) {
        serving.abort();
        let _ = tokio::time::timeout(DRAIN_MAX, self.bodies.acquire_many(BODIES_MAX)).await;
        self.bodies.close();
    }
}

/// The node's own certificate, for HTTP/1.1.
fn http1_only(tls: &Tls) -> Arc<ServerConfig> {
    let mut server = (*tls.server()).clone();
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(server)
}
