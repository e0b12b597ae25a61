//! `TokenService`. A card number is taken out of the message that brought it at once, and put into the answer last.

use super::{FROZEN, client, is_stopped, refused};
use crate::convert;
use crate::deadline;
use crate::hsm_keys::HsmHeld;
use crate::lead_batch::Stream as Batch;
use crate::lead_token::{self, Beside, in_time};
use crate::node::Node;
use crate::reply::status;
use crate::vault::{Loaded, domain_of, rotations};
use crate::{lead_domain, lead_key};
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use std::pin::Pin;
use std::sync::Arc;
use tally_domain::intent::ENVELOPE_MAX_BYTES;
use tally_domain::key::KeyState;
use tally_domain::ports::store::tokens::{Rotated, RotationState};
use tally_domain::token::DomainState;
use tally_domain::{Action, KeyName, Reason, Refusal, SecretBytes};
use tally_proto::v1;
use tally_proto::v1::token_service_server::{TokenService, TokenServiceServer};
use tally_signer::hsm_sign::must_be_home;
use tally_tokenization::spec::{Keeping, Mode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, field};

/// Largest message: an intent, or 256 rows of at most 256 bytes.
const MESSAGE_MAX_BYTES: usize = 2 * ENVELOPE_MAX_BYTES;

/// Answers that may wait for a client that does not read them.
const ANSWERS_MAX: usize = 4;

/// Messages of one stream that the token works on while the one before is being written down.
const AHEAD_MAX: usize = 2;

/// The state of a domain that lives elsewhere: that it is there is all that is known of it here.
const AT_ITS_HOME: &str = "at its home";

/// One node's service.
pub struct Tokens(Arc<Node>);

/// `TokenService`.
pub fn service(node: Arc<Node>) -> TokenServiceServer<Tokens> {
    TokenServiceServer::new(Tokens(node)).max_decoding_message_size(MESSAGE_MAX_BYTES)
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Tokens {
    /// One call, in a task of its own: a client that hangs up does not stop it halfway.
    async fn call<Q, T, Work>(
        &self,
        request: Request<Q>,
        action: Action,
        envelope: impl FnOnce(&mut Q) -> Option<v1::Envelope>,
        work: impl FnOnce(Arc<Node>, tally_domain::ClientId, tally_domain::dsse::Envelope, Q) -> Work,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let caller = client(&self.0, &request)?.id.clone();
        let span = tracing::info_span!("token", call = action.as_str(), client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let mut request = request.into_inner();
        let envelope = convert::envelope_in(envelope(&mut request)).map_err(|r| status(&r))?;
        let work = work(self.0.clone(), caller, envelope, request);
        tokio::spawn(deadline::carried(work.instrument(span)))
            .await
            .map_err(|_| refused(Reason::Bug))?
            .map_err(|r| status(&r))
    }

    /// A domain, with its keys if this is its home.
    fn told(&self, held: &HsmHeld) -> Result<v1::TokenDomain, Status> {
        let node = &self.0;
        let mut told = v1::TokenDomain {
            name: held.record.name.to_string(),
            home: held.record.home.to_string(),
            state: held.state().as_str().into(),
            ..v1::TokenDomain::default()
        };
        if held.record.home == *node.name() {
            let domain = domain_of(&held.record).map_err(|r| status(&r))?;
            node.vaults.forget_record(&domain);
            let loaded = node.vaults.load(&domain).map_err(|r| status(&r))?;
            fill(&mut told, &loaded);
            let going = rotations(node, &domain).map_err(|r| status(&r))?;
            told.rotations = going.iter().map(rotation_out).collect();
            let doomed = node.vaults.store.doomed_keys().map_err(|e| status(&crate::reply::of_store(&e)))?;
            told.doomed_keys = u32::try_from(doomed.len()).unwrap_or(u32::MAX);
        } else if held.state() == KeyState::Active {
            told.state = AT_ITS_HOME.into();
        }
        if is_stopped(node, &held.record.name, &told.state) {
            told.state = FROZEN.into();
        }
        Ok(told)
    }

    fn own(&self, name: &str, tenant: &tally_domain::Tenant) -> Result<HsmHeld, Status> {
        let held = KeyName::parse(name).ok().and_then(|name| self.0.hsm_keys.get(&name));
        let own = held.filter(|held| held.record.tenant == *tenant && held.is_domain());
        own.ok_or_else(|| refused(Reason::DomainNotFound))
    }
}

fn fill(told: &mut v1::TokenDomain, loaded: &Loaded) {
    let spec = loaded.checked.spec();
    if loaded.doing != DomainState::Active {
        told.state = loaded.doing.as_str().into();
    }
    told.format = spec.format.as_str().into();
    told.reuse = spec.reuse.as_str().into();
    let (mode, uses) = match spec.keeping {
        Keeping::Reversible { mode: Mode::Strict, uses } => ("strict", uses),
        Keeping::Reversible { mode: Mode::Hybrid, uses } => ("hybrid", uses),
        Keeping::OneWay => ("one-way", None),
    };
    (told.mode, told.uses) = (mode.into(), uses.map_or(0, std::num::NonZeroU32::get));
    told.life_s = spec.life_s.map_or(0, std::num::NonZeroU32::get);
    told.brands = spec.brands.iter().map(|brand| brand.as_str().into()).collect();
    let key = |key: &str, version, state: &str, made: tally_domain::UnixMillis| v1::DomainKey {
        key: key.into(),
        version,
        state: state.into(),
        dependents: 0,
        made_at_ms: made.0,
        sealed: 0,
    };
    let keks = loaded
        .keks
        .iter()
        .map(|k| v1::DomainKey { dependents: k.data_keys, ..key("kek", k.number.0, k.state.as_str(), k.made_at) });
    let data = loaded.data_keys.iter().map(|k| v1::DomainKey {
        dependents: k.tokens,
        sealed: k.sealed,
        ..key("data", k.number.0, k.state.as_str(), k.made_at)
    });
    let index = loaded.index_keys.iter().map(|k| key("index", k.number.0, k.state.as_str(), k.made_at));
    told.keys = keks.chain(data).chain(index).collect();
}

fn rotation_out(row: &tally_domain::ports::store::tokens::RotationRow) -> v1::DomainRotation {
    let state = match row.state {
        RotationState::Running => "running",
        RotationState::Paused => "paused",
        RotationState::Finished => "finished",
    };
    let key = match row.what {
        Rotated::DataKey => "data",
        Rotated::IndexKey => "index",
    };
    v1::DomainRotation { key: key.into(), to_version: row.to, state: state.into(), done: row.done, shred: row.shred }
}

/// What travels beside an intent is moved out of the message.
fn beside(salt: Vec<u8>, card: Vec<u8>, subject: String) -> Beside {
    Beside { salt, card: SecretBytes::new(card), subject }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    type BatchTokenizeStream = Answers<v1::BatchTokenizeResponse>;
    type BatchRevealStream = Answers<v1::BatchRevealResponse>;

    async fn create_domain(
        &self,
        request: Request<v1::CreateDomainRequest>,
    ) -> Result<Response<v1::CreateDomainResponse>, Status> {
        let work = |node, caller, envelope, _| async move { lead_key::create_domain(&node, caller, envelope).await };
        let (held, rule) = self.call(request, Action::CreateDomain, |r| r.intent.take(), work).await?;
        Ok(Response::new(v1::CreateDomainResponse { domain: Some(self.told(&held)?), rule }))
    }

    async fn change_domain(
        &self,
        request: Request<v1::ChangeDomainRequest>,
    ) -> Result<Response<v1::ChangeDomainResponse>, Status> {
        let work = |node, caller, envelope, _| async move { lead_domain::change(&node, caller, envelope).await };
        let bytes = self.call(request, Action::ChangeDomain, |r| r.intent.take(), work).await?;
        let answer = v1::ChangeDomainResponse::decode(bytes.as_slice()).map_err(|_| refused(Reason::Tampered))?;
        Ok(Response::new(answer))
    }

    async fn get_domain(
        &self,
        request: Request<v1::GetDomainRequest>,
    ) -> Result<Response<v1::GetDomainResponse>, Status> {
        let tenant = &client(&self.0, &request)?.tenant;
        let held = self.own(&request.get_ref().name, tenant)?;
        must_be_home(&held.record.home, self.0.name(), self.0.bundle().roster()).map_err(|r| status(&r))?;
        Ok(Response::new(v1::GetDomainResponse { domain: Some(self.told(&held)?) }))
    }

    async fn list_domains(
        &self,
        request: Request<v1::ListDomainsRequest>,
    ) -> Result<Response<v1::ListDomainsResponse>, Status> {
        let tenant = &client(&self.0, &request)?.tenant;
        let own = self.0.hsm_keys.all().into_iter().filter(|held| held.record.tenant == *tenant && held.is_domain());
        let domains = own.map(|held| self.told(&held)).collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListDomainsResponse { domains }))
    }

    async fn tokenize(&self, request: Request<v1::TokenizeRequest>) -> Result<Response<v1::TokenizeResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, r: v1::TokenizeRequest| {
            let beside = beside(r.salt, r.card, r.subject);
            async move { in_time(lead_token::tokenize(&node, caller, envelope, beside)).await }
        };
        Ok(Response::new(self.call(request, Action::Tokenize, |r| r.intent.take(), work).await?))
    }

    async fn reveal(&self, request: Request<v1::RevealRequest>) -> Result<Response<v1::RevealResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, _| async move {
            in_time(lead_token::reveal(&node, caller, envelope)).await
        };
        let (answer, value) = self.call(request, Action::Reveal, |r| r.intent.take(), work).await?;
        // A copy for the wire, which the transport frees without erasing it.
        Ok(Response::new(v1::RevealResponse { value: value.expose().to_vec(), ..answer }))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, r: v1::SearchRequest| {
            let beside = beside(r.salt, r.card, r.subject);
            async move { in_time(lead_token::search(&node, caller, envelope, beside)).await }
        };
        Ok(Response::new(self.call(request, Action::SearchToken, |r| r.intent.take(), work).await?))
    }

    async fn get_token(&self, request: Request<v1::GetTokenRequest>) -> Result<Response<v1::GetTokenResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, _| async move {
            in_time(lead_token::show(&node, caller, envelope)).await
        };
        Ok(Response::new(self.call(request, Action::ShowToken, |r| r.intent.take(), work).await?))
    }

    async fn suspend_token(
        &self,
        request: Request<v1::SuspendTokenRequest>,
    ) -> Result<Response<v1::SuspendTokenResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, _| async move {
            in_time(lead_token::suspend(&node, caller, Action::SuspendToken, envelope)).await
        };
        Ok(Response::new(self.call(request, Action::SuspendToken, |r| r.intent.take(), work).await?))
    }

    async fn resume_token(
        &self,
        request: Request<v1::ResumeTokenRequest>,
    ) -> Result<Response<v1::ResumeTokenResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, _| async move {
            in_time(lead_token::suspend(&node, caller, Action::ResumeToken, envelope)).await
        };
        let done = self.call(request, Action::ResumeToken, |r| r.intent.take(), work).await?;
        Ok(Response::new(v1::ResumeTokenResponse { rule: done.rule, home: done.home, state: done.state }))
    }

    async fn delete_token(
        &self,
        request: Request<v1::DeleteTokenRequest>,
    ) -> Result<Response<v1::DeleteTokenResponse>, Status> {
        let work = |node: Arc<Node>, caller, envelope, r: v1::DeleteTokenRequest| {
            let beside = beside(r.salt, Vec::new(), r.subject);
            async move { in_time(lead_token::delete(&node, caller, envelope, beside)).await }
        };
        Ok(Response::new(self.call(request, Action::DeleteToken, |r| r.intent.take(), work).await?))
    }

    async fn batch_tokenize(
        &self,
        request: Request<Streaming<v1::BatchTokenizeRequest>>,
    ) -> Result<Response<Self::BatchTokenizeStream>, Status> {
        let caller = client(&self.0, &request)?.id.clone();
        self.0.check_standing().map_err(|r| status(&r))?;
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.ok_or_else(|| refused(Reason::Malformed))?;
        let envelope = convert::envelope_in(first.intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let batch = Batch::open(&node, caller, Action::TokenizeMany, envelope).await.map_err(|r| status(&r))?;
        let (answers, outbound) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(deadline::placed(async move {
            if let Err(failed) = tokenize_all(&node, batch, inbound, &answers).await {
                // Whoever has hung up is not told.
                drop(answers.send(Err(failed)).await);
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }

    async fn batch_reveal(
        &self,
        request: Request<Streaming<v1::BatchRevealRequest>>,
    ) -> Result<Response<Self::BatchRevealStream>, Status> {
        let caller = client(&self.0, &request)?.id.clone();
        self.0.check_standing().map_err(|r| status(&r))?;
        let mut inbound = request.into_inner();
        let first = inbound.message().await?.ok_or_else(|| refused(Reason::Malformed))?;
        let envelope = convert::envelope_in(first.intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let batch = Batch::open(&node, caller, Action::RevealMany, envelope).await.map_err(|r| status(&r))?;
        let (answers, outbound) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(deadline::placed(async move {
            if let Err(failed) = reveal_all(&node, batch, inbound, &answers).await {
                drop(answers.send(Err(failed)).await);
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

async fn tokenize_all(
    node: &Arc<Node>,
    mut batch: Batch,
    mut inbound: Streaming<v1::BatchTokenizeRequest>,
    answers: &mpsc::Sender<Result<v1::BatchTokenizeResponse, Status>>,
) -> Result<(), Status> {
    let (rule, home) = (batch.rule(), node.name().to_string());
    let lines_done = batch.lines_done();
    let opened = v1::BatchTokenizeResponse { rule, home, rows: Vec::new(), lines_done };
    let mut gone = answers.send(Ok(opened)).await.is_err();
    let mut ahead = futures_util::stream::FuturesOrdered::new();
    let mut ended = false;
    while !(gone || ended && ahead.is_empty()) {
        let prepared = tokio::select! {
            message = inbound.message(), if !ended && ahead.len() < AHEAD_MAX => {
                match message? {
                    Some(message) => {
                        let first = batch.count(message.cards.len()).map_err(|r| status(&r))?;
                        // Begun at once, while the one before is being written down.
                        ahead.push_back(tokio::spawn(batch.prepare(node, first, message.cards)));
                    }
                    None => ended = true,
                }
                continue;
            }
            Some(prepared) = ahead.next(), if !ahead.is_empty() => prepared,
        };
        let prepared = prepared.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
        let rows = batch.keep(node, prepared).await.map_err(|r| status(&r))?;
        let answer = v1::BatchTokenizeResponse { rows, ..v1::BatchTokenizeResponse::default() };
        gone = answers.send(Ok(answer)).await.is_err();
    }
    Ok(())
}

async fn reveal_all(
    node: &Arc<Node>,
    mut batch: Batch,
    mut inbound: Streaming<v1::BatchRevealRequest>,
    answers: &mpsc::Sender<Result<v1::BatchRevealResponse, Status>>,
) -> Result<(), Status> {
    let opened = v1::BatchRevealResponse { rule: batch.rule(), home: node.name().to_string(), rows: Vec::new() };
    if answers.send(Ok(opened)).await.is_err() {
        return Ok(());
    }
    while let Some(message) = inbound.message().await? {
        let first = batch.count(message.tokens.len()).map_err(|r| status(&r))?;
        let rows = batch.reveal(node, first, message.tokens).await.map_err(|r| status(&r))?;
        let answer = v1::BatchRevealResponse { rows, ..v1::BatchRevealResponse::default() };
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
