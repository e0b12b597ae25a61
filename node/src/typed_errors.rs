//! Gives a typed reason to errors that the gRPC library makes by itself, before a handler runs: bodies that are no
//! protobuf, and messages over the limit. Without it they would be INTERNAL and OUT_OF_RANGE without a reason.

use crate::reply;
use std::pin::Pin;
use std::task::{Context, Poll};
use tally_domain::Reason;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Wraps a service.
#[derive(Debug, Clone, Copy, Default)]
pub struct TypedErrors;

/// See [`TypedErrors`].
#[derive(Debug, Clone)]
pub struct Typed<S>(S);

impl<S> Layer<S> for TypedErrors {
    type Service = Typed<S>;

    fn layer(&self, inner: S) -> Typed<S> {
        Typed(inner)
    }
}

impl<S, B> Service<http::Request<B>> for Typed<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(match reason(response.headers()) {
                Some(reason) => reply::status(&reason.into()).into_http(),
                None => response,
            })
        })
    }
}

/// The reason behind a status that came without details: only statuses without a body stand in the headers.
fn reason(headers: &http::HeaderMap) -> Option<Reason> {
    let status = Status::from_header_map(headers)?;
    if !status.details().is_empty() {
        return None;
    }
    match status.code() {
        Code::OutOfRange => Some(Reason::Oversized),
        Code::Internal if status.message().contains("decode Protobuf") => Some(Reason::Malformed),
        Code::Internal if status.message().contains("Protobuf") => Some(Reason::Malformed),
        Code::Cancelled if status.message().contains("Timeout expired") => Some(Reason::Deadline),
        _ => None,
    }
}
