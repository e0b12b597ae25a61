//! What clients call: signing, keys, the node's state.

use super::sees::Sees;
use super::{FROZEN, batch, client, is_stopped, load, refused, same_tenant, watch};
use crate::approve;
use crate::bundle_news::again;
use crate::caller::Caller;
use crate::cancel;
use crate::convert;
use crate::deadline;
use crate::hsm_keys::HsmHeld;
use crate::lead_key;
use crate::node::{Node, now};
use crate::reply::{self, status};
use prost::Message as _;
use std::sync::Arc;
use tally_domain::key::KeyCertificate;
use tally_domain::ports::store::{RequestRow, RequestState};
use tally_domain::{DerivationPath, KeyName, NodeName, Quorum, Reason, Refusal, Tenant};
use tally_proto::v1;
use tally_proto::v1::key_service_server::{KeyService, KeyServiceServer};
use tally_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use tally_proto::v1::signing_service_server::{SigningService, SigningServiceServer};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// Requests on one page: by default, and at most.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 200;

/// One node's services for clients.
pub struct Clients(Arc<Node>);

/// `SigningService`.
pub fn signing(node: Arc<Node>, limit: usize) -> SigningServiceServer<Clients> {
    SigningServiceServer::new(Clients(node)).max_decoding_message_size(limit)
}

/// `KeyService`.
pub fn key(node: Arc<Node>, limit: usize) -> KeyServiceServer<Clients> {
    KeyServiceServer::new(Clients(node)).max_decoding_message_size(limit)
}

/// `NodeService`.
pub fn node(node: Arc<Node>, limit: usize) -> NodeServiceServer<Clients> {
    NodeServiceServer::new(Clients(node)).max_decoding_message_size(limit)
}

#[tonic::async_trait]
impl SigningService for Clients {
    type BatchSignStream = batch::Answers;
    type WatchRequestsStream = watch::Told;

    async fn sign(&self, request: Request<v1::SignRequest>) -> Result<Response<v1::SignResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        batch::sign(&self.0, caller, request.into_inner().intent).await.map(Response::new)
    }

    async fn batch_sign(
        &self,
        request: Request<tonic::Streaming<v1::BatchSignRequest>>,
    ) -> Result<Response<Self::BatchSignStream>, Status> {
        let caller = caller_of(&self.0, &request)?;
        Ok(Response::new(batch::batch(self.0.clone(), caller, request.into_inner())))
    }

    async fn watch_requests(
        &self,
        request: Request<v1::WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        let caller = caller_of(&self.0, &request)?;
        let wanted = request.get_ref();
        let tenant = Tenant::parse(&wanted.tenant);
        let tenant = tenant.map_err(|_| status(&Refusal::new(Reason::Malformed).with("field", "tenant")))?;
        same_tenant(&client(&self.0, &request)?, &tenant)?;
        let told = watch::watch(self.0.clone(), caller, tenant, &wanted.cursor).map_err(|r| status(&r))?;
        Ok(Response::new(told))
    }

    async fn get_request(
        &self,
        request: Request<v1::GetRequestRequest>,
    ) -> Result<Response<v1::GetRequestResponse>, Status> {
        let client = client(&self.0, &request)?;
        let wanted = request.get_ref();
        let (tenant, id) = convert::request_name(&wanted.tenant, &wanted.request_id).map_err(|r| status(&r))?;
        same_tenant(&client, &tenant)?;
        let row = self.0.store.request(&tenant, &id).map_err(|e| status(&reply::of_store(&e)))?;
        let here = |row: &RequestRow| is_told_here(&self.0, row) || approve::is_known(&self.0, row);
        let row = row.filter(here).ok_or_else(|| refused(Reason::RequestNotFound))?;
        let request = approve::of_request(&self.0, convert::request_out(row), &tenant).await;
        Ok(Response::new(v1::GetRequestResponse { request: Some(request.map_err(|r| status(&r))?) }))
    }

    async fn cancel_request(
        &self,
        request: Request<v1::CancelRequestRequest>,
    ) -> Result<Response<v1::CancelRequestResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("cancel", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().cancellation).map_err(|r| status(&r))?;
        let node = self.0.clone();
        // Its own task: what is on the disk is told even if the caller hangs up.
        let work = async move {
            let (tenant, id) = cancel::cancel(&node, &caller, envelope).await?;
            let row = node.store.request(&tenant, &id).map_err(|e| reply::of_store(&e))?;
            let row = row.ok_or(Reason::RequestNotFound)?;
            approve::of_request(&node, convert::request_out(row), &tenant).await
        };
        let work = tokio::spawn(deadline::placed(work.instrument(span)));
        let request = work.await.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
        Ok(Response::new(v1::CancelRequestResponse { request: Some(request) }))
    }

    async fn list_requests(
        &self,
        request: Request<v1::ListRequestsRequest>,
    ) -> Result<Response<v1::ListRequestsResponse>, Status> {
        let client = client(&self.0, &request)?;
        let wanted = request.get_ref();
        let field = |f| status(&Refusal::new(Reason::Malformed).with("field", f));
        let tenant = Tenant::parse(&wanted.tenant).map_err(|_| field("tenant"))?;
        same_tenant(&client, &tenant)?;
        let size = match wanted.page_size {
            0 => PAGE_DEFAULT,
            n => n.min(PAGE_MAX),
        };
        // Where the page before ended: what comes in meanwhile moves nothing, and nobody counts what has been shown.
        let before = match wanted.page_token.as_str() {
            "" => None,
            token => Some(token.parse::<u64>().map_err(|_| field("page_token"))?),
        };
        let rows = self.0.store.requests(&tenant, before, size).map_err(|e| status(&reply::of_store(&e)))?;
        let full = rows.len() == usize::try_from(size).unwrap_or(usize::MAX);
        let last = rows.last().filter(|_| full);
        let next_page_token = last.map(|row| row.place.to_string()).unwrap_or_default();
        let told = rows.into_iter().filter(|row| is_told_here(&self.0, row));
        let requests = told.map(|row| approve::in_list(&self.0, row)).collect::<Result<_, _>>();
        let requests = requests.map_err(|r| status(&r))?;
        Ok(Response::new(v1::ListRequestsResponse { requests, next_page_token }))
    }
}

#[tonic::async_trait]
impl KeyService for Clients {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("create_key", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = async move { again(&node, || lead_key::create(&node, caller.clone(), envelope.clone())).await };
        let work = tokio::spawn(deadline::carried(work.instrument(span)));
        let (key, rule) = work.await.map_err(|_| refused(Reason::Bug))?.map_err(|r| status(&r))?;
        Ok(Response::new(v1::CreateKeyResponse { key: Some(key), rule }))
    }

    async fn get_key(&self, request: Request<v1::GetKeyRequest>) -> Result<Response<v1::GetKeyResponse>, Status> {
        let sees = sees(&self.0, &request)?;
        if let Some(held) = hsm_held(&self.0, &sees, &request.get_ref().name) {
            if held.is_domain() {
                return Err(refused(Reason::KeyPurpose));
            }
            return Ok(Response::new(v1::GetKeyResponse { key: Some(as_it_is(&self.0, convert::hsm_key_out(&held))) }));
        }
        let held = held(&self.0, &sees, &request.get_ref().name)?;
        let row = self.0.store.key(&held.record.name).map_err(|e| status(&reply::of_store(&e)))?;
        let certificate = row
            .and_then(|r| r.certificate)
            .map(|bytes| KeyCertificate::decode(bytes.as_slice()))
            .transpose()
            .map_err(|_| refused(Reason::Tampered))?;
        Ok(Response::new(v1::GetKeyResponse {
            key: Some(as_it_is(&self.0, convert::key_out(&held, certificate.as_ref()))),
        }))
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        let sees = sees(&self.0, &request)?;
        let (threshold, mut resident) = (self.0.keys.all(), self.0.hsm_keys.all());
        resident.retain(|held| !held.is_domain() && sees.owned_by(Some(&held.record.tenant)));
        let threshold = threshold.iter().filter(|held| sees.owned_by(Some(&held.record.tenant)));
        let threshold = threshold.map(|held| convert::key_out(held, None));
        let mut keys: Vec<v1::Key> = threshold
            .chain(resident.iter().map(|held| v1::Key { certificate: Vec::new(), ..convert::hsm_key_out(held) }))
            .map(|key| as_it_is(&self.0, key))
            .collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(v1::ListKeysResponse { keys }))
    }

    async fn derive_key(
        &self,
        request: Request<v1::DeriveKeyRequest>,
    ) -> Result<Response<v1::DeriveKeyResponse>, Status> {
        let sees = sees(&self.0, &request)?;
        let wanted = request.into_inner();
        if let Some(HsmHeld { record, .. }) = hsm_held(&self.0, &sees, &wanted.name) {
            let public_key = record.public_key().ok_or_else(|| refused(Reason::KeyNotExportable))?.to_spki();
            if !wanted.path.is_empty() {
                let detail = "a key in an HSM has no children; use path m";
                return Err(status(&Refusal::new(Reason::ParameterRange).with("detail", detail)));
            }
            return Ok(Response::new(v1::DeriveKeyResponse { public_key, evm_address: convert::evm_address(&record) }));
        }
        let record = held(&self.0, &sees, &wanted.name)?.record;
        let range = |detail: String| status(&Refusal::new(Reason::ParameterRange).with("detail", detail));
        let path = DerivationPath::new(wanted.path).map_err(|e| range(e.to_string()))?;
        let derived = tally_mpc::derive(record.scheme, &record.public_key, &record.chain_code, &path)
            .map_err(|e| range(format!("the {} key has no child at {path}: {e}", record.scheme)))?;
        let evm_address = tally_chains::evm_address(&derived.public_key).unwrap_or_default();
        Ok(Response::new(v1::DeriveKeyResponse { public_key: derived.public_key, evm_address }))
    }
}

#[tonic::async_trait]
impl NodeService for Clients {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let sees = sees(&self.0, &request)?;
        let node = &self.0;
        let hsm = convert::hsm_out(node.hsm.status().await);
        let bans = node.keys.bans().into_iter().filter(|b| sees.key(node, &b.key)).map(|b| v1::Ban {
            key: b.key.to_string(),
            epoch: b.epoch.0,
            node: b.peer.to_string(),
            what: b.what,
        });
        Ok(Response::new(v1::GetStatusResponse {
            cluster: node.boot.cluster.to_string(),
            node: node.name().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            incarnation: node.boot.incarnation.0,
            bundle_digest: node.bundle().digest().0.to_vec(),
            bundle_version: node.bundle().version(),
            time_ms: now().0,
            started_at_ms: node.started_at.0,
            log_size: node.store.log_size().map_err(|e| status(&reply::of_store(&e)))?,
            sessions: u32::try_from(node.sessions.count()).unwrap_or(u32::MAX),
            keys: u32::try_from(node.keys.all().len() + node.hsm_keys.all().len()).unwrap_or(u32::MAX),
            hsm: Some(hsm),
            peers: peers(node),
            bans: bans.collect(),
            recovering: node.check_standing().is_err(),
            freezes: sees.freezes(node),
            role: role(node, node.name()),
            quorum: Some(quorum(node)),
            key_uses: load::key_uses(node, &sees),
            load: Some(load::load(node)),
            reload: node.reload.get().map(load::reload),
            stages: load::stages(node),
            bundle_not_after_ms: node.bundle().header().validity.map_or(0, |v| v.not_after.0),
        }))
    }

    async fn list_peers(
        &self,
        request: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        client(&self.0, &request)?;
        Ok(Response::new(v1::ListPeersResponse { peers: peers(&self.0) }))
    }
}

fn role(node: &Node, name: &NodeName) -> String {
    node.bundle().roster().node(name).map(|n| n.role.as_str().into()).unwrap_or_default()
}

fn quorum(node: &Node) -> v1::Quorum {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::Quorum {
        voters: count(roster.nodes.len()),
        votes: count(Quorum::of(roster).votes()),
        faulty: roster.tolerance.faulty.into(),
        restored: roster.tolerance.restored.into(),
        limits: bundle.has_limits(),
    }
}

fn as_it_is(node: &Node, mut key: v1::Key) -> v1::Key {
    if KeyName::parse(&key.name).is_ok_and(|name| is_stopped(node, &name, &key.state)) {
        key.state = FROZEN.into();
    }
    key
}

fn sees<T>(node: &Node, request: &Request<T>) -> Result<Sees, Status> {
    Ok(Sees::of(&client(node, request)?, node.bundle().roster()))
}

/// A key of another tenant is one that is not there.
fn held(node: &Node, sees: &Sees, name: &str) -> Result<crate::keys::Held, Status> {
    let name = KeyName::parse(name).map_err(|_| refused(Reason::KeyNotFound))?;
    let unknown = || status(&node.check_signer().err().unwrap_or_else(|| Reason::KeyNotFound.into()));
    node.keys.get(&name).filter(|held| sees.owned_by(Some(&held.record.tenant))).ok_or_else(unknown)
}

/// Who calls, for a stream that asks the roster of each of its moments; a client now.
fn caller_of<T>(node: &Node, request: &Request<T>) -> Result<Caller, Status> {
    client(node, request)?;
    request.extensions().get::<Caller>().cloned().ok_or_else(|| refused(Reason::UnknownClient))
}

/// What another node does alone is that node's to tell: this one has voted on it at most, and never hears of its end.
pub(super) fn is_told_here(node: &Node, row: &RequestRow) -> bool {
    let home = node.hsm_keys.get(&row.claim.key).map(|held| held.record.home.clone());
    matches!(row.state, RequestState::Completed(_)) || home.is_none_or(|home| home == *node.name())
}

fn hsm_held(node: &Node, sees: &Sees, name: &str) -> Option<HsmHeld> {
    let held = node.hsm_keys.get(&KeyName::parse(name).ok()?)?;
    sees.owned_by(Some(&held.record.tenant)).then_some(held)
}

fn peers(node: &Node) -> Vec<v1::Peer> {
    let bundle = node.bundle();
    let others = bundle.roster().nodes.iter().filter(|n| n.name != *node.name());
    others
        .map(|n| {
            let seen = node.peers.seen(&n.name);
            v1::Peer {
                node: n.name.to_string(),
                address: n.address.clone(),
                reachable: seen.reachable,
                incarnation: seen.incarnation.map(|i| i.0).unwrap_or_default(),
                bundle_digest: seen.bundle_digest,
                clock_offset_ms: seen.clock_offset_ms,
                fenced: seen.fenced,
                role: n.role.as_str().into(),
                clock_known: seen.incarnation.is_some(),
            }
        })
        .collect()
}
