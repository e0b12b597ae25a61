//! `GET /metrics`, for a collector beside the node. Plain HTTP: it is given an address that only the collector can reach.

use super::names;
use crate::node::Node;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::HsmStatus;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

/// Collectors at once. There is one, or two during a change.
const CONNECTIONS_MAX: usize = 8;

/// Longest connection: it is closed after one answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A token is tried at most this often, however often somebody asks.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(5);

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Page {
    node: Arc<Node>,
    token: Mutex<Option<(Instant, HsmStatus)>>,
}

/// Answers collectors until the runtime ends.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    let page = Arc::new(Page { node, token: Mutex::default() });
    page.once();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without room the connection is closed.
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let page = page.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, answer(page, tcp)).await;
            drop(place);
        });
    }
}

async fn answer(page: Arc<Page>, tcp: TcpStream) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(page.respond(&request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT).keep_alive(false);
    // A collector that hangs up asks again.
    let _ = http.serve_connection(TokioIo::new(tcp), service).await;
}

impl Page {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        if request.method() != Method::GET || request.uri().path() != "/metrics" {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        self.read().await;
        *response.body_mut() = Full::from(self.node.metrics.render());
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TEXT));
        response
    }

    /// What never changes, and series that are there before their first event.
    fn once(&self) {
        let metrics = &self.node.metrics;
        metrics.set(&names::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics.set(&names::RELOAD_FAILED, &[], 0.0);
        metrics.set(&names::STARTED, &[], seconds(self.node.started_at.0));
        for peer in self.node.peers.by_reachability() {
            metrics.add(&names::BLAME, &[peer.as_str()], 0);
            metrics.add(&names::MISSING, &[peer.as_str()], 0);
        }
        for session in ["sign", "key"] {
            metrics.add(&names::SESSION_FAILURES, &[session, "SESSION_ABORTED"], 0);
        }
        for part in ["led", "took", "heard"] {
            metrics.add(&names::SIGNATURES, &[part], 0);
        }
        metrics.add(&names::REFUSALS, &["POLICY_DENIED", "", "client"], 0);
        for caller in ["client", "peer"] {
            metrics.add(&names::SHED, &[caller], 0);
        }
        for why in crate::connections::WHY {
            metrics.add(&names::CONNECTIONS_SHED, &[why], 0);
        }
    }

    /// Gauges, as they are now.
    async fn read(&self) {
        let node = &self.node;
        let set = |metric, value: f64| node.metrics.set(metric, &[], value);
        let (calls, queued) = node.admission.counts();
        set(&names::CALLS_PENDING, number(calls));
        set(&names::CALLS_QUEUED, number(queued));
        set(&names::CALLS_LIMIT, number(node.admission.room()));
        set(&names::SESSIONS, number(node.sessions.count()));
        set(&names::REQUESTS, number(node.inflight.count()));
        set(&names::LAST_SIGNATURE, node.signed.latest().map_or(0.0, |at| seconds(at.0)));
        set(&names::KEYS, number(node.keys.all().len() + node.hsm_keys.all().len()));
        set(&names::BANS, number(node.keys.bans().len()));
        set(&names::FREEZES, number(node.freezes.known().in_force().count()));
        set(&names::RECOVERING, flag(node.check_standing().is_err()));
        set(&names::BUNDLE, whole(node.bundle().version()));
        if let Ok(leaves) = node.store.log_size() {
            set(&names::LOG_LEAVES, whole(leaves));
        }
        if let Ok(waiting) = node.store.all_waiting() {
            set(&names::WAITING, number(waiting.len()));
        }
        for peer in node.peers.by_reachability() {
            let (seen, peer) = (node.peers.seen(&peer), [peer.as_str()]);
            node.metrics.set(&names::PEER_UP, &peer, flag(seen.reachable));
            node.metrics.set(&names::PEER_FENCED, &peer, flag(seen.fenced));
            let offset = Duration::from_millis(seen.clock_offset_ms.unsigned_abs()).as_secs_f64();
            node.metrics.set(
                &names::CLOCK_OFFSET,
                &peer,
                offset.copysign(if seen.clock_offset_ms < 0 { -1.0 } else { 1.0 }),
            );
        }
        self.read_token().await;
    }

    async fn read_token(&self) {
        let mut known = self.token.lock().await;
        if known.as_ref().is_none_or(|(at, _)| at.elapsed() > TOKEN_AGE_MAX) {
            *known = Some((Instant::now(), self.node.hsm.status().await));
        }
        let Some((_, status)) = &*known else { return };
        let standby = status.standby.as_deref().map(|s| ("standby", s));
        for (token, status) in std::iter::once(("primary", status)).chain(standby) {
            let set = |metric, value: f64| self.node.metrics.set(metric, &[token], value);
            set(&names::HSM_UP, flag(status.fault.is_none()));
            set(&names::HSM_QUEUED, f64::from(status.queued));
            set(&names::HSM_HUNG, f64::from(status.hung));
            set(&names::HSM_RESTARTS, f64::from(status.restarts));
        }
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn number(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// Counts of this size are shown to the last digit up to 2^53.
fn whole(n: u64) -> f64 {
    Duration::from_secs(n).as_secs_f64()
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
