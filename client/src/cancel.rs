//! Taking a request back.

use crate::answer::{self, RequestInfo};
use crate::client::{Client, READ};
use crate::error::ClientError;
use tally_domain::cancel::Cancellation;
use tally_domain::dsse::Envelope;
use tally_domain::{Action, RequestId};
use tally_proto::v1;
use tally_proto::v1::signing_service_client::SigningServiceClient;

impl Client {
    /// Cancels one of this client's own requests to sign or to reveal, by its id. Once this returns nobody can make its
    /// signature any more. Again: nothing changes.
    ///
    /// # Errors
    /// [`ClientError`]; `ALREADY_SIGNED` when it is too late, `IN_DOUBT` when too few nodes have answered: ask again.
    pub async fn cancel_request(&self, id: RequestId) -> Result<RequestInfo, ClientError> {
        let request = self.find_request(id).await?;
        self.send_cancellation(&self.cancellation(&request)?).await
    }

    /// What this client signs to take back a request.
    fn cancellation(&self, request: &RequestInfo) -> Result<Envelope, ClientError> {
        let profile = self.profile();
        let none = ClientError::Order { field: "action", want: "a request to sign or to reveal" };
        let action =
            [Action::Sign, Action::Reveal].into_iter().find(|action| action.as_str() == request.action).ok_or(none)?;
        let cancellation = Cancellation {
            cluster: profile.cluster.clone(),
            tenant: profile.tenant.clone(),
            client: profile.client.clone(),
            request_id: request.request_id,
            intent_digest: request.intent_digest,
            key: request.key.clone(),
            action,
        };
        Ok(cancellation.sign(profile.intent_key()?))
    }

    /// Brings a cancellation to the first node that answers, which tells the others.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send_cancellation(&self, cancellation: &Envelope) -> Result<RequestInfo, ClientError> {
        let request = v1::CancelRequestRequest { cancellation: Some(crate::order::to_wire(cancellation)) };
        let send = |c, r: v1::CancelRequestRequest| async move { SigningServiceClient::new(c).cancel_request(r).await };
        self.call(READ, request, send, |r| answer::request(r.request)).await
    }
}
