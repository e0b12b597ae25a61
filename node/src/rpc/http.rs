//! HTTP around JSON-RPC: one POST, one body of bounded size, in bounded time.

use super::ask::{Form, Who, outcome};
use super::call::label;
use super::fault::Fault;
use super::message::{Body, Item, answer as answer_to};
use super::{Caller, Endpoint};
use crate::metrics::names;
use crate::reply;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::roster::RosterClient;
use tally_domain::{Reason, Refusal};
use tokio::time::{Instant, timeout};

/// Largest body: the largest content of an intent twice over, because it comes in hex, and as much again for a batch.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// Longest wait for a body, which comes in one piece.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a body that is not read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time for all calls of one body. What is not done by then is not begun; a session that runs goes on, and the caller
/// is told where to look.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers one request.
pub async fn answer(endpoint: &Arc<Endpoint>, caller: &Caller, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let form = match request.uri().path() {
        "/" => Form::Raw,
        "/geth" => Form::Geth,
        _ => return plain(StatusCode::NOT_FOUND, "JSON-RPC is at `/`, and in geth's form at `/geth`"),
    };
    if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC is a POST");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    // A page in a browser that has a client certificate can send no other site's JSON without asking first.
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be of type application/json");
    }
    // Before a place is taken: who may not call keeps none from those who may.
    let client = match client(endpoint, caller) {
        Ok(client) => client,
        Err(refusal) => {
            discard(request.into_body()).await;
            return json(&refused(endpoint, &refusal));
        }
    };
    let Ok(_place) = endpoint.bodies.try_acquire() else {
        discard(request.into_body()).await;
        return shed(endpoint);
    };
    let body = match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), BODY_MAX_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 256 KiB");
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body does not read"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let who = Who { caller, client: &client, until: Instant::now() + ANSWER_TIMEOUT };
    match answers(endpoint, who, form, &body).await {
        Some(answers) => json(&answers),
        // Nothing but notifications.
        None => bare(StatusCode::NO_CONTENT),
    }
}

/// Lets a body come that nobody reads: a connection that is closed before that loses the answer on its way.
async fn discard(mut body: Incoming) {
    let end = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DISCARD_TIMEOUT, end).await;
}

/// The client of this moment's roster; certificates of others do not speak for it.
fn client(endpoint: &Endpoint, caller: &Caller) -> Result<RosterClient, Refusal> {
    let bundle = endpoint.node.bundle();
    let client = caller.client(bundle.roster()).ok_or(Reason::UnknownClient)?;
    if client.id == endpoint.config.client { Ok(client.clone()) } else { Err(Reason::Acl.into()) }
}

async fn answers(endpoint: &Arc<Endpoint>, who: Who<'_>, form: Form, body: &[u8]) -> Option<Value> {
    match Body::read(body) {
        Body::One(item) => one(endpoint, who, form, item).await,
        Body::Several(items) => {
            let mut answers = Vec::with_capacity(items.len());
            for item in items {
                answers.extend(one(endpoint, who, form, item).await);
            }
            (!answers.is_empty()).then(|| answers.into())
        }
    }
}

async fn one(endpoint: &Arc<Endpoint>, who: Who<'_>, form: Form, item: Item) -> Option<Value> {
    let begin = Instant::now();
    let (method, outcome_word, answer) = match item {
        Item::Notification => return None,
        Item::Not(unasked) => (label(""), Reason::Malformed.as_str(), unasked.answer()),
        Item::Call(mut asked) => {
            let outcome = outcome(endpoint, who, form, &mut asked).await;
            let word = outcome.as_ref().err().map_or("ok", Fault::reason);
            (label(&asked.method), word, answer_to(&asked.id, outcome))
        }
    };
    let metrics = &endpoint.node.metrics;
    metrics.count(&names::CALLS, &[method, outcome_word]);
    metrics.took(&names::CALL_SECONDS, &[method], begin.elapsed());
    Some(answer)
}

/// What is said before any call is read.
fn refused(endpoint: &Endpoint, refusal: &Refusal) -> Value {
    endpoint.node.metrics.count(&names::CALLS, &[label(""), refusal.reason.as_str()]);
    answer_to(&Value::Null, Err(Fault::refusal(refusal, None)))
}

/// There is no room for another body. The status is what HTTP has for it, and what libraries know to wait for: without
/// reading the body nobody knows the ids of its calls.
fn shed(endpoint: &Endpoint) -> Response<Full<Bytes>> {
    endpoint.node.metrics.count(&names::SHED, &["client"]);
    let mut response = json(&refused(endpoint, &Reason::Overloaded.into()));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(reply::RETRY_AFTER.as_secs().max(1)));
    response
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn plain(status: StatusCode, what: &'static str) -> Response<Full<Bytes>> {
    let mut response = bare(status);
    *response.body_mut() = Full::from(what);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
