//! Links to the other nodes: one HTTP/2 connection each, made when it is needed, pinned to the roster's key.

use crate::deadline;
use crate::reply;
use crate::tls::Tls;
use crate::traces;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::store::{Store, StoreError};
use tally_domain::roster::{Roster, RosterNode};
use tally_domain::{Incarnation, NodeName, Reason, Refusal, UnixMillis};
use tally_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

/// A node that does not accept a connection in this time is away. Nodes are in one or a few data centres.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for a peer's answer to one call; admission and one fsync take milliseconds.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest message between nodes (DESIGN 10), with room for its frame. A proposal carries a client's envelope (64 KiB),
/// a round of DKLs23 between two nodes some 100 KiB.
pub const PEER_MESSAGE_MAX_BYTES: usize = 256 * 1024 + 1024;

/// Results that one peer is being told of or will be. A peer that does not answer would have them pile up for as long as a call
/// may take; it hears of those beyond when it asks.
const TELLINGS_MAX: usize = 1_024;

/// A client for a peer's service.
pub type PeerClient = PeerServiceClient<InterceptedService<Channel, Prepare>>;

type Prepare = fn(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status>;

/// What every call to a peer carries.
fn prepared(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    traces::inject(request.metadata_mut());
    request.set_timeout(deadline::remaining().unwrap_or(CALL_TIMEOUT).min(CALL_TIMEOUT));
    Ok(request)
}

/// What this node has seen of a peer.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Whether the last call went through.
    pub reachable: bool,
    /// Its start.
    pub incarnation: Option<Incarnation>,
    /// Digest of its bundle.
    pub bundle_digest: Vec<u8>,
    /// Its clock minus ours.
    pub clock_offset_ms: i64,
    /// It has shown less than before, and is left out of everything.
    pub fenced: bool,
}

/// Which greeting of a peer was taken last.
pub struct LastGreeting {
    /// Its start.
    pub incarnation: Incarnation,
    /// The key of that start.
    pub boot_key: VerifyingKey,
    /// Its number within the start.
    pub sequence: u64,
}

struct Link {
    channel: Channel,
    seen: Mutex<Seen>,
    greeting: tokio::sync::Mutex<Option<LastGreeting>>,
    tellings: Arc<Semaphore>,
}

/// All peers.
pub struct Peers(HashMap<NodeName, Link>);

impl Peers {
    /// Prepares a link to every other node; connects to none.
    ///
    /// # Errors
    /// When an address of the roster is not `host:port`.
    pub fn new(me: &NodeName, roster: &Arc<Roster>, tls: &Tls) -> anyhow::Result<Self> {
        let others = roster.nodes.iter().filter(|n| n.name != *me);
        let links = others
            .map(|n| {
                Ok((
                    n.name.clone(),
                    Link {
                        channel: channel(n, roster, tls)?,
                        seen: Mutex::default(),
                        greeting: tokio::sync::Mutex::default(),
                        tellings: Arc::new(Semaphore::new(TELLINGS_MAX)),
                    },
                ))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self(links))
    }

    /// A client for a peer's service.
    ///
    /// # Errors
    /// `UNKNOWN_NODE` when the roster has no such peer.
    pub fn service(&self, peer: &NodeName) -> Result<PeerClient, Refusal> {
        let link = self.0.get(peer).ok_or(Reason::UnknownNode)?;
        Ok(PeerServiceClient::with_interceptor(link.channel.clone(), prepared as Prepare)
            .max_decoding_message_size(PEER_MESSAGE_MAX_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_MAX_BYTES))
    }

    /// Calls a peer with the usual time-out, and notes whether it is there.
    ///
    /// # Errors
    /// The peer's refusal, or `SIGNERS` naming it when it cannot be reached.
    pub async fn call<T, F, C>(&self, peer: &NodeName, call: C) -> Result<T, Refusal>
    where
        C: FnOnce(PeerClient) -> F,
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        // A caller that does not wait for long says nothing about the peer.
        let left = deadline::remaining().unwrap_or(CALL_TIMEOUT);
        if left.is_zero() {
            return Err(Reason::Deadline.into());
        }
        let outcome = tokio::time::timeout(CALL_TIMEOUT.min(left), call(self.service(peer)?)).await;
        let hurried = left < CALL_TIMEOUT;
        let away = || Refusal::new(Reason::Signers).with("node", peer.as_str());
        match outcome {
            Ok(Ok(response)) => {
                self.note(peer, |s| s.reachable = true);
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                let refusal = reply::refusal_of(&status);
                let late = matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded);
                if hurried && late {
                    return Err(Reason::Deadline.into());
                }
                let typed = tonic_types::StatusExt::get_details_error_info(&status).is_some();
                self.note(peer, |s| s.reachable = typed);
                if typed { Err(refusal.with("node", peer.as_str())) } else { Err(away()) }
            }
            Err(_) if hurried => Err(Reason::Deadline.into()),
            Err(_) => {
                self.note(peer, |s| s.reachable = false);
                Err(away())
            }
        }
    }

    /// A place for telling a peer of a result; none if there are too many untold.
    pub fn telling(&self, peer: &NodeName) -> Option<OwnedSemaphorePermit> {
        self.0.get(peer)?.tellings.clone().try_acquire_owned().ok()
    }

    /// What has been seen of a peer.
    pub fn seen(&self, peer: &NodeName) -> Seen {
        self.0.get(peer).map(|l| l.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Reads which peers are fenced.
    ///
    /// # Errors
    /// When the store does not read.
    pub fn load_fences(&self, store: &dyn Store) -> Result<(), StoreError> {
        for peer in self.0.keys() {
            let fenced = store.peer_head(peer)?.is_some_and(|h| h.fenced);
            self.note(peer, |seen| seen.fenced = fenced);
        }
        Ok(())
    }

    /// The last greeting of a peer that was taken. Held while the next one is taken.
    ///
    /// # Errors
    /// `UNKNOWN_NODE` when the roster has no such peer.
    pub fn last_greeting(&self, peer: &NodeName) -> Result<&tokio::sync::Mutex<Option<LastGreeting>>, Refusal> {
        self.0.get(peer).map(|l| &l.greeting).ok_or(Reason::UnknownNode.into())
    }

    /// Refuses a peer that is fenced.
    ///
    /// # Errors
    /// `ROLLED_BACK`.
    pub fn check_fence(&self, peer: &NodeName) -> Result<(), Refusal> {
        if self.seen(peer).fenced { Err(Refusal::new(Reason::RolledBack).with("peer", peer.as_str())) } else { Ok(()) }
    }

    /// All peers, those that were reachable at the last call first, and otherwise in random order to spread the work.
    pub fn by_reachability(&self) -> Vec<NodeName> {
        let mut names: Vec<_> = self.0.keys().cloned().collect();
        names.sort_by_cached_key(|n| (!self.seen(n).reachable, rand::random::<u32>()));
        names
    }

    /// Changes what is known of a peer.
    pub fn note(&self, peer: &NodeName, change: impl FnOnce(&mut Seen)) {
        if let Some(link) = self.0.get(peer) {
            let mut seen = link.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = seen.reachable;
            change(&mut seen);
            if before != seen.reachable {
                tracing::info!(peer = %peer, reachable = seen.reachable, "peer");
            }
        }
    }
}

/// The difference of two clocks in milliseconds.
pub fn offset(theirs: UnixMillis, ours: UnixMillis) -> i64 {
    i64::try_from(i128::from(theirs.0) - i128::from(ours.0)).unwrap_or(i64::MAX)
}

fn channel(node: &RosterNode, roster: &Arc<Roster>, tls: &Tls) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.address))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let (name, address, roster, tls) = (node.name.clone(), node.address.clone(), roster.clone(), tls.clone());
    let connector = tower::service_fn(move |_: http::Uri| {
        let (name, address, roster, tls) = (name.clone(), address.clone(), roster.clone(), tls.clone());
        async move { tls.connect(&name, &address, &roster).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// What a peer is told of how long the caller waits.
    async fn told(left: Duration) -> Duration {
        deadline::until(Instant::now() + left, Arc::new(()), async {
            deadline::of(&prepared(tonic::Request::new(())).unwrap().into_parts().0.into_headers())
        })
        .await
    }

    #[tokio::test]
    async fn a_peer_is_told_how_long_the_caller_still_waits() {
        let short = Duration::from_millis(900);
        assert!(told(short).await <= short && told(short).await > short / 2);
        assert_eq!(told(deadline::CALL_MAX).await, CALL_TIMEOUT);
        assert_eq!(told(Duration::ZERO).await, Duration::ZERO);
        // Nobody waits for what the node does by itself.
        let own = prepared(tonic::Request::new(())).unwrap();
        assert_eq!(deadline::of(&own.into_parts().0.into_headers()), CALL_TIMEOUT);
    }

    #[tokio::test]
    async fn no_peer_is_asked_for_a_caller_that_has_gone() {
        let (peers, peer) = (Peers(HashMap::new()), NodeName::parse("node-2").unwrap());
        let asked = peers.call(&peer, |_| async { Err::<tonic::Response<()>, _>(tonic::Status::unknown("asked")) });
        let refused = deadline::until(Instant::now(), Arc::new(()), asked).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Deadline);
        // With time left it would have been: there is no such peer.
        let asked = peers.call(&peer, |_| async { Err::<tonic::Response<()>, _>(tonic::Status::unknown("asked")) });
        assert_eq!(asked.await.unwrap_err().reason, Reason::UnknownNode);
    }
}
