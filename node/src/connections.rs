//! Accepting connections: each is handshaken in a task of its own, and there is an end to how many there are.
//!
//! A connection that says nothing is cheap to make and costs a descriptor. So the oldest unfinished handshake gives way to
//! a new connection: one that works is done in milliseconds. A caller that is known keeps others out of nothing but its
//! own places.

use crate::caller::{Caller, CallerStream};
use crate::metrics::{Metrics, names};
use rustls::ServerConfig;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

/// Longest handshake: a slow one must not hold a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at once at one address. At 10,000 new connections a second an honest one still has 50 ms, of which it needs a few.
const HANDSHAKES_MAX: usize = 512;

/// Connections of one caller. A client needs one, a fleet that shares a certificate one each.
const PER_CALLER_MAX: usize = 128;

/// Connections of all clients together; nodes find room whatever clients do. Each costs a descriptor and some 20 KiB.
const CLIENTS_MAX: usize = 2_048;

/// Connections that are handshaken and not yet taken by the server.
const ACCEPTED_MAX: usize = 32;

/// Why a connection was closed at once: too many unfinished handshakes, too many of one caller, too many of all clients.
pub const WHY: [&str; 3] = ["handshakes", "caller", "clients"];

/// The connections of a node.
pub struct Connections {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    open: HashMap<String, usize>,
    clients: usize,
    all: usize,
}

/// A place among the connections; given back on drop.
pub struct Place {
    connections: Arc<Connections>,
    key: String,
    is_node: bool,
}

impl Connections {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), metrics })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shed(&self, why: &str) {
        self.metrics.count(&names::CONNECTIONS_SHED, &[why]);
    }

    /// A place for a caller.
    ///
    /// # Errors
    /// Which of [`WHY`].
    pub fn admit(self: &Arc<Self>, caller: &Caller) -> Result<Place, &'static str> {
        let (key, is_node) = (caller.key().to_owned(), caller.is_node());
        let mut state = self.state();
        if !is_node && state.clients >= CLIENTS_MAX {
            return Err("clients");
        }
        let open = state.open.entry(key.clone()).or_default();
        if *open >= PER_CALLER_MAX {
            return Err("caller");
        }
        *open += 1;
        state.clients += usize::from(!is_node);
        state.all += 1;
        self.show(&state);
        Ok(Place { connections: self.clone(), key, is_node })
    }

    fn show(&self, state: &State) {
        self.metrics.set(&names::CONNECTIONS, &[], f64::from(u32::try_from(state.all).unwrap_or(u32::MAX)));
    }
}

/// Handshakes at one address that have not ended, the oldest first: who floods one address keeps nobody out of another.
#[derive(Default)]
struct Handshakes(Mutex<Shaking>);

#[derive(Default)]
struct Shaking {
    tasks: VecDeque<(u64, AbortHandle)>,
    next: u64,
}

impl Handshakes {
    fn shaking(&self) -> std::sync::MutexGuard<'_, Shaking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One begins; the oldest one ends if there are too many. Whether it did.
    fn begins(&self, task: impl FnOnce(u64) -> AbortHandle) -> bool {
        let oldest = {
            let mut shaking = self.shaking();
            let id = shaking.next;
            shaking.next += 1;
            shaking.tasks.push_back((id, task(id)));
            if shaking.tasks.len() > HANDSHAKES_MAX { shaking.tasks.pop_front() } else { None }
        };
        oldest.inspect(|(_, task)| task.abort()).is_some()
    }

    fn ends(&self, id: u64) {
        self.shaking().tasks.retain(|(other, _)| *other != id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if let Some(open) = state.open.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&self.key);
            }
        }
        state.clients -= usize::from(!self.is_node);
        state.all -= 1;
        self.connections.show(&state);
    }
}

/// Accepts connections and handshakes each in its own task, with the certificates of that moment, so that a slow peer does
/// not hold up the others. Ends when nobody takes them any more.
pub fn accept(
    listener: TcpListener,
    certificates: impl Fn() -> Arc<ServerConfig> + Send + 'static,
    connections: Arc<Connections>,
) -> ReceiverStream<std::io::Result<CallerStream>> {
    let (out, accepted) = mpsc::channel(ACCEPTED_MAX);
    let handshakes = Arc::new(Handshakes::default());
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                () = out.closed() => return,
                next = listener.accept() => next,
            };
            let tcp = match next {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    // Out of descriptors, most likely; a pause lets some be given back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let shed = handshakes.begins(|id| {
                let (acceptor, out) = (TlsAcceptor::from(certificates()), out.clone());
                let (connections, handshakes) = (connections.clone(), handshakes.clone());
                let work = async move {
                    let shaken = handshake(acceptor, tcp, &connections).await;
                    handshakes.ends(id);
                    match shaken {
                        // The server has gone when nobody takes it.
                        Ok(stream) => drop(out.send(Ok(stream)).await),
                        Err(error) => tracing::debug!(%error, "handshake refused"),
                    }
                };
                tokio::spawn(work).abort_handle()
            });
            if shed {
                connections.shed("handshakes");
            }
        }
    });
    ReceiverStream::new(accepted)
}

/// A connection whose other side has shown who it is, with its place.
async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    connections: &Arc<Connections>,
) -> std::io::Result<CallerStream> {
    tcp.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await??;
    let caller = match stream.get_ref().1.peer_certificates().and_then(|c| c.first()) {
        Some(certificate) => Caller::of(certificate),
        None => Caller::unknown(),
    };
    let place = connections.admit(&caller).map_err(|why| {
        connections.shed(why);
        std::io::Error::other(why)
    })?;
    Ok(CallerStream::new(stream, caller, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_keeps_others_out_of_nothing_and_clients_keep_no_node_out() {
        let connections = Connections::new(Arc::default());
        let client = |i: usize| Caller::for_tests(&format!("client-{i}"), false);
        let own: Vec<_> = (0..PER_CALLER_MAX).map(|_| connections.admit(&client(0)).unwrap()).collect();
        assert_eq!(connections.admit(&client(0)).err(), Some("caller"));
        let others: Vec<_> = (PER_CALLER_MAX..CLIENTS_MAX)
            .map(|i| connections.admit(&client(1 + i / PER_CALLER_MAX)).unwrap())
            .collect();
        assert_eq!(connections.admit(&client(99)).err(), Some("clients"));
        let node = connections.admit(&Caller::for_tests("node", true)).unwrap();
        drop(own);
        drop(connections.admit(&client(99)).unwrap());
        drop((others, node));
        let state = connections.state();
        assert_eq!((state.all, state.clients, state.open.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn the_oldest_unfinished_handshake_gives_way() {
        let handshakes = Handshakes::default();
        let begin = || tokio::spawn(std::future::pending::<()>());
        let tasks: Vec<_> = (0..=HANDSHAKES_MAX).map(|_| begin()).collect();
        for (i, task) in tasks.iter().enumerate() {
            assert_eq!(handshakes.begins(|_| task.abort_handle()), i == HANDSHAKES_MAX);
        }
        let mut tasks = tasks.into_iter();
        assert!(tasks.next().unwrap().await.unwrap_err().is_cancelled());
        tokio::task::yield_now().await;
        assert!(tasks.all(|task| !task.is_finished()));
        handshakes.ends(1);
        assert_eq!(handshakes.shaking().tasks.front().map(|(id, _)| *id), Some(2));
    }
}
