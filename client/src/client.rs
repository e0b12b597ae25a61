//! The client: one method for each call, with the same rules for going on to the next node.

use crate::answer::{self, BadField, Child, CreatedKey, KeyInfo, NodeInfo, RequestInfo, RequestPage, Signed};
use crate::channel::{self, Link};
use crate::error::ClientError;
use crate::homes::Homes;
use crate::order::{Order, SealedIntent};
use crate::profile::Profile;
use crate::retry::{ATTEMPTS_MAX, Plan};
use crate::witnesses::Witnesses;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::{DerivationPath, KeyName, Reason, RequestId};
use tally_proto::v1;
use tally_proto::v1::key_service_client::KeyServiceClient;
use tally_proto::v1::node_service_client::NodeServiceClient;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

/// Longest one attempt may take, and all of them together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) attempt: Duration,
    pub(crate) total: Duration,
}

/// Signing takes milliseconds; a signer that hangs takes a session timeout at the leader.
const SIGN: Limits = Limits { attempt: Duration::from_secs(20), total: Duration::from_secs(45) };

/// Nodes that are asked where one says that too few voters are there: one may be cut off from the others, two are not.
const VOTERS_ASKED_MAX: u32 = 2;

/// Key generation is five rounds of heavy arithmetic at all nodes, and a disk write at each.
pub(crate) const CREATE_KEY: Limits = Limits { attempt: Duration::from_secs(90), total: Duration::from_secs(120) };

/// A freeze is one disk write, and at most two seconds in which the other nodes are told; a lift is two calls to each of them.
pub(crate) const FREEZE: Limits = Limits { attempt: Duration::from_secs(15), total: Duration::from_secs(45) };

/// A read touches one node's own state.
pub(crate) const READ: Limits = Limits { attempt: Duration::from_secs(5), total: Duration::from_secs(15) };

/// A client of a cluster. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    profile: Arc<Profile>,
    links: Vec<Link>,
    homes: Homes,
    witnesses: Witnesses,
    attempts_max: u32,
}

impl Client {
    /// A client with this profile; connects when it first has to.
    ///
    /// # Errors
    /// [`ClientError::Profile`] when the profile makes no TLS identity, [`ClientError::NoRuntime`].
    pub fn new(profile: Profile) -> Result<Self, ClientError> {
        let links = channel::links(&profile)?;
        Ok(Self {
            profile: Arc::new(profile),
            links,
            homes: Homes::default(),
            witnesses: Witnesses::default(),
            attempts_max: ATTEMPTS_MAX,
        })
    }

    /// Who this client is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The endpoints that this client asks, in that order.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| &*link.endpoint)
    }

    /// A client that asks only the endpoint at `index`.
    pub fn only(&self, index: usize) -> Option<Self> {
        let links = vec![self.links.get(index)?.clone()];
        Some(Self { links, ..self.clone() })
    }

    /// A client that asks the same endpoints, `by` further on first: spreads leadership over the nodes.
    #[must_use]
    pub fn rotated(&self, by: usize) -> Self {
        let mut links = self.links.clone();
        let count = links.len().max(1);
        links.rotate_left(by % count);
        Self { links, ..self.clone() }
    }

    /// A client that sends each call once: to find out how a node is, rather than to get something done.
    #[must_use]
    pub fn once(&self) -> Self {
        Self { attempts_max: 1, ..self.clone() }
    }

    /// A client that does not ask those who have said that they are witnesses; unless all have, who can then say it again.
    fn signers(&self) -> Self {
        let mut links = self.links.clone();
        links.retain(|link| !self.witnesses.has(&link.endpoint));
        if links.is_empty() { self.clone() } else { Self { links, ..self.clone() } }
    }

    /// Draws a request id unless the order has one, sets the times, and signs.
    ///
    /// # Errors
    /// [`ClientError::Order`], [`ClientError::Randomness`].
    pub fn seal(&self, order: Order) -> Result<SealedIntent, ClientError> {
        order.seal(&self.profile)
    }

    /// Signs, or says why not. Calling it again with the same intent gives the same signature.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::Deadline`] or [`ClientError::Unreachable`] the request may still complete.
    pub async fn sign(&self, intent: &SealedIntent) -> Result<Signed, ClientError> {
        let request = v1::SignRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::SignRequest| async move { SigningServiceClient::new(c).sign(r).await };
        let key = &intent.intent().key;
        let signers = self.signers();
        let (signed, by) = signers.call_from(signers.home_of(key), SIGN, request, send, answer::signed).await?;
        if signed.home.is_some() {
            self.homes.note(key, &by);
        }
        Ok(signed)
    }

    /// Creates a key with all of its nodes, or in the HSM of one, or says why not.
    ///
    /// # Errors
    /// [`ClientError`], as for [`Client::sign`].
    pub async fn create_key(&self, intent: &SealedIntent) -> Result<CreatedKey, ClientError> {
        let request = v1::CreateKeyRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::CreateKeyRequest| async move { KeyServiceClient::new(c).create_key(r).await };
        let read = |r: v1::CreateKeyResponse| Ok(CreatedKey { key: answer::key(r.key)?, rule: r.rule });
        self.signers().call(CREATE_KEY, request, send, read).await
    }

    /// One request as the first node that answers knows it.
    ///
    /// # Errors
    /// [`ClientError`], here and below.
    pub async fn request(&self, id: RequestId) -> Result<RequestInfo, ClientError> {
        let request = v1::GetRequestRequest { tenant: self.tenant(), request_id: id.0.to_vec() };
        let send = |c, r: v1::GetRequestRequest| async move { SigningServiceClient::new(c).get_request(r).await };
        self.call(READ, request, send, |r| answer::request(r.request)).await
    }

    /// One request as the endpoint tells it that knows most of it: a node that was away when it came has not heard of it, one
    /// that only voted does not know why it was refused, and one that does not lead not why it is not signed yet.
    ///
    /// # Errors
    /// [`ClientError`]; that it is not known only if no node that answers knows it.
    pub async fn find_request(&self, id: RequestId) -> Result<RequestInfo, ClientError> {
        let mut unknown = None;
        let mut trouble = None;
        let mut best: Option<RequestInfo> = None;
        for index in 0..self.links.len() {
            let Some(one) = self.only(index) else { continue };
            match one.once().request(id).await {
                Err(e) if e.refused().is_some_and(|r| r.reason == Reason::RequestNotFound) => unknown = Some(e),
                Err(e) if e.is_transient() => trouble = Some(e),
                Err(e) => return Err(e),
                Ok(told) if told.state.is_final() => return Ok(told),
                Ok(told) if best.as_ref().is_none_or(|best| told.tells_more_than(best)) => best = Some(told),
                Ok(_) => {}
            }
        }
        if let Some(best) = best {
            return Ok(best);
        }
        Err(unknown.or(trouble).unwrap_or(ClientError::Deadline { endpoint: "the cluster".into() }))
    }

    /// The tenant's requests, newest first, from `page` on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn requests(&self, limit: u32, page: Option<&str>) -> Result<RequestPage, ClientError> {
        let page_token = page.unwrap_or_default().to_owned();
        let request = v1::ListRequestsRequest { tenant: self.tenant(), page_size: limit, page_token };
        let send = |c, r: v1::ListRequestsRequest| async move { SigningServiceClient::new(c).list_requests(r).await };
        self.call(READ, request, send, answer::page).await
    }

    /// One key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn key(&self, name: &KeyName) -> Result<KeyInfo, ClientError> {
        let request = v1::GetKeyRequest { name: name.to_string() };
        let send = |c, r: v1::GetKeyRequest| async move { KeyServiceClient::new(c).get_key(r).await };
        self.signers().call(READ, request, send, |r| answer::key(r.key)).await
    }

    /// All keys.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, ClientError> {
        let send = |c, r: v1::ListKeysRequest| async move { KeyServiceClient::new(c).list_keys(r).await };
        let read = |r: v1::ListKeysResponse| r.keys.into_iter().map(|k| answer::key(Some(k))).collect();
        self.signers().call(READ, v1::ListKeysRequest {}, send, read).await
    }

    /// The public key and address of a child.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn derive(&self, name: &KeyName, path: &DerivationPath) -> Result<Child, ClientError> {
        let request = v1::DeriveKeyRequest { name: name.to_string(), path: path.steps().to_vec() };
        let send = |c, r: v1::DeriveKeyRequest| async move { KeyServiceClient::new(c).derive_key(r).await };
        self.signers().call(READ, request, send, |r| Ok(answer::child(r))).await
    }

    /// How the first node that answers is. Use [`Client::only`] to ask a certain one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn node(&self) -> Result<NodeInfo, ClientError> {
        let send = |c, r: v1::GetStatusRequest| async move { NodeServiceClient::new(c).get_status(r).await };
        self.call(READ, v1::GetStatusRequest {}, send, answer::node).await
    }

    /// Whether the first node that answers takes calls (`grpc.health.v1`).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn healthy(&self) -> Result<bool, ClientError> {
        let send = |c, r: HealthCheckRequest| async move { HealthClient::new(c).check(r).await };
        let read = |r: HealthCheckResponse| Ok(r.status() == ServingStatus::Serving);
        self.call(READ, HealthCheckRequest { service: String::new() }, send, read).await
    }

    fn tenant(&self) -> String {
        self.profile.tenant.to_string()
    }

    /// Sends a call to one node after the other until one answers with something final.
    pub(crate) async fn call<Q, W, T, Answer>(
        &self,
        limits: Limits,
        request: Q,
        send: impl Fn(Channel, Q) -> Answer,
        read: impl Fn(W) -> Result<T, BadField>,
    ) -> Result<T, ClientError>
    where
        Q: Clone,
        Answer: Future<Output = Result<tonic::Response<W>, tonic::Status>>,
    {
        self.call_from(None, limits, request, send, read).await.map(|(answer, _)| answer)
    }

    /// The same for a key in an HSM: begins with the node that answered for it before, and remembers who did.
    pub(crate) async fn call_home<Q, W, T, Answer>(
        &self,
        key: &KeyName,
        limits: Limits,
        request: Q,
        send: impl Fn(Channel, Q) -> Answer,
        read: impl Fn(W) -> Result<T, BadField>,
    ) -> Result<T, ClientError>
    where
        Q: Clone,
        Answer: Future<Output = Result<tonic::Response<W>, tonic::Status>>,
    {
        let (answer, by) = self.call_from(self.home_of(key), limits, request, send, read).await?;
        self.homes.note(key, &by);
        Ok(answer)
    }

    /// All nodes, beginning with the one that answered for a key before.
    pub(crate) fn links_from_home(&self, key: &KeyName) -> Vec<Link> {
        let mut links = self.links.clone();
        if let Some(home) = self.home_of(key) {
            links.rotate_left(home);
        }
        links
    }

    /// The endpoint that answered for a key before.
    fn home_of(&self, key: &KeyName) -> Option<usize> {
        let home = self.homes.of(key)?;
        self.links.iter().position(|link| link.endpoint == home)
    }

    /// The same, beginning with the node at `home` if one is given; also tells who answered. A node that says where the
    /// key's home is makes that the only one to be asked from then on.
    async fn call_from<Q, W, T, Answer>(
        &self,
        mut home: Option<usize>,
        limits: Limits,
        request: Q,
        send: impl Fn(Channel, Q) -> Answer,
        read: impl Fn(W) -> Result<T, BadField>,
    ) -> Result<(T, Arc<str>), ClientError>
    where
        Q: Clone,
        Answer: Future<Output = Result<tonic::Response<W>, tonic::Status>>,
    {
        let until = Instant::now() + limits.total;
        let mut plan = Plan::over(self.links.len(), self.attempts_max);
        let mut trouble: Option<ClientError> = None;
        let mut without_voters = 0;
        while let Some(next) = plan.next(getrandom::u32().map_err(|_| ClientError::Randomness)?) {
            let Some(link) = self.links.get(home.unwrap_or(next.endpoint)) else { break };
            if Instant::now() + next.pause >= until {
                break;
            }
            tokio::time::sleep(next.pause).await;
            let deadline = until.min(Instant::now() + limits.attempt);
            let answer = send(link.channel.clone(), request.clone());
            match tokio::time::timeout_at(deadline, answer).await.map_err(|_| link.deadline()) {
                Ok(Ok(answer)) => {
                    let answer = read(answer.into_inner()).map_err(|BadField(field)| link.wrong(field))?;
                    return Ok((answer, link.endpoint.clone()));
                }
                Ok(Err(status)) => match ClientError::from_status(&link.endpoint, &status) {
                    e if says(&e, Reason::HomeNode) => {
                        home = self.home_in(&e);
                        trouble = trouble.or(Some(e));
                    }
                    e if e.retry_after().is_some_and(|after| plan.shed(after)) => {
                        trouble = Some(more_telling(trouble, e))
                    }
                    e if e.is_transient() => {
                        without_voters += u32::from(says(&e, Reason::Voters));
                        if without_voters == VOTERS_ASKED_MAX {
                            return Err(e);
                        }
                        if says(&e, Reason::NotASigner) {
                            self.witnesses.note(&link.endpoint);
                        }
                        trouble = Some(more_telling(trouble, e));
                    }
                    e => return Err(e),
                },
                Err(late) => trouble = Some(more_telling(trouble, late)),
            }
        }
        Err(trouble.unwrap_or(ClientError::Deadline { endpoint: "the cluster".into() }))
    }

    /// The endpoint of the home that a refusal names; nothing if this client has no such endpoint, and then it asks them all.
    fn home_in(&self, error: &ClientError) -> Option<usize> {
        let address = error.refused()?.metadata.get("address")?;
        self.links.iter().position(|link| link.endpoint.strip_prefix("https://") == Some(address))
    }

    pub(crate) fn first(&self) -> Option<&Link> {
        self.links.first()
    }
}

fn says(error: &ClientError, reason: Reason) -> bool {
    error.refused().is_some_and(|refused| refused.reason == reason)
}

/// A node's reason tells more than a connection that failed, whichever came last; only where the home is tells less than
/// why it did not answer, and that a node is a witness tells least.
fn more_telling(before: Option<ClientError>, now: ClientError) -> ClientError {
    match before {
        Some(before) if says(&before, Reason::HomeNode) => now,
        Some(before) if says(&before, Reason::NotASigner) => now,
        Some(before) if says(&now, Reason::NotASigner) => before,
        Some(before @ ClientError::Refused(_)) if now.refused().is_none() => before,
        _ => now,
    }
}
