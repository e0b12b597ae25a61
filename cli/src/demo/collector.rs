//! A collector of traces (OTLP over gRPC), as far as the tour needs one: it keeps what comes, as it came.

use anyhow::{Context as _, ensure};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Response};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Most that is kept: many times what the spans of a tour take.
const KEPT_MAX_BYTES: usize = 256 * 1024 * 1024;

/// A message of gRPC that is empty: not compressed, no bytes. It is what a collector answers that took everything.
const TAKEN: &[u8] = &[0; 5];

/// The collector; it ends when it is dropped.
pub struct Collector {
    endpoint: String,
    kept: Arc<Mutex<Kept>>,
    listening: JoinHandle<()>,
}

/// What has come so far.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Collector {
    /// Listens on this machine.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for traces")?;
        let endpoint = format!("http://{}", listener.local_addr().context("cannot tell the collector's address")?);
        let kept = Arc::new(Mutex::new(Kept::default()));
        let into = kept.clone();
        let listening = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A node whose connection breaks makes another.
                tokio::spawn(served(socket, into.clone()));
            }
        });
        Ok(Self { endpoint, kept, listening })
    }

    /// Where nodes send their spans.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Everything that has come.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!kept.is_full, "there are more traces than {KEPT_MAX_BYTES} bytes");
        Ok(kept.bytes.clone())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn served(socket: TcpStream, kept: Arc<Mutex<Kept>>) -> Result<(), h2::Error> {
    let mut connection = Builder::new().handshake::<_, &'static [u8]>(socket).await?;
    while let Some(call) = connection.accept().await {
        let (request, answer) = call?;
        tokio::spawn(taken(request.into_body(), answer, kept.clone()));
    }
    Ok(())
}

/// Takes one export, whole: parts of two must not come between each other.
async fn taken(
    mut body: RecvStream,
    mut answer: SendResponse<&'static [u8]>,
    kept: Arc<Mutex<Kept>>,
) -> Result<(), h2::Error> {
    let mut export = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        export.extend_from_slice(&piece);
        if export.len() > KEPT_MAX_BYTES {
            return Err(Reason::ENHANCE_YOUR_CALM.into());
        }
    }
    {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_full |= kept.bytes.len() + export.len() > KEPT_MAX_BYTES;
        if !kept.is_full {
            kept.bytes.append(&mut export);
        }
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = answer.send_response(head, false)?;
    stream.send_data(TAKEN, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
