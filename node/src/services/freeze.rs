//! What clients call to freeze, to have freezes lifted, and to see which are in force.

use super::sees::Sees;
use super::{client, refused};
use crate::bundle_news::again;
use crate::convert;
use crate::deadline;
use crate::lead_freeze;
use crate::node::Node;
use crate::reply::status;
use std::sync::Arc;
use tally_domain::Reason;
use tally_proto::v1;
use tally_proto::v1::freeze_service_server::{FreezeService, FreezeServiceServer};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// One node's service for freezes.
pub struct Freezing(Arc<Node>);

/// `FreezeService`.
pub fn service(node: Arc<Node>, limit: usize) -> FreezeServiceServer<Freezing> {
    FreezeServiceServer::new(Freezing(node)).max_decoding_message_size(limit)
}

#[tonic::async_trait]
impl FreezeService for Freezing {
    async fn freeze(&self, request: Request<v1::FreezeRequest>) -> Result<Response<v1::FreezeResponse>, Status> {
        // At a node that its peers have fenced too: what it knows may be old, but stopping needs no more.
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("freeze", client = %caller, request = field::Empty);
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        // Its own task: a client that hangs up does not stop it.
        let work = async move { again(&node, || lead_freeze::freeze(&node, caller.clone(), envelope.clone())).await };
        let work = tokio::spawn(deadline::placed(work.instrument(span)));
        work.await.map_err(|_| refused(Reason::Bug))?.map(Response::new).map_err(|r| status(&r))
    }

    async fn unfreeze(&self, request: Request<v1::UnfreezeRequest>) -> Result<Response<v1::UnfreezeResponse>, Status> {
        let caller = client(&self.0, &request)?.id;
        let span = tracing::info_span!("unfreeze", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().intent).map_err(|r| status(&r))?;
        let node = self.0.clone();
        let work = async move { again(&node, || lead_freeze::unfreeze(&node, caller.clone(), envelope.clone())).await };
        let work = tokio::spawn(deadline::placed(work.instrument(span)));
        work.await.map_err(|_| refused(Reason::Bug))?.map(Response::new).map_err(|r| status(&r))
    }

    async fn list_freezes(
        &self,
        request: Request<v1::ListFreezesRequest>,
    ) -> Result<Response<v1::ListFreezesResponse>, Status> {
        let sees = Sees::of(&client(&self.0, &request)?, self.0.bundle().roster());
        let freezes = sees.freezes(&self.0);
        Ok(Response::new(v1::ListFreezesResponse { freezes }))
    }
}
