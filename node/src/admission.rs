//! How much a node takes on: bounded work, a bounded queue, and a share for each caller. What is beyond it is refused at once,
//! before its body is read.
//!
//! A place is given back when the work is done that was begun in it: who hangs up early and comes again has not made room.
//!
//! INVARIANT: a peer's call never waits for a client's, and a freeze never waits for anything: both would stop what must go on.

mod pace;
mod places;

use crate::caller::Caller;
use crate::deadline;
use crate::metrics::{Metrics, names};
use crate::reply;
use crate::turn::Took;
use pace::WORK_MAX;
use places::{Given, Places};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tally_domain::{Reason, Refusal};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Layer, Service};

/// Requests of clients that wait for a place (DESIGN 10).
const QUEUE_MAX: usize = 256;

/// Calls of one client at once, waiting ones among them: half of what there is room for.
const CALLS_OF_ONE_MAX: usize = (WORK_MAX + QUEUE_MAX) / 2;

/// Calls of one peer at once: for each session that there can be a proposal or a vote, a round and the result.
const CALLS_OF_A_PEER_MAX: usize = 4 * crate::sessions::SESSIONS_MAX;

/// One signature.
const SIGN: &str = "/tally.v1.SigningService/Sign";

/// What takes rounds, a token or both. The rest is answered from memory or the store.
const WORK: [&str; 16] = [
    SIGN,
    "/tally.v1.KeyService/CreateKey",
    "/tally.v1.KeyWrapService/GenerateDataKey",
    "/tally.v1.KeyWrapService/Wrap",
    "/tally.v1.KeyWrapService/Unwrap",
    "/tally.v1.KeyWrapService/Rewrap",
    "/tally.v1.KeyWrapService/CreateKek",
    "/tally.v1.KeyWrapService/ChangeKek",
    "/tally.v1.TokenService/Tokenize",
    "/tally.v1.TokenService/Reveal",
    "/tally.v1.TokenService/Search",
    "/tally.v1.TokenService/SuspendToken",
    "/tally.v1.TokenService/ResumeToken",
    "/tally.v1.TokenService/DeleteToken",
    "/tally.v1.TokenService/CreateDomain",
    "/tally.v1.TokenService/ChangeDomain",
];

/// Calls of nodes.
const PEER: &str = "/tally.v1.PeerService/";

/// All calls of a node.
pub struct Admission {
    metrics: Arc<Metrics>,
    callers: Mutex<HashMap<String, Arc<Share>>>,
    work: Arc<Places>,
    queued: Arc<AtomicUsize>,
}

/// What one caller has.
struct Share {
    calls: Arc<AtomicUsize>,
}

/// Counts one more for as long as it lives.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn below(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |n: usize| (n < max).then_some(n + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(count.clone()))
    }
}

/// What a call takes.
struct Place {
    _share: Arc<Share>,
    _call: Held,
    _work: Option<Given>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Nothing is going on yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, callers: Mutex::default(), work: Arc::default(), queued: Arc::default() }
    }

    /// How many calls are answered now, those that wait among them, and how many wait.
    pub fn counts(&self) -> (usize, usize) {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = callers.values().map(|share| share.calls.load(Ordering::Relaxed)).sum();
        (calls, self.queued.load(Ordering::Relaxed))
    }

    /// What a turn of a session has taken: from that follows how much is worked on at once.
    pub fn turn_took(&self, took: Took) {
        self.work.turn_took(took);
    }

    /// How much is worked on at once, at most, as things are.
    pub fn room(&self) -> usize {
        self.work.limit()
    }

    /// Callers that have nothing going on are forgotten: names are free to whoever has a certificate.
    fn share(&self, caller: &str) -> Arc<Share> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.contains_key(caller) {
            callers.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let new = || Arc::new(Share { calls: Arc::default() });
        callers.entry(caller.to_owned()).or_insert_with(new).clone()
    }

    fn shed(&self, path: &str) -> Refusal {
        self.metrics.count(&names::SHED, &[if path.starts_with(PEER) { "peer" } else { "client" }]);
        Reason::Overloaded.into()
    }

    /// A place for one signature that comes over a stream or by JSON-RPC: as if it had been a call of its own.
    ///
    /// # Errors
    /// `OVERLOADED` at once, when there is no room to wait either.
    pub async fn admit_signature(&self, caller: &Caller) -> Result<deadline::Place, Refusal> {
        self.admit(caller.key(), SIGN).await.map(|place| Arc::new(place) as deadline::Place)
    }

    /// A place for a call, when there is one.
    ///
    /// # Errors
    /// `OVERLOADED` at once, when there is no room to wait either.
    async fn admit(&self, caller: &str, path: &str) -> Result<Place, Refusal> {
        let share = self.share(caller);
        let max = if path.starts_with(PEER) { CALLS_OF_A_PEER_MAX } else { CALLS_OF_ONE_MAX };
        let call = Held::below(&share.calls, max).ok_or_else(|| self.shed(path))?;
        if !WORK.contains(&path) {
            return Ok(Place { _share: share, _call: call, _work: None });
        }
        let work = match self.work.try_take(caller) {
            Some(given) => given,
            None => {
                let _queued = Held::below(&self.queued, QUEUE_MAX).ok_or_else(|| self.shed(path))?;
                self.work.take(caller).await.ok_or(Reason::Bug)?
            }
        };
        Ok(Place { _share: share, _call: call, _work: Some(work) })
    }
}

/// Wraps a service; what is inside is done when there is room, and until the caller's time is over.
#[derive(Clone)]
pub struct Admitted(pub Arc<Admission>);

/// See [`Admitted`].
#[derive(Clone)]
pub struct Admitting<S> {
    inner: S,
    admission: Arc<Admission>,
}

impl<S> Layer<S> for Admitted {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { inner, admission: self.0.clone() }
    }
}

impl<S, B> Service<http::Request<B>> for Admitting<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that was polled ready is the one to call.
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let admission = self.admission.clone();
        let caller = request.extensions().get::<Caller>().map(|caller| caller.key().to_owned()).unwrap_or_default();
        let path = request.uri().path().to_owned();
        let end = Instant::now() + deadline::of(request.headers());
        Box::pin(async move {
            let work = async {
                match admission.admit(&caller, &path).await {
                    Ok(place) => deadline::until(end, Arc::new(place), inner.call(request)).await,
                    Err(refusal) => Ok(reply::status(&refusal).into_http()),
                }
            };
            let late = |_| Ok(reply::status(&Reason::Deadline.into()).into_http());
            tokio::time::timeout_at(end, work).await.unwrap_or_else(late)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const WORK_OF_ONE_MAX: usize = WORK_MAX / 4 * 3;
    use tokio::task::JoinSet;

    fn admission() -> Arc<Admission> {
        Arc::new(Admission::new(Arc::default()))
    }

    /// Lets all tasks come as far as they can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Calls that never end: those that have or wait for a place, and how many were refused.
    async fn flood(
        admission: &Arc<Admission>,
        caller: &'static str,
        path: &'static str,
        calls: usize,
    ) -> (JoinSet<()>, usize) {
        let (mut tasks, refused) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..calls {
            let (admission, refused) = (admission.clone(), refused.clone());
            tasks.spawn(async move {
                match admission.admit(caller, path).await {
                    Ok(_place) => std::future::pending().await,
                    Err(refusal) => {
                        assert_eq!(refusal.reason, Reason::Overloaded);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        settle().await;
        (tasks, refused.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn one_client_that_floods_leaves_room_for_another_and_for_peers() {
        let admission = admission();
        let (_hog, refused) = flood(&admission, "hog", SIGN, 1_000).await;
        assert_eq!(refused, 1_000 - CALLS_OF_ONE_MAX);
        assert_eq!(admission.counts(), (CALLS_OF_ONE_MAX, CALLS_OF_ONE_MAX - WORK_OF_ONE_MAX));
        // At once: not after what waits.
        let now = |caller, path| admission.admit(caller, path).now_or_never().expect("this waits").map(drop);
        now("honest", SIGN).unwrap();
        now("node-2", "/tally.v1.PeerService/ProposeSign").unwrap();
        let (_peer, refused) = flood(&admission, "node-2", "/tally.v1.PeerService/Deliver", 300).await;
        assert_eq!(refused, 300 - CALLS_OF_A_PEER_MAX);
    }

    #[tokio::test]
    async fn when_all_wait_the_queue_ends_and_freezes_do_not_wait() {
        let admission = admission();
        let (mut hogs, mut refused) = (Vec::new(), 0);
        for hog in ["a", "b", "c", "d"] {
            let (tasks, more) = flood(&admission, hog, SIGN, CALLS_OF_ONE_MAX).await;
            hogs.push(tasks);
            refused += more;
        }
        assert_eq!(admission.counts(), (WORK_MAX + QUEUE_MAX, QUEUE_MAX));
        assert_eq!(refused, 4 * CALLS_OF_ONE_MAX - WORK_MAX - QUEUE_MAX);
        let now = |path| admission.admit("honest", path).now_or_never().expect("this waits").map(drop);
        assert_eq!(now(SIGN).unwrap_err().reason, Reason::Overloaded);
        now("/tally.v1.FreezeService/Freeze").unwrap();
        drop(hogs);
        settle().await;
        assert_eq!(admission.counts(), (0, 0));
        now(SIGN).unwrap();
    }

    #[tokio::test]
    async fn who_leaves_the_queue_gives_up_the_place() {
        let admission = admission();
        let (_a, _) = flood(&admission, "a", SIGN, WORK_OF_ONE_MAX).await;
        let (_b, _) = flood(&admission, "b", SIGN, WORK_OF_ONE_MAX).await;
        assert!(admission.admit("c", SIGN).now_or_never().is_none());
        assert_eq!(admission.counts().1, 2 * WORK_OF_ONE_MAX - WORK_MAX);
        assert_eq!(admission.share("c").calls.load(Ordering::Relaxed), 0);
    }
}
