//! A tenant's requests as they change.

use crate::answer::{self, BadField, RequestInfo};
use crate::client::Client;
use crate::error::ClientError;
use std::ops::ControlFlow;
use std::time::Duration;
use tally_proto::v1;
use tally_proto::v1::signing_service_client::SigningServiceClient;
use tokio::time::timeout;

/// Longest wait for a stream to begin; then it is quiet for as long as nothing changes.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// What a node has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// A request as it stands now; nothing at first, where the stream begins.
    pub request: Option<RequestInfo>,
    /// From here on nothing is missed.
    pub cursor: String,
}

impl Client {
    /// Gives what changes at the first endpoint to `take`, until that has enough or the node stops. `cursor` is of an earlier
    /// answer of the same node; empty: from now on. One attempt: another node has other cursors.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch_requests(
        &self,
        cursor: &str,
        mut take: impl FnMut(Watched) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let Some(link) = self.first() else { return Ok(()) };
        let broken = |status: tonic::Status| ClientError::from_status(&link.endpoint, &status);
        let request = v1::WatchRequestsRequest { tenant: self.profile().tenant.to_string(), cursor: cursor.into() };
        let mut service = SigningServiceClient::new(link.channel.clone());
        let opened = timeout(OPEN_TIMEOUT, service.watch_requests(request)).await.map_err(|_| link.deadline())?;
        let mut told = opened.map_err(broken)?.into_inner();
        while let Some(one) = told.message().await.map_err(broken)? {
            let request = one.request.map(|r| answer::request(Some(r))).transpose();
            let request = request.map_err(|BadField(field)| link.wrong(field))?;
            if take(Watched { request, cursor: one.cursor }).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}
