//! Taking a request back. A signature needs the released parts of t nodes, so that nobody can make one any more once
//! n - t + 1 nodes have written down, before they released anything for it, that they never will. Of a key in an HSM, and of a
//! token domain, its home alone is enough.

use crate::approvals::Name;
use crate::convert;
use crate::limits;
use crate::node::{Node, now};
use crate::participate;
use crate::reply;
use futures_util::future::join_all;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::What;
use tally_domain::cancel::{BadCancellation, Cancellation};
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{
    ApprovalWrite, AttemptState, CancellationRow, ClaimRequest, Conflict, RequestState, Step, StoreError, Write,
};
use tally_domain::{Action, ClientId, NodeName, Reason, Refusal, RequestId, Tenant};
use tally_proto::v1;

/// How long the caller waits for the others; one that is there answers in milliseconds.
const HEARING_MAX: Duration = Duration::from_secs(2);

/// What a node can say of a request that its client has taken back.
enum Word {
    /// It never releases anything for it.
    Never,
    /// It had released something before it heard of this.
    Released,
    /// It has the result.
    Done(Vec<u8>),
}

/// Takes a client's own request back: here, and at as many nodes as it takes. Again: nothing changes.
///
/// # Errors
/// `ALREADY_SIGNED`, `IN_DOUBT` when too few nodes have answered yet; a [`Refusal`] that says what is wrong with it.
pub async fn cancel(node: &Arc<Node>, caller: &ClientId, envelope: Envelope) -> Result<Name, Refusal> {
    let asked = open(node, &envelope)?;
    if asked.client != *caller {
        return Err(Reason::Acl.into());
    }
    tracing::Span::current().record("request", asked.request_id.to_string());
    let own = learn(node, &envelope, &asked).await?;
    let (deciders, needed) = deciders(node, &asked).await?;
    let name = (asked.tenant.clone(), asked.request_id);
    let (mut never, mut released) = (0, 0);
    let mut done = false;
    for (peer, word) in words(node, &envelope, &asked, own).await {
        match word {
            Word::Done(result) => {
                done = true;
                adopt(node, &name, peer, result).await;
            }
            Word::Never if deciders.contains(&peer) => never += 1,
            Word::Released if deciders.contains(&peer) => released += 1,
            Word::Never | Word::Released => {}
        }
    }
    outcome(done, Heard { deciders: deciders.len(), needed, never, released })?;
    tracing::info!(client = %caller, nodes = never, "a request is cancelled");
    Ok(name)
}

/// What the deciders have said.
struct Heard {
    deciders: usize,
    needed: usize,
    never: usize,
    released: usize,
}

/// Once the result is there, what nodes have released or promised tells nothing any more.
fn outcome(done: bool, heard: Heard) -> Result<(), Refusal> {
    let Heard { deciders, needed, never, released } = heard;
    let told = |reason| {
        let refusal = Refusal::new(reason).with("cancelled_at", never.to_string());
        refusal.with("needed", needed.to_string()).with("released_at", released.to_string())
    };
    if done {
        return Err(Refusal::new(Reason::AlreadySigned).with("detail", "the signature is there"));
    }
    if deciders.saturating_sub(released) < needed {
        return Err(told(Reason::AlreadySigned));
    }
    if never < needed { Err(told(Reason::InDoubt)) } else { Ok(()) }
}

/// Answers another node that tells of a cancellation: it is on this node's disk.
///
/// # Errors
/// A [`Refusal`] when this node does not believe it.
pub async fn told(node: &Arc<Node>, envelope: &Envelope) -> Result<v1::AnnounceApprovalResponse, Refusal> {
    let asked = open(node, envelope)?;
    tracing::Span::current().record("request", asked.request_id.to_string());
    Ok(match learn(node, envelope, &asked).await? {
        Word::Never => v1::AnnounceApprovalResponse { never: true, ..Default::default() },
        Word::Released => v1::AnnounceApprovalResponse::default(),
        Word::Done(result) => v1::AnnounceApprovalResponse { result, ..Default::default() },
    })
}

/// What the client has taken back, as the other nodes are told of it.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn announcement(node: &Node, name: &Name) -> Result<Option<v1::AnnounceApprovalRequest>, Refusal> {
    let known = node.store.cancellation(&name.0, &name.1).map_err(|e| reply::of_store(&e))?;
    let Some(row) = known else { return Ok(None) };
    let envelope = Envelope::decode(row.envelope.as_slice()).map_err(|_| Reason::Tampered)?;
    Ok(Some(tells(&envelope)))
}

/// # Errors
/// `CANCELLED`; `STORAGE`, `TAMPERED`.
pub fn is_not(node: &Node, tenant: &Tenant, request: RequestId) -> Result<(), Refusal> {
    match node.store.cancellation(tenant, &request).map_err(|e| reply::of_store(&e))? {
        Some(_) => Err(Reason::Cancelled.into()),
        None => Ok(()),
    }
}

fn tells(envelope: &Envelope) -> v1::AnnounceApprovalRequest {
    v1::AnnounceApprovalRequest { cancelled: Some(convert::envelope_out(envelope)), ..Default::default() }
}

/// Believes a cancellation that the client of the roster has signed for its own tenant and this cluster.
fn open(node: &Node, envelope: &Envelope) -> Result<Cancellation, Refusal> {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let malformed = |bad| match bad {
        BadCancellation::NotCanonical => Refusal::new(Reason::Malformed).with("field", "cancellation"),
        BadCancellation::Signature => Reason::IntentSignature.into(),
    };
    let client = Cancellation::claimed_client(envelope).map_err(malformed)?;
    let known = roster.client(&client).ok_or(Reason::UnknownClient)?;
    let asked = Cancellation::open(envelope, &known.intent_key).map_err(malformed)?;
    if asked.tenant != known.tenant || asked.cluster != roster.cluster {
        return Err(Reason::Acl.into());
    }
    if !matches!(asked.action, Action::Sign | Action::Reveal) {
        let detail = "only what is to be signed or revealed can be cancelled";
        return Err(Refusal::new(Reason::ParameterRange).with("detail", detail));
    }
    Ok(asked)
}

/// Writes it down, unless the request is done; what this node says then is true for ever: the store takes no vote and no
/// release after it.
async fn learn(node: &Arc<Node>, envelope: &Envelope, asked: &Cancellation) -> Result<Word, Refusal> {
    let (tenant, request) = (&asked.tenant, asked.request_id);
    let _learning = node.approvals.learning().await;
    let row = node.store.request(tenant, &request).map_err(|e| reply::of_store(&e))?;
    if row.as_ref().is_some_and(|row| row.claim.client != asked.client) {
        return Err(Reason::Acl.into());
    }
    if node.store.cancellation(tenant, &request).map_err(|e| reply::of_store(&e))?.is_none() {
        let step = step(node, envelope, asked);
        match node.store.commit(step).await {
            Ok(_) => node.approvals.changed(&(tenant.clone(), request)),
            Err(StoreError::Conflict(Conflict::Completed)) => {}
            Err(error) => return Err(reply::of_store(&error)),
        }
    }
    let row = node.store.request(tenant, &request).map_err(|e| reply::of_store(&e))?;
    if let Some(RequestState::Completed(result)) = row.map(|row| row.state) {
        return Ok(Word::Done(result));
    }
    let attempts = node.store.attempts(tenant, &request).map_err(|e| reply::of_store(&e))?;
    let released = attempts.iter().any(|attempt| matches!(attempt.state, AttemptState::Released { .. }));
    Ok(if released { Word::Released } else { Word::Never })
}

fn step(node: &Node, envelope: &Envelope, asked: &Cancellation) -> Step {
    let (tenant, request, at) = (asked.tenant.clone(), asked.request_id, now());
    let claim = ClaimRequest {
        tenant: tenant.clone(),
        request,
        intent_digest: asked.intent_digest,
        client: asked.client.clone(),
        key: asked.key.clone(),
        action: asked.action,
        at,
    };
    let row = CancellationRow { tenant, request, envelope: envelope.encode_to_vec(), at };
    Step {
        writes: vec![Write::ClaimRequest(claim), Write::Approval(ApprovalWrite::Cancel(row))],
        leaves: vec![node.leaf(What::Cancelled { cancellation: envelope.clone() })],
    }
}

/// Who could release a part of the result, and how many of them never must, so that there is none.
async fn deciders(node: &Arc<Node>, asked: &Cancellation) -> Result<(Vec<NodeName>, usize), Refusal> {
    if let Some(held) = node.hsm_keys.get(&asked.key) {
        return Ok((vec![held.record.home.clone()], 1));
    }
    for whom in node.peers.by_reachability() {
        if let Some((record, _)) = limits::known_key(node, &whom, &asked.key).await {
            let needed =
                record.participants.len() + 1 - usize::from(record.threshold.t()).min(record.participants.len());
            return Ok((record.participants.clone(), needed));
        }
    }
    Err(Reason::KeyNotFound.into())
}

/// What this node and those that are there say.
async fn words(node: &Arc<Node>, envelope: &Envelope, asked: &Cancellation, own: Word) -> Vec<(NodeName, Word)> {
    let asking = node.peers.by_reachability().into_iter().map(|peer| {
        let (node, request) = (node.clone(), tells(envelope));
        async move {
            let call = node.peers.call(&peer, |mut p| async move { p.announce_approval(request).await });
            let answer = tokio::time::timeout(HEARING_MAX, call).await.ok()?;
            let answer = answer.inspect_err(|refusal| {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), "the peer does not take a cancellation");
            });
            let word = match answer.ok()? {
                v1::AnnounceApprovalResponse { never: true, .. } => Word::Never,
                v1::AnnounceApprovalResponse { result, .. } if result.is_empty() => Word::Released,
                v1::AnnounceApprovalResponse { result, .. } => Word::Done(result),
            };
            Some((peer, word))
        }
    });
    let mut all: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
    all.push((node.name().clone(), own));
    tracing::debug!(request = %asked.request_id, answers = all.len(), "asked for promises never to sign");
    all
}

/// Keeps the result of a request that waits here.
async fn adopt(node: &Arc<Node>, name: &Name, peer: NodeName, result: Vec<u8>) {
    let Ok(Some(row)) = node.store.waiting(&name.0, &name.1) else { return };
    let Ok(intent) = Envelope::decode(row.intent.as_slice()) else { return };
    let done = v1::CompleteRequest { intent: Some(convert::envelope_out(&intent)), result };
    if let Err(refusal) = participate::complete(node, peer, done).await {
        tracing::warn!(request = %name.1, reason = refusal.reason.as_str(), "a peer's result is not taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(never: usize, released: usize) -> Heard {
        Heard { deciders: 3, needed: 2, never, released }
    }

    #[test]
    fn nodes_are_counted_only_while_their_number_decides() {
        let signed = outcome(true, heard(0, 0)).unwrap_err();
        assert_eq!(signed.reason, Reason::AlreadySigned);
        assert_eq!(signed.metadata.keys().collect::<Vec<_>>(), ["detail"]);
        let released = outcome(false, heard(1, 2)).unwrap_err();
        assert_eq!((released.reason, &*released.metadata["released_at"]), (Reason::AlreadySigned, "2"));
        let doubt = outcome(false, heard(1, 1)).unwrap_err();
        assert_eq!((doubt.reason, &*doubt.metadata["cancelled_at"]), (Reason::InDoubt, "1"));
        assert!(outcome(false, heard(2, 1)).is_ok());
    }
}
