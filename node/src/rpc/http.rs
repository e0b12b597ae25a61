//! HTTP around JSON-RPC: one POST, one body of bounded size, in bounded time.

use super::ask::{Form, Who, outcome};
use super::fault::Fault;
use super::message::{Asked, Body, Unasked, answer as answer_to};
use super::{Caller, Endpoint};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::roster::RosterClient;
use tally_domain::{Reason, Refusal};
use tokio::time::{Instant, timeout, timeout_at};

/// Largest body: the largest content of an intent twice over, because it comes in hex, and as much again for a batch.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// Longest wait for a body, which comes in one piece.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for all calls of one body; what is not done by then goes on, and the caller is told to look.
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
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is of type application/json");
    }
    let Ok(_place) = endpoint.bodies.try_acquire() else {
        return json(&refused(&Reason::Overloaded.into()));
    };
    let body = match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), BODY_MAX_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 256 KiB");
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body does not read"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    match client(endpoint, caller) {
        Ok(client) => json(&answers(endpoint, Who { caller, client: &client }, form, &body).await),
        Err(refusal) => json(&refused(&refusal)),
    }
}

/// The client of this moment's roster; certificates of others do not speak for it.
fn client(endpoint: &Endpoint, caller: &Caller) -> Result<RosterClient, Refusal> {
    let bundle = endpoint.node.bundle();
    let client = caller.client(bundle.roster()).ok_or(Reason::UnknownClient)?;
    if client.id == endpoint.config.client { Ok(client.clone()) } else { Err(Reason::Acl.into()) }
}

async fn answers(endpoint: &Arc<Endpoint>, who: Who<'_>, form: Form, body: &[u8]) -> Value {
    let until = Instant::now() + ANSWER_TIMEOUT;
    match Body::read(body) {
        Body::One(asked) => one(endpoint, who, form, asked, until).await,
        Body::Several(all) => {
            let mut answers = Vec::with_capacity(all.len());
            for asked in all {
                answers.push(one(endpoint, who, form, asked, until).await);
            }
            answers.into()
        }
    }
}

async fn one(
    endpoint: &Arc<Endpoint>,
    who: Who<'_>,
    form: Form,
    asked: Result<Asked, Unasked>,
    until: Instant,
) -> Value {
    match asked {
        Ok(mut asked) => {
            let outcome = timeout_at(until, outcome(endpoint, who, form, &mut asked)).await;
            let late = || Err(Fault::refusal(&Reason::Deadline.into(), None));
            answer_to(&asked.id, outcome.unwrap_or_else(|_| late()))
        }
        Err(unasked) => unasked.answer(),
    }
}

fn refused(refusal: &Refusal) -> Value {
    answer_to(&Value::Null, Err(Fault::refusal(refusal, None)))
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, what: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(what));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
