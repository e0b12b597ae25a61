//! Counts and times every call, whoever makes it and however it ends.

use crate::metrics::{Metrics, names};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tally_domain::Reason;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

/// Wraps a service.
#[derive(Clone)]
pub struct Counted(pub Arc<Metrics>);

/// See [`Counted`].
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, metrics: self.0.clone() }
    }
}

impl<S, B> Service<http::Request<B>> for Counting<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (metrics, begin) = (self.metrics.clone(), Instant::now());
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let outcome = outcome(response.headers());
            // What is not implemented here is a name that the caller made up.
            let method = if outcome == UNKNOWN { UNKNOWN } else { path.rsplit('/').next().unwrap_or(UNKNOWN) };
            metrics.count(&names::CALLS, &[method, outcome]);
            metrics.took(&names::CALL_SECONDS, &[method], begin.elapsed());
            Ok(response)
        })
    }
}

/// A method that this node does not have.
pub const UNKNOWN: &str = "unknown";

/// `ok`, a reason of the closed list, or what the library says by itself. Only answers without a body have their status in
/// the head; a stream that fails later was answered.
fn outcome(headers: &http::HeaderMap) -> &'static str {
    let Some(status) = Status::from_header_map(headers) else { return "ok" };
    let reason = status.get_details_error_info().and_then(|info| Reason::parse(&info.reason));
    match (reason, status.code()) {
        (Some(reason), _) => reason.as_str(),
        (None, Code::Ok) => "ok",
        (None, Code::Unimplemented) => UNKNOWN,
        (None, Code::Cancelled) => "cancelled",
        (None, _) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_a_word_of_a_closed_list() {
        let head = |status: Status| status.into_http::<Body>().into_parts().0.headers;
        assert_eq!(outcome(&http::HeaderMap::new()), "ok");
        assert_eq!(outcome(&head(crate::reply::status(&Reason::PolicyDenied.into()))), "POLICY_DENIED");
        assert_eq!(outcome(&head(Status::unimplemented(""))), UNKNOWN);
        assert_eq!(outcome(&head(Status::cancelled("x"))), "cancelled");
        assert_eq!(outcome(&head(Status::unknown("made up by somebody"))), "other");
    }
}
