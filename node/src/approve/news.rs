//! What waits and what persons have said, among nodes: whoever has it tells every other, until each has it on its disk.

use super::{Read, learn_said, read, said, take_on, waiting};
use crate::approvals::Name;
use crate::cancel;
use crate::convert;
use crate::node::{Node, now};
use crate::participate;
use crate::recover;
use futures_util::future::join_all;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::RequestState;
use tally_domain::{NodeName, Reason, Refusal};
use tally_proto::v1;
use tally_signer::admit::{self, Opened};

/// How long a caller waits for the others to have heard. They are told in any case; a node that is there answers in
/// milliseconds.
const HEARING_MAX: Duration = Duration::from_secs(2);

/// Most statements in one message: one approval and one rejection of each of as many persons as count.
const SAID_MAX: usize = 2 * tally_policy::APPROVALS_MAX;

/// Tells every other node of a request, and of whatever else it has not been told.
pub async fn tell_all(node: &Arc<Node>, name: &Name) {
    let tellings = node.peers.by_reachability().into_iter().map(|peer| {
        let node = node.clone();
        tokio::spawn(async move { tell(&node, &peer).await })
    });
    // Those that have not come to an end go on.
    if tokio::time::timeout(HEARING_MAX, join_all(tellings)).await.is_err() {
        tracing::info!(request = %name.1, "not every node has heard of it yet");
    }
}

/// Tells every other node of a result, in the background; each checks it for itself.
pub fn tell_result(node: &Arc<Node>, opened: &Opened, bytes: &[u8]) {
    let intent = Some(convert::envelope_out(opened.envelope()));
    let request = v1::CompleteRequest { intent, result: bytes.to_vec() };
    for peer in node.peers.by_reachability() {
        let Some(place) = node.peers.telling(&peer) else { continue };
        let (node, request) = (node.clone(), request.clone());
        tokio::spawn(async move {
            let _ = node.peers.call(&peer, |mut p| async move { p.complete(request).await }).await;
            drop(place);
        });
    }
}

/// Tells peers that are there of what they have not been told since this start.
pub fn spread(node: &Arc<Node>) {
    for peer in node.peers.by_reachability().into_iter().filter(|peer| node.peers.seen(peer).reachable) {
        let node = node.clone();
        tokio::spawn(async move { tell(&node, &peer).await });
    }
}

/// Tells one peer, until it is away.
async fn tell(node: &Arc<Node>, peer: &NodeName) {
    for (name, version) in node.approvals.untold(peer) {
        let Ok(Some(request)) = announcement(node, &name) else { continue };
        let intent = request.intent.clone().or_else(|| intent_of(node, &name));
        match node.peers.call(peer, |mut p| async move { p.announce_approval(request).await }).await {
            Ok(answer) if answer.result.is_empty() => node.approvals.took(&name, peer, version),
            Ok(v1::AnnounceApprovalResponse { result, .. }) => {
                let done = v1::CompleteRequest { intent, result };
                if let Err(refusal) = participate::complete(node, peer.clone(), done).await
                    && node.approvals.refused(&name, peer, refusal.reason.as_str())
                {
                    tracing::warn!(peer = %peer, request = %name.1, reason = refusal.reason.as_str(), "the peer's result is not taken");
                }
            }
            Err(refusal) if refusal.reason == Reason::Signers || refusal.reason == Reason::Deadline => return,
            Err(refusal) if node.approvals.refused(&name, peer, refusal.reason.as_str()) => {
                tracing::warn!(peer = %peer, request = %name.1, reason = refusal.reason.as_str(), "the peer has not taken it");
            }
            Err(_) => {}
        }
    }
}

/// The client's words of a request that waits here.
fn intent_of(node: &Node, name: &Name) -> Option<v1::Envelope> {
    let row = waiting(node, &name.0, name.1).ok()??;
    Envelope::decode(row.intent.as_slice()).ok().map(|intent| convert::envelope_out(&intent))
}

fn announcement(node: &Node, name: &Name) -> Result<Option<v1::AnnounceApprovalRequest>, Refusal> {
    if let Some(cancelled) = cancel::announcement(node, name)? {
        return Ok(Some(cancelled));
    }
    let Some(row) = waiting(node, &name.0, name.1)? else { return Ok(None) };
    let intent = Envelope::decode(row.intent.as_slice()).map_err(|_| Reason::Tampered)?;
    let mut rows = said(node, &name.0, name.1)?;
    // A rejection says all that is to be said; then nothing else may crowd it out.
    rows.sort_by_key(|row| std::cmp::Reverse(row.verdict.number()));
    let envelopes = rows.iter().filter_map(|row| Envelope::decode(row.envelope.as_slice()).ok());
    Ok(Some(v1::AnnounceApprovalRequest {
        intent: Some(convert::envelope_out(&intent)),
        owner: row.owner.to_string(),
        said: envelopes.take(SAID_MAX).map(|e| convert::envelope_out(&e)).collect(),
        cancelled: None,
    }))
}

/// Answers an announcement: what this node believes of it is on its disk; or with the result.
///
/// # Errors
/// A [`Refusal`] when this node would not have the request wait.
pub async fn announced(
    node: &Arc<Node>,
    from: NodeName,
    request: v1::AnnounceApprovalRequest,
) -> Result<v1::AnnounceApprovalResponse, Refusal> {
    if request.said.len() > SAID_MAX {
        return Err(Refusal::new(Reason::ProtocolViolation).with("round", "approval"));
    }
    if request.cancelled.is_some() {
        return cancel::told(node, &convert::envelope_in(request.cancelled)?).await;
    }
    let opened = admit::open(&node.bundle(), convert::envelope_in(request.intent)?)?;
    let intent = opened.intent();
    tracing::Span::current().record("request", intent.request_id.to_string());
    admit::check_sign_times(intent, now())?;
    if let Some(result) = recover::completed(node, &opened)? {
        // What became of cards their home alone can say.
        let others = node.hsm_keys.get(&intent.key).is_some_and(|k| k.is_domain() && k.record.home != *node.name());
        let result = if others { Vec::new() } else { result };
        return Ok(v1::AnnounceApprovalResponse { result, never: false });
    }
    let name = (intent.tenant.clone(), intent.request_id);
    let owner = NodeName::parse(&request.owner).ok().filter(|owner| node.bundle().roster().node(owner).is_some());
    let read = read(node, opened.clone(), &from).await?;
    let mut news = taken(node, &read, &from, owner.as_ref().unwrap_or(&from)).await?;
    let held = v1::AnnounceApprovalResponse::default();
    let Some(row) = waiting(node, &name.0, name.1)? else { return Ok(held) };
    for envelope in request.said {
        let envelope = convert::envelope_in(Some(envelope))?;
        match learn_said(node, &row, &envelope).await {
            Ok(learnt) => news |= learnt,
            // What does not count here may count there: the other's clock or bundle may differ.
            Err(refusal) if refusal.reason == Reason::Storage => return Err(refusal),
            Err(refusal) => tracing::debug!(reason = refusal.reason.as_str(), "a statement is not taken"),
        }
    }
    if news {
        node.approvals.changed(&name);
        // Whoever told it may die before it has told everyone.
        spread(node);
        super::lead::look(node, &row).await;
    }
    Ok(held)
}

/// Has the request wait here, if this node's own decision is that persons must approve it; gives whether that is news.
async fn taken(node: &Arc<Node>, read: &Read, from: &NodeName, owner: &NodeName) -> Result<bool, Refusal> {
    let intent = read.opened().intent();
    let _learning = node.approvals.learning().await;
    if waiting(node, &intent.tenant, intent.request_id)?.is_some() {
        return Ok(false);
    }
    let known = node.store.request(&intent.tenant, &intent.request_id).map_err(|e| crate::reply::of_store(&e))?;
    let over = [Reason::Rejected, Reason::Cancelled].map(|reason| RequestState::Refused(reason.as_str().into()));
    if known.is_some_and(|row| over.contains(&row.state)) {
        return Ok(false);
    }
    match read.question().decide(&node.bundle(), now()) {
        Err(missing) if missing.reason == Reason::ApprovalsRequired => {
            take_on(node, read, Origin::Peer(from.clone()), owner, &missing).await
        }
        Err(refusal) => Err(refusal),
        Ok(_) => Err(Reason::NotWaiting.into()),
    }
}
