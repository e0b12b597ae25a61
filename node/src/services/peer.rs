//! What nodes call. The sender is who the TLS channel says.

use crate::approve;
use crate::bundle_news;
use crate::caller;
use crate::convert;
use crate::freeze_news;
use crate::greet::{greeted, own};
use crate::hsm_names;
use crate::lead_freeze;
use crate::limits;
use crate::node::Node;
use crate::participate;
use crate::reply::status;
use std::sync::Arc;
use tally_domain::{NodeName, Reason, Refusal};
use tally_proto::v1;
use tally_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// One node's service for its peers.
pub struct Peer(Arc<Node>);

/// `PeerService`.
pub fn service(node: Arc<Node>, limit: usize) -> PeerServiceServer<Peer> {
    PeerServiceServer::new(Peer(node)).max_decoding_message_size(limit).max_encoding_message_size(limit)
}

fn peer<T>(node: &Node, request: &Request<T>) -> Result<NodeName, Status> {
    caller::node(request, node.bundle().roster()).map_err(|r| status(&r))
}

/// A peer with which this node works: neither of them is fenced.
fn partner<T>(node: &Node, request: &Request<T>) -> Result<NodeName, Status> {
    let from = peer(node, request)?;
    let standing = node.check_standing().and_then(|()| node.peers.check_fence(&from));
    standing.map(|()| from).map_err(|r| status(&r))
}

#[tonic::async_trait]
impl PeerService for Peer {
    async fn greet(&self, request: Request<v1::GreetRequest>) -> Result<Response<v1::GreetResponse>, Status> {
        let from = peer(&self.0, &request)?;
        greeted(&self.0, &from, request.into_inner().greeting).await.map_err(|r| status(&r))?;
        let greeting = own(&self.0).await.map_err(|r| status(&r))?;
        Ok(Response::new(v1::GreetResponse { greeting: Some(greeting) }))
    }

    async fn propose_sign(
        &self,
        request: Request<v1::ProposeSignRequest>,
    ) -> Result<Response<v1::ProposeSignResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let span = tracing::info_span!("join_sign", leader = %from, request = field::Empty);
        let node = self.0.clone();
        // Its own task: what has been written down is finished even if the leader hangs up.
        let work = async move { participate::propose_sign(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn propose_key(
        &self,
        request: Request<v1::ProposeKeyRequest>,
    ) -> Result<Response<v1::ProposeKeyResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let span = tracing::info_span!("join_key", leader = %from, request = field::Empty);
        let node = self.0.clone();
        let work = async move { participate::propose_key(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let span = tracing::info_span!("vote", leader = %from, request = field::Empty);
        let node = self.0.clone();
        let work = async move { limits::vote(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn deliver(&self, request: Request<v1::DeliverRequest>) -> Result<Response<v1::DeliverResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let frame = request.into_inner();
        let session = convert::session(&frame.session).map_err(|r| status(&r))?;
        let delivered = self.0.sessions.deliver(session, from, frame.from, frame.message);
        delivered.map(|()| Response::new(v1::DeliverResponse {})).map_err(|r| status(&r))
    }

    async fn recover(&self, request: Request<v1::RecoverRequest>) -> Result<Response<v1::RecoverResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let node = self.0.clone();
        let work = async move { participate::recover(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work).await)
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let node = self.0.clone();
        let work = async move { participate::complete(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work).await.map(|r| r.map(|()| v1::CompleteResponse {})))
    }

    async fn announce_key(
        &self,
        request: Request<v1::AnnounceKeyRequest>,
    ) -> Result<Response<v1::AnnounceKeyResponse>, Status> {
        let from = peer(&self.0, &request)?;
        let span = tracing::info_span!("announced", home = %from, request = field::Empty);
        let node = self.0.clone();
        let work = async move { hsm_names::announced(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn announce_freeze(
        &self,
        request: Request<v1::AnnounceFreezeRequest>,
    ) -> Result<Response<v1::AnnounceFreezeResponse>, Status> {
        // From a fenced node too: whatever stops is believed.
        let from = peer(&self.0, &request)?;
        let node = self.0.clone();
        let work = async move { freeze_news::announced(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work).await.map(|r| r.map(|()| v1::AnnounceFreezeResponse {})))
    }

    async fn fetch_freezes(
        &self,
        request: Request<v1::FetchFreezesRequest>,
    ) -> Result<Response<v1::FetchFreezesResponse>, Status> {
        peer(&self.0, &request)?;
        Ok(Response::new(freeze_news::page(&self.0, request.get_ref().skip)))
    }

    async fn propose_unfreeze(
        &self,
        request: Request<v1::ProposeUnfreezeRequest>,
    ) -> Result<Response<v1::ProposeUnfreezeResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let span = tracing::info_span!("join_unfreeze", leader = %from, request = field::Empty);
        let node = self.0.clone();
        let work = async move { lead_freeze::propose_unfreeze(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn announce_approval(
        &self,
        request: Request<v1::AnnounceApprovalRequest>,
    ) -> Result<Response<v1::AnnounceApprovalResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let span = tracing::info_span!("told_approval", from = %from, request = field::Empty);
        let node = self.0.clone();
        let work = async move { approve::announced(&node, from, request.into_inner()).await };
        answer(tokio::spawn(work.instrument(span)).await)
    }

    async fn tell_bundle(
        &self,
        request: Request<v1::TellBundleRequest>,
    ) -> Result<Response<v1::TellBundleResponse>, Status> {
        let from = partner(&self.0, &request)?;
        let node = self.0.clone();
        answer(tokio::spawn(async move { bundle_news::told(&node, from, request.into_inner()).await }).await)
    }

    async fn fetch_bundle(
        &self,
        request: Request<v1::FetchBundleRequest>,
    ) -> Result<Response<v1::FetchBundleResponse>, Status> {
        peer(&self.0, &request)?;
        bundle_news::piece(&self.0, request.get_ref()).map(Response::new).map_err(|r| status(&r))
    }

    async fn fetch_activations(
        &self,
        request: Request<v1::FetchActivationsRequest>,
    ) -> Result<Response<v1::FetchActivationsResponse>, Status> {
        peer(&self.0, &request)?;
        bundle_news::activations(&self.0, request.get_ref()).map(Response::new).map_err(|r| status(&r))
    }

    async fn fetch_key(&self, request: Request<v1::FetchKeyRequest>) -> Result<Response<v1::FetchKeyResponse>, Status> {
        partner(&self.0, &request)?;
        participate::fetch_key(&self.0, request.get_ref()).map(Response::new).map_err(|r| status(&r))
    }
}

fn answer<T>(outcome: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<Response<T>, Status> {
    let refusal = match outcome {
        Ok(Ok(response)) => return Ok(Response::new(response)),
        Ok(Err(refusal)) => refusal,
        Err(_) => Reason::Bug.into(),
    };
    Err(status(&refusal))
}
