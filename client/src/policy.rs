//! The policy bundle: proposing, activating and vetoing one, and asking what it says of requests.

use crate::answer::{
    self, BadField, ExplainedInfo, JudgementInfo, PolicyInfo, ProposalInfo, Proposed, ReplayCounts, ReplayedChange,
    VetoedBundle,
};
use crate::client::{Client, FREEZE, READ};
use crate::error::ClientError;
use crate::order::SealedIntent;
use std::time::Duration;
use tally_domain::{RequestId, UnixMillis};
use tally_proto::v1;
use tally_proto::v1::policy_service_client::PolicyServiceClient;
use tally_proto::v1::replay_response::Part;
use tokio::time::timeout;
use tonic::transport::Channel;

/// Largest answer: a whole bundle. The transport's own limit would do, but is not ours.
const MESSAGE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for the next change of a replay: the node reads its log meanwhile.
const PART_TIMEOUT: Duration = Duration::from_secs(60);

fn service(channel: Channel) -> PolicyServiceClient<Channel> {
    PolicyServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES)
}

impl Client {
    /// The policy bundle in force at the first node that answers.
    ///
    /// # Errors
    /// [`ClientError`], here and below.
    pub async fn policy(&self) -> Result<PolicyInfo, ClientError> {
        let send = |c, r: v1::GetActiveRequest| async move { service(c).get_active(r).await };
        self.call(READ, v1::GetActiveRequest { whole: false }, send, answer::policy).await
    }

    /// The whole signed bundle in force there; nothing where it is a directory that nobody signed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn signed_policy(&self) -> Result<Option<Vec<u8>>, ClientError> {
        let send = |c, r: v1::GetActiveRequest| async move { service(c).get_active(r).await };
        let read = |r: v1::GetActiveResponse| Ok((!r.bundle.is_empty()).then_some(r.bundle));
        self.call(READ, v1::GetActiveRequest { whole: true }, send, read).await
    }

    /// Gives the nodes a signed bundle that follows the active one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn propose(&self, bundle: Vec<u8>) -> Result<Proposed, ClientError> {
        let send = |c, r: v1::ProposeRequest| async move { service(c).propose(r).await };
        self.call(FREEZE, v1::ProposeRequest { bundle }, send, answer::proposed).await
    }

    /// Has the nodes vote for a bundle whose wait is over.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn activate(&self, version: u64) -> Result<ProposalInfo, ClientError> {
        let send = |c, r: v1::ActivateRequest| async move { service(c).activate(r).await };
        let read = |r: v1::ActivateResponse| answer::proposal(r.proposal);
        self.call(FREEZE, v1::ActivateRequest { version }, send, read).await
    }

    /// Vetoes a bundle at the first node that answers, which tells the others.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn veto(&self, intent: &SealedIntent) -> Result<VetoedBundle, ClientError> {
        let request = v1::VetoRequest { intent: Some(intent.to_wire()) };
        let send = |c, r: v1::VetoRequest| async move { service(c).veto(r).await };
        self.call(FREEZE, request, send, answer::vetoed).await
    }

    /// All bundles that the first node that answers knows, by number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn policy_history(&self) -> Result<Vec<ProposalInfo>, ClientError> {
        let send = |c, r: v1::HistoryRequest| async move { service(c).history(r).await };
        self.call(READ, v1::HistoryRequest {}, send, answer::history).await
    }

    /// What would become of an intent under a draft, or under the active bundle. Its signature does not leave.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn simulate(&self, intent: &SealedIntent, draft: Option<Vec<u8>>) -> Result<JudgementInfo, ClientError> {
        let request = v1::SimulateRequest { intent: intent.intent().to_bytes(), draft: draft.unwrap_or_default() };
        let send = |c, r: v1::SimulateRequest| async move { service(c).simulate(r).await };
        self.call(READ, request, send, |r: v1::SimulateResponse| answer::judgement(r.judgement)).await
    }

    /// Why the first node that answers decided about a request as it did.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(&self, id: RequestId) -> Result<ExplainedInfo, ClientError> {
        let tenant = self.profile().tenant.to_string();
        let request = v1::ExplainRequest { tenant, request_id: id.0.to_vec() };
        let send = |c, r: v1::ExplainRequest| async move { service(c).explain(r).await };
        self.call(READ, request, send, answer::explained).await
    }

    /// Gives each request of the first endpoint's log that a draft would treat otherwise to `take`; then how many there
    /// were. One attempt at one node.
    ///
    /// # Errors
    /// [`ClientError`]; some may have been given by then.
    pub async fn replay(
        &self,
        draft: Vec<u8>,
        since: UnixMillis,
        mut take: impl FnMut(ReplayedChange),
    ) -> Result<ReplayCounts, ClientError> {
        let Some(link) = self.first() else { return Ok(ReplayCounts::default()) };
        let status = |s: tonic::Status| ClientError::from_status(&link.endpoint, &s);
        let mut service = service(link.channel.clone());
        let opening = service.replay(v1::ReplayRequest { draft, since_ms: since.0 });
        let opened = timeout(PART_TIMEOUT, opening).await.map_err(|_| link.deadline())?;
        let mut parts = opened.map_err(status)?.into_inner();
        loop {
            let part = timeout(PART_TIMEOUT, parts.message()).await.map_err(|_| link.deadline())?.map_err(status)?;
            match part.and_then(|part| part.part) {
                Some(Part::Change(change)) => {
                    take(answer::replayed(change).map_err(|BadField(field)| link.wrong(field))?);
                }
                Some(Part::Counts(counts)) => return Ok(answer::counts(counts)),
                None => return Err(link.wrong("part")),
            }
        }
    }
}
