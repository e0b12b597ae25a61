//! Requests that wait for persons, and what persons sign about them.

use crate::answer::{self, PendingInfo};
use crate::client::{Client, READ};
use crate::error::ClientError;
use tally_domain::RequestId;
use tally_domain::dsse::Envelope;
use tally_proto::v1;
use tally_proto::v1::approval_service_client::ApprovalServiceClient;

impl Client {
    /// The tenant's requests that wait at the first node that answers.
    ///
    /// # Errors
    /// [`ClientError`], here and below.
    pub async fn pending(&self) -> Result<Vec<PendingInfo>, ClientError> {
        self.list(false).await
    }

    /// The same with those whose time is over, the last thousand of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pending_and_ended(&self) -> Result<Vec<PendingInfo>, ClientError> {
        self.list(true).await
    }

    async fn list(&self, ended: bool) -> Result<Vec<PendingInfo>, ClientError> {
        let request = v1::ListPendingRequest { tenant: self.profile().tenant.to_string(), ended };
        let send = |c, r: v1::ListPendingRequest| async move { ApprovalServiceClient::new(c).list_pending(r).await };
        self.call(READ, request, send, |r| r.requests.into_iter().map(|p| answer::pending(Some(p))).collect()).await
    }

    /// One request as the first node that answers decodes it. Whoever shows it to a person asks every node, and shows it
    /// only if they agree.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn summary(&self, id: RequestId) -> Result<PendingInfo, ClientError> {
        let tenant = self.profile().tenant.to_string();
        let request = v1::GetSummaryRequest { tenant, request_id: id.0.to_vec() };
        let send = |c, r: v1::GetSummaryRequest| async move { ApprovalServiceClient::new(c).get_summary(r).await };
        self.call(READ, request, send, |r| answer::pending(r.request)).await
    }

    /// Brings what a person has signed to the first node that answers, which tells the others. Again: nothing changes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit_approval(&self, approval: &Envelope) -> Result<PendingInfo, ClientError> {
        let request = v1::SubmitApprovalRequest { approval: Some(crate::order::to_wire(approval)) };
        let send =
            |c, r: v1::SubmitApprovalRequest| async move { ApprovalServiceClient::new(c).submit_approval(r).await };
        self.call(READ, request, send, |r| answer::pending(r.request)).await
    }
}
