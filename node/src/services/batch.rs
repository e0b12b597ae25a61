//! Many intents over one stream, each as if it had come alone.

use super::refused;
use crate::bundle_news::again;
use crate::caller::Caller;
use crate::convert;
use crate::deadline;
use crate::lead_sign;
use crate::node::Node;
use crate::reply::{retry_after_ms, status};
use crate::serve::stop_signal;
use prost::Message as _;
use std::sync::Arc;
use tally_domain::{ClientId, Reason};
use tally_proto::v1;
use tally_proto::v1::batch_sign_response::Outcome;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;
use tracing::{Instrument as _, field};

/// Intents of one stream in work at once: a quarter of a node's sessions, so that a batch leaves room for others.
const AT_ONCE_MAX: usize = 16;

/// One signature, led here in a task of its own: a client that hangs up does not stop a session halfway.
pub async fn sign(
    node: &Arc<Node>,
    caller: ClientId,
    intent: Option<v1::Envelope>,
) -> Result<v1::SignResponse, Status> {
    let span = tracing::info_span!("sign", client = %caller, request = field::Empty);
    node.check_standing().map_err(|r| status(&r))?;
    let envelope = convert::envelope_in(intent).map_err(|r| status(&r))?;
    let node = node.clone();
    let work = async move { again(&node, || lead_sign::sign(&node, caller.clone(), envelope.clone())).await };
    let work = tokio::spawn(deadline::carried(work.instrument(span)));
    let bytes = work.await.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
    v1::SignResponse::decode(bytes.as_slice()).map_err(|_| refused(Reason::Tampered))
}

/// Answers of a stream.
pub type Answers = ReceiverStream<Result<v1::BatchSignResponse, Status>>;

/// Signs what comes, until the client or the node has had enough; what is in work by then is answered.
pub fn batch(node: Arc<Node>, caller: Caller, mut intents: Streaming<v1::BatchSignRequest>) -> Answers {
    let (out, answers) = mpsc::channel(AT_ONCE_MAX);
    tokio::spawn(async move {
        let mut stop = std::pin::pin!(stop_signal());
        let (mut work, mut next, mut reading) = (JoinSet::new(), 0_u64, true);
        loop {
            tokio::select! {
                () = &mut stop, if reading => reading = false,
                read = intents.message(), if reading && work.len() < AT_ONCE_MAX => match read {
                    Ok(Some(request)) => {
                        work.spawn(answer(node.clone(), caller.clone(), next, request.intent));
                        next += 1;
                    }
                    Ok(None) => reading = false,
                    Err(broken) => {
                        // Not a message, or nobody there any more.
                        drop(out.send(Err(broken)).await);
                        return;
                    }
                },
                Some(answer) = work.join_next(), if !work.is_empty() => {
                    let answer = answer.map_err(|_| refused(Reason::Bug));
                    if out.send(answer).await.is_err() {
                        return;
                    }
                }
                else => return,
            }
        }
    });
    ReceiverStream::new(answers)
}

async fn answer(node: Arc<Node>, caller: Caller, index: u64, intent: Option<v1::Envelope>) -> v1::BatchSignResponse {
    // The roster of this moment: a stream outlives a bundle.
    let client = caller.client(node.bundle().roster()).map(|c| c.id.clone());
    let signed = match client {
        Some(client) => placed(&node, &caller, client, intent).await,
        None => Err(refused(Reason::UnknownClient)),
    };
    let outcome = match signed {
        Ok(signed) => Outcome::Signed(signed),
        Err(status) => Outcome::Failure(failure(&status)),
    };
    v1::BatchSignResponse { index, outcome: Some(outcome) }
}

/// A signature takes a place of its own, as if it had come alone: a stream is no way around the queue.
async fn placed(
    node: &Arc<Node>,
    caller: &Caller,
    client: ClientId,
    intent: Option<v1::Envelope>,
) -> Result<v1::SignResponse, Status> {
    let end = Instant::now() + deadline::CALL_MAX;
    let work = async {
        let place = node.admission.admit_signature(caller).await.map_err(|r| status(&r))?;
        deadline::until(end, place, sign(node, client, intent)).await
    };
    tokio::time::timeout_at(end, work).await.unwrap_or_else(|_| Err(refused(Reason::Deadline)))
}

fn failure(status: &Status) -> v1::SignFailure {
    let (reason, metadata) = status.get_details_error_info().map(|i| (i.reason, i.metadata)).unwrap_or_default();
    let metadata = metadata.into_iter().map(|(name, value)| v1::SignFailureDetail { name, value }).collect();
    let retry_after_ms = retry_after_ms(status).unwrap_or_default();
    v1::SignFailure { code: status.code().into(), reason, message: status.message().into(), metadata, retry_after_ms }
}
