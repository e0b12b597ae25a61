//! Many signatures over one stream.

use crate::answer::{self, BadField, Signed};
use crate::channel::Link;
use crate::client::Client;
use crate::error::ClientError;
use crate::order::SealedIntent;
use std::collections::HashMap;
use std::time::Duration;
use tally_domain::Reason;
use tally_domain::reason::ERROR_DOMAIN;
use tally_proto::v1;
use tally_proto::v1::batch_sign_response::Outcome;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Longest wait for the next answer: a node takes no longer for any one of those that it has in work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

type Outcomes = Vec<Option<Result<Signed, ClientError>>>;

impl Client {
    /// Signs many: over one stream to the first node, and what that leaves open one by one, as [`Client::sign`]. The answers
    /// are in the order of the intents. Once one of those cannot be had from any node the rest is not asked for.
    pub async fn batch_sign(&self, intents: &[SealedIntent]) -> Vec<Result<Signed, ClientError>> {
        let mut outcomes: Outcomes = intents.iter().map(|_| None).collect();
        if let Some(link) = self.first() {
            // Why the stream ended early is found out below.
            drop(stream(link, intents, &mut outcomes).await);
        }
        let mut down = false;
        let mut all = Vec::with_capacity(intents.len());
        for (intent, outcome) in intents.iter().zip(outcomes) {
            let outcome = match outcome.filter(|outcome| !is_open(outcome)) {
                Some(outcome) => outcome,
                None if down => Err(ClientError::Deadline { endpoint: "the cluster".into() }),
                None => self.sign(intent).await,
            };
            down |= outcome.as_ref().is_err_and(ClientError::is_transient);
            all.push(outcome);
        }
        all
    }
}

/// Whether another node may answer otherwise.
fn is_open(outcome: &Result<Signed, ClientError>) -> bool {
    let elsewhere = |e: &ClientError| e.refused().is_some_and(|r| matches!(r.reason, Reason::HomeNode));
    outcome.as_ref().is_err_and(|e| e.is_transient() || e.retry_after().is_some() || elsewhere(e))
}

async fn stream(link: &Link, intents: &[SealedIntent], outcomes: &mut Outcomes) -> Result<(), ClientError> {
    let broken = |status: Status| ClientError::from_status(&link.endpoint, &status);
    let requests: Vec<_> = intents.iter().map(|i| v1::BatchSignRequest { intent: Some(i.to_wire()) }).collect();
    let mut service = SigningServiceClient::new(link.channel.clone());
    let opening = service.batch_sign(tokio_stream::iter(requests));
    let opened = timeout(ANSWER_TIMEOUT, opening).await.map_err(|_| link.deadline())?;
    let mut answers = opened.map_err(broken)?.into_inner();
    loop {
        let answer = timeout(ANSWER_TIMEOUT, answers.message()).await.map_err(|_| link.deadline())?;
        let Some(answer) = answer.map_err(broken)? else { return Ok(()) };
        let index = usize::try_from(answer.index).unwrap_or(usize::MAX);
        let outcome = outcomes.get_mut(index).ok_or_else(|| link.wrong("index"))?;
        *outcome = Some(match answer.outcome {
            Some(Outcome::Signed(signed)) => answer::signed(signed).map_err(|BadField(field)| link.wrong(field)),
            Some(Outcome::Failure(failure)) => Err(failed(link, failure)),
            None => Err(link.wrong("outcome")),
        });
    }
}

/// As if it had been a call of its own.
fn failed(link: &Link, f: v1::SignFailure) -> ClientError {
    let metadata: HashMap<_, _> = f.metadata.into_iter().map(|detail| (detail.name, detail.value)).collect();
    let mut details = ErrorDetails::with_error_info(f.reason, ERROR_DOMAIN, metadata);
    if f.retry_after_ms > 0 {
        details.set_retry_info(Some(Duration::from_millis(f.retry_after_ms)));
    }
    ClientError::from_status(&link.endpoint, &Status::with_error_details(Code::from(f.code), f.message, details))
}
