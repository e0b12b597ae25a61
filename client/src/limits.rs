//! How much of each limit is taken.

use crate::answer::{self, LimitsInfo};
use crate::client::{Client, READ};
use crate::error::ClientError;
use tally_proto::v1;
use tally_proto::v1::limit_service_client::LimitServiceClient;

impl Client {
    /// What the first node that answers remembers of limits. Use [`Client::only`] to ask a certain one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn limits(&self) -> Result<LimitsInfo, ClientError> {
        let send = |c, r: v1::GetLimitsRequest| async move { LimitServiceClient::new(c).get_limits(r).await };
        self.call(READ, v1::GetLimitsRequest {}, send, answer::limits).await
    }
}
