//! What clients and persons call about requests that wait for approvals. Any client of the tenant may: what counts is what a
//! person has signed, not who brings it.

use super::{client, same_tenant};
use crate::approve;
use crate::convert;
use crate::deadline;
use crate::node::Node;
use crate::reply::status;
use std::sync::Arc;
use tally_domain::{Reason, Refusal, Tenant};
use tally_proto::v1;
use tally_proto::v1::approval_service_server::{ApprovalService, ApprovalServiceServer};
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, field};

/// One node's service for approvals.
pub struct Approving(Arc<Node>);

/// `ApprovalService`.
pub fn service(node: Arc<Node>, limit: usize) -> ApprovalServiceServer<Approving> {
    ApprovalServiceServer::new(Approving(node)).max_decoding_message_size(limit)
}

#[tonic::async_trait]
impl ApprovalService for Approving {
    async fn list_pending(
        &self,
        request: Request<v1::ListPendingRequest>,
    ) -> Result<Response<v1::ListPendingResponse>, Status> {
        let client = client(&self.0, &request)?;
        let field = |_| status(&Refusal::new(Reason::Malformed).with("field", "tenant"));
        let tenant = Tenant::parse(&request.get_ref().tenant).map_err(field)?;
        same_tenant(&client, &tenant)?;
        let mut requests = approve::list(&self.0, &tenant).await.map_err(|r| status(&r))?;
        if request.get_ref().ended {
            requests.extend(approve::ended(&self.0, &tenant).map_err(|r| status(&r))?);
        }
        Ok(Response::new(v1::ListPendingResponse { requests }))
    }

    async fn get_summary(
        &self,
        request: Request<v1::GetSummaryRequest>,
    ) -> Result<Response<v1::GetSummaryResponse>, Status> {
        let client = client(&self.0, &request)?;
        let wanted = request.get_ref();
        let (tenant, id) = convert::request_name(&wanted.tenant, &wanted.request_id).map_err(|r| status(&r))?;
        same_tenant(&client, &tenant)?;
        let row = approve::must_wait(&self.0, &tenant, id).map_err(|r| status(&r))?;
        let request = approve::view(&self.0, &row).await.map_err(|r| status(&r))?;
        Ok(Response::new(v1::GetSummaryResponse { request: Some(request) }))
    }

    async fn submit_approval(
        &self,
        request: Request<v1::SubmitApprovalRequest>,
    ) -> Result<Response<v1::SubmitApprovalResponse>, Status> {
        let (caller, tenant) = {
            let client = client(&self.0, &request)?;
            (client.id.clone(), client.tenant.clone())
        };
        let span = tracing::info_span!("approval", client = %caller, request = field::Empty);
        self.0.check_standing().map_err(|r| status(&r))?;
        let envelope = convert::envelope_in(request.into_inner().approval).map_err(|r| status(&r))?;
        let node = self.0.clone();
        // Its own task: what is on the disk is told even if the caller hangs up.
        let work = tokio::spawn(deadline::placed(
            async move { approve::submit(&node, &tenant, envelope).await }.instrument(span),
        ));
        let request = work.await.map_err(|_| super::refused(Reason::Bug))?.map_err(|r| status(&r))?;
        Ok(Response::new(v1::SubmitApprovalResponse { request: Some(request) }))
    }
}
