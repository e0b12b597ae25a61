//! What clients call about the policy bundle.

use super::clients::is_told_here;
use super::{client, is_auditor, refused, same_tenant};
use crate::approve;
use crate::bundle_news::again;
use crate::bundles::{self, BUNDLE_MAX_BYTES};
use crate::convert;
use crate::explain::{self, asked_about, explained};
use crate::judgements::{self, Sight};
use crate::lead_bundle;
use crate::node::Node;
use crate::replay::replay;
use crate::reply::status;
use std::sync::Arc;
use tally_domain::dsse::Envelope;
use tally_domain::roster::RosterClient;
use tally_domain::{Intent, Reason, Refusal, UnixMillis};
use tally_policy::Effect;
use tally_proto::v1;
use tally_proto::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use tally_proto::v1::replay_response::Part;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// Most bytes of a request: a bundle, and an intent beside it. One that is a little too large is told so in words.
const MESSAGE_MAX_BYTES: usize = BUNDLE_MAX_BYTES + 256 * 1024;

/// Changes of a replay that are decided before the reader has taken those before them.
const STREAMED_AHEAD: usize = 16;

/// One node's service for its policy; one replay at a time, because each reads the whole log.
pub struct Policies(Arc<Node>, Arc<Semaphore>);

/// `PolicyService`.
pub fn service(node: Arc<Node>) -> PolicyServiceServer<Policies> {
    PolicyServiceServer::new(Policies(node, Arc::new(Semaphore::new(1))))
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_active(
        &self,
        request: Request<v1::GetActiveRequest>,
    ) -> Result<Response<v1::GetActiveResponse>, Status> {
        client(&self.0, &request)?;
        let bundle = self.0.bundle();
        let rules = bundle.rules().map(|(id, effect)| v1::Rule { id: id.into(), effect: effect_word(effect).into() });
        let validity = bundle.header().validity;
        let whole = request.get_ref().whole && validity.is_some();
        let response = v1::GetActiveResponse {
            digest: bundle.digest().0.to_vec(),
            version: bundle.version(),
            rules: rules.collect(),
            bundle: match whole {
                true => bundles::bytes(&self.0, &bundle.digest()).map_err(|r| status(&r))?,
                false => Vec::new(),
            },
            not_after_ms: validity.map_or(0, |v| v.not_after.0),
        };
        Ok(Response::new(response))
    }

    async fn propose(&self, request: Request<v1::ProposeRequest>) -> Result<Response<v1::ProposeResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        self.0.check_standing().map_err(|r| status(&r))?;
        let span = tracing::info_span!("propose_policy", client = %caller);
        let (node, bytes) = (self.0.clone(), request.into_inner().bundle);
        done(tokio::spawn(async move { lead_bundle::propose(&node, &bytes).await }.instrument(span)).await)
    }

    async fn activate(&self, request: Request<v1::ActivateRequest>) -> Result<Response<v1::ActivateResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        self.0.check_standing().map_err(|r| status(&r))?;
        let span = tracing::info_span!("activate_policy", client = %caller);
        let (node, version) = (self.0.clone(), request.get_ref().version);
        done(tokio::spawn(async move { lead_bundle::activate(&node, version).await }.instrument(span)).await)
    }

    async fn veto(&self, request: Request<v1::VetoRequest>) -> Result<Response<v1::VetoResponse>, Status> {
        // At a node that its peers have fenced too: what it knows may be old, but stopping needs no more.
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("veto_policy", client = %caller, request = field::Empty);
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = async move { again(&node, || lead_bundle::veto(&node, caller.clone(), envelope.clone())).await };
        done(tokio::spawn(work.instrument(span)).await)
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        client(&self.0, &request)?;
        let known = bundles::all(&self.0).map_err(|r| status(&r))?;
        let proposals = known.iter().map(|known| convert::proposal_out(&self.0, known)).collect();
        Ok(Response::new(v1::HistoryResponse { proposals }))
    }

    async fn simulate(&self, request: Request<v1::SimulateRequest>) -> Result<Response<v1::SimulateResponse>, Status> {
        let client = client(&self.0, &request)?;
        let (node, asked) = (self.0.clone(), request.into_inner());
        // Loading a draft is work for a thread of its own.
        let work = tokio::task::spawn_blocking(move || {
            let envelope = Envelope { payload: asked.intent, ..Envelope::default() };
            let intent = Intent::read_unverified(&envelope)?;
            let auditor = is_auditor(&client);
            if intent.tenant != client.tenant || (intent.client != client.id && !auditor) {
                return Err(Reason::Acl.into());
            }
            let bundle = match asked.draft.as_slice() {
                [] => node.bundle(),
                draft => judgements::draft(&node, draft)?,
            };
            let judgement = judgements::simulated(&node, &intent, &bundle, sight(&client))?;
            Ok(v1::SimulateResponse { judgement: Some(judgement) })
        });
        done(work.await)
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let client = client(&self.0, &request)?;
        let asked = request.into_inner();
        let (tenant, id) = convert::request_name(&asked.tenant, &asked.request_id).map_err(|r| status(&r))?;
        same_tenant(&client, &tenant)?;
        let row = asked_about(&self.0, &tenant, id).map_err(|r| status(&r))?;
        let outcome = match is_told_here(&self.0, &row) || approve::is_known(&self.0, &row) {
            true => Some(approve::of_request(&self.0, convert::request_out(row.clone()), &tenant).await),
            false => None,
        };
        let outcome = outcome.transpose().map_err(|r| status(&r))?.map(|request| explain::outcome(&request));
        let waits = outcome.as_ref().is_some_and(|o| matches!(o.state.as_str(), "awaiting-approval" | "approved"));
        let node = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            let explained = explained(&node, &row, waits, sight(&client))?;
            Ok(v1::ExplainResponse { outcome, ..explained })
        });
        done(work.await)
    }

    type ReplayStream = ReceiverStream<Result<v1::ReplayResponse, Status>>;

    async fn replay(&self, request: Request<v1::ReplayRequest>) -> Result<Response<Self::ReplayStream>, Status> {
        if !is_auditor(&client(&self.0, &request)?) {
            return Err(refused(Reason::Acl));
        }
        let Ok(only) = self.1.clone().try_acquire_owned() else { return Err(refused(Reason::Overloaded)) };
        let (node, asked) = (self.0.clone(), request.into_inner());
        let (out, stream) = mpsc::channel(STREAMED_AHEAD);
        tokio::task::spawn_blocking(move || {
            let replayed = judgements::draft(&node, &asked.draft)
                .and_then(|draft| replay(&node, &draft, UnixMillis(asked.since_ms), &out));
            // Before the reader hears that it is over, and asks for the next.
            drop(only);
            let last = match replayed {
                Ok(counts) => Ok(v1::ReplayResponse { part: Some(Part::Counts(counts)) }),
                Err(refusal) => Err(status(&refusal)),
            };
            // The reader may have gone: then nobody has to know.
            let _ = out.blocking_send(last);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn sight(client: &RosterClient) -> Sight {
    if is_auditor(client) { Sight::Rules } else { Sight::Codes }
}

/// Work in a task of its own: a client that hangs up does not stop it.
fn done<T>(outcome: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<Response<T>, Status> {
    outcome.map_err(|_| refused(Reason::Bug))?.map(Response::new).map_err(|r| status(&r))
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}
