//! A node that starts first asks its peers what they know of it and what it has missed. Meanwhile it answers the same
//! questions of theirs, or two that start together would wait for each other; all other calls wait until it serves.

use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tower::{Layer, Service};

/// What peers ask at their start: who this node is, and what it has that they may have missed.
const GREET: &str = "/tally.v1.PeerService/Greet";
const FETCH: &str = "/tally.v1.PeerService/Fetch";

/// Wraps a service; open once the value is true.
#[derive(Debug, Clone)]
pub struct Gate(pub watch::Receiver<bool>);

/// See [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    open: watch::Receiver<bool>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, open: self.0.clone() }
    }
}

impl<S, B> Service<http::Request<B>> for Gated<S>
where
    S: Service<http::Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    S::Response: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that was polled ready is the one to call.
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let path = request.uri().path();
        if *self.open.borrow() || path == GREET || path.starts_with(FETCH) {
            return Box::pin(inner.call(request));
        }
        let mut open = self.open.clone();
        Box::pin(async move {
            // Without a sender the node is on its way down; the connection goes with it.
            let _ = open.wait_for(|open| *open).await;
            inner.call(request).await
        })
    }
}
