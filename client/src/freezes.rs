//! Freezing, having freezes lifted, and seeing which are in force.

use crate::answer::{self, FreezeInfo, Frozen, Unfrozen};
use crate::client::{Client, FREEZE, READ};
use crate::error::ClientError;
use crate::order::SealedIntent;
use tally_proto::v1;
use tally_proto::v1::freeze_service_client::FreezeServiceClient;

impl Client {
    /// Freezes at the first node that answers, which tells the others.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::Deadline`] or [`ClientError::Unreachable`] it may still be frozen.
    pub async fn freeze(&self, intent: &SealedIntent) -> Result<Frozen, ClientError> {
        let request = v1::FreezeRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::FreezeRequest| async move { FreezeServiceClient::new(c).freeze(r).await };
        self.call(FREEZE, request, send, answer::frozen).await
    }

    /// Has freezes lifted by a majority of nodes.
    ///
    /// # Errors
    /// [`ClientError`], as for [`Client::freeze`].
    pub async fn unfreeze(&self, intent: &SealedIntent) -> Result<Unfrozen, ClientError> {
        let request = v1::UnfreezeRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::UnfreezeRequest| async move { FreezeServiceClient::new(c).unfreeze(r).await };
        self.call(FREEZE, request, send, answer::unfrozen).await
    }

    /// The freezes in force at the first node that answers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn freezes(&self) -> Result<Vec<FreezeInfo>, ClientError> {
        let send = |c, r: v1::ListFreezesRequest| async move { FreezeServiceClient::new(c).list_freezes(r).await };
        self.call(READ, v1::ListFreezesRequest {}, send, |r| answer::freezes(r.freezes)).await
    }
}
