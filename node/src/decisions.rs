//! Writes down what was received and what was decided, refusals too, before anyone is answered.

use crate::clock;
use crate::lead_hsm;
use crate::metrics::names::REFUSALS;
use crate::node::{Node, now};
use crate::written::Decision;
use std::sync::Arc;
use tally_audit::event::{LineStood, Origin, What};
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::ports::store::{ApprovalWrite, ClaimRequest, Step, WaitingRow, Write};
use tally_domain::{Action, ClientId, Intent, LimitId, Reason, Refusal};
use tally_signer::admit::{self, Opened, verdict};
use tally_signer::hsm_sign;
use tally_signer::tokens;
use tally_signer::veto::while_active;
use tally_signer::wrap;
use tally_tokenization::plain::{card_field, holds_card};

/// Most bytes of the summary of the facts in the log.
const SUMMARY_MAX_CHARS: usize = 512;

/// Opens the intent that a client has brought, which must be its own; what cannot be opened is written down.
///
/// # Errors
/// As [`admit::open`].
pub async fn opened(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<(Opened, Origin), Refusal> {
    let origin = Origin::Client(caller.clone());
    let refusal = match admit::open(&node.bundle(), envelope.clone()) {
        Ok(opened) if opened.intent().client == caller => {
            tracing::Span::current().record("request", opened.intent().request_id.to_string());
            return Ok((opened, origin));
        }
        Ok(_) => Reason::UnknownClient.into(),
        Err(refusal) => refusal,
    };
    Err(refuse_unopened(node, &envelope, origin, refusal).await)
}

/// The same for a call that has one action only: an intent for another is refused, and that is written down.
///
/// # Errors
/// As [`opened`]; `MALFORMED`.
pub async fn opened_for(
    action: Action,
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
) -> Result<(Opened, Origin), Refusal> {
    let (opened, origin) = opened(node, caller, envelope).await?;
    if opened.intent().action == action {
        return Ok((opened, origin));
    }
    let refusal = Refusal::new(Reason::Malformed).with("field", "action");
    Err(refused(node, &opened, origin, refusal).await)
}

/// An intent that could not even be opened: logged, and the refusal given back. One with a card number in its text is not
/// kept, whatever else is wrong with it: only that something was refused is.
pub async fn refuse_unopened(node: &Arc<Node>, envelope: &Envelope, from: Origin, refusal: Refusal) -> Refusal {
    let received = What::IntentReceived { envelope: envelope.clone(), from, digest: content_digest(envelope) };
    let has_card = match Intent::read_unverified(envelope) {
        Ok(intent) => card_field(&intent).is_some(),
        Err(_) => holds_card(&envelope.payload),
    };
    let failed = What::SessionFailed {
        request_id: None,
        what: refusal.reason.as_str().into(),
        culprit: None,
        missing: Vec::new(),
    };
    let received = Some(received).filter(|_| !has_card);
    let leaves = received.into_iter().chain([failed]).map(|what| node.leaf(what)).collect();
    match node.commit(Step { writes: Vec::new(), leaves }).await {
        Ok(_) => refusal,
        Err(storage) => storage,
    }
}

/// Logs a permit and takes the request id for this intent, with whatever else must be durable before the session begins.
///
/// # Errors
/// `REQUEST_ID_CONFLICT` when the id names another intent; `STORAGE`.
pub async fn permitted(
    node: &Arc<Node>,
    opened: &Opened,
    from: Origin,
    rule: &str,
    summary: &str,
    also: Vec<Write>,
) -> Result<(), Refusal> {
    permitted_on(node, opened, from, rule, summary, also, Vec::new).await
}

/// The same for what is charged on lines; `limits` says how they stand.
///
/// # Errors
/// As [`permitted`].
pub async fn permitted_on(
    node: &Arc<Node>,
    opened: &Opened,
    from: Origin,
    rule: &str,
    summary: &str,
    also: Vec<Write>,
    limits: impl FnOnce() -> Vec<LineStood>,
) -> Result<(), Refusal> {
    match node.commit(permit_step(node, opened, from.clone(), rule, summary, also, limits)).await {
        Ok(_) => {
            is_permitted(node, opened, rule);
            Ok(())
        }
        Err(changed) if changed.reason == Reason::BundleMismatch => Err(changed),
        Err(conflict) => Err(unclaimed(node, opened, from, conflict).await),
    }
}

/// The step of [`permitted_on`], for a step that goes further; only while the bundle that decided is active. Whoever makes
/// it durable then calls [`is_permitted`]. A permit that is in the log already is not written again.
pub fn permit_step(
    node: &Node,
    opened: &Opened,
    from: Origin,
    rule: &str,
    summary: &str,
    also: Vec<Write>,
    limits: impl FnOnce() -> Vec<LineStood>,
) -> Step {
    let writes = std::iter::once(claim(opened)).chain(also).collect();
    let leaves = match node.written.is_news(opened, &Decision::of(opened, Ok(rule))) {
        true => leaves(node, opened, from, Ok(rule), summary, limits()),
        false => Vec::new(),
    };
    while_active(Step { writes, leaves }, opened.bundle())
}

/// Notes that a permit is in the log, if that is news.
pub fn is_permitted(node: &Node, opened: &Opened, rule: &str) {
    let permit = Decision::of(opened, Ok(rule));
    if node.written.is_news(opened, &permit) {
        node.written.note(opened, permit);
    }
}

/// Logs the permit once more, with `limits` as they stand, if the last that the log says is that there was no room.
///
/// # Errors
/// `STORAGE`.
pub async fn found_room(
    node: &Arc<Node>,
    opened: &Opened,
    from: &Origin,
    rule: &str,
    summary: impl FnOnce() -> String,
    limits: impl FnOnce() -> Vec<LineStood>,
) -> Result<(), Refusal> {
    if !node.written.had_no_room(opened) {
        return Ok(());
    }
    let leaves = leaves(node, opened, from.clone(), Ok(rule), &summary(), limits());
    node.commit(while_active(Step { writes: Vec::new(), leaves }, opened.bundle())).await?;
    node.written.note(opened, Decision::of(opened, Ok(rule)));
    Ok(())
}

/// Logs a refusal and takes the request id all the same: a refused id does not become free for another intent. Gives the
/// refusal back, or why it could not be written down.
pub async fn refused(node: &Arc<Node>, opened: &Opened, from: Origin, refusal: Refusal) -> Refusal {
    refused_on(node, opened, from, refusal, Vec::new()).await
}

/// The same for want of room; `limits` is how the lines stand.
pub async fn refused_on(
    node: &Arc<Node>,
    opened: &Opened,
    from: Origin,
    refusal: Refusal,
    limits: Vec<LineStood>,
) -> Refusal {
    let refusal = clock::explained(node, refusal);
    let intent = opened.intent();
    tracing::info!(reason = refusal.reason.as_str(), facts = ?refusal.metadata, "refused");
    count(node, &refusal, &from);
    let refuse = Write::Refuse {
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        reason: refusal.reason.as_str().into(),
        at: now(),
    };
    let decision = Decision::of(opened, Err(&refusal));
    let leaves = match node.written.is_news(opened, &decision) {
        true => leaves(node, opened, from.clone(), Err(&refusal), &summary(node, opened), limits),
        false => Vec::new(),
    };
    let step = Step { writes: vec![claim(opened), refuse], leaves };
    match node.commit(while_active(step, opened.bundle())).await {
        Ok(_) => {
            node.written.note(opened, decision);
            refusal
        }
        Err(changed) if changed.reason == Reason::BundleMismatch => changed,
        Err(conflict) => unclaimed(node, opened, from, conflict).await,
    }
}

/// Rules and limits are counted by their ids in the active bundle, and by no other words: a peer's refusal may name anything.
fn count(node: &Node, refusal: &Refusal, from: &Origin) {
    let bundle = node.bundle();
    let said = |fact: &str| refusal.metadata.get(fact).map(String::as_str).unwrap_or_default();
    let rule = || bundle.rules().map(|(id, _)| id).find(|id| *id == said("rule"));
    let limit = bundle.limit_ids().map(LimitId::as_str).find(|id| *id == said("limit"));
    let decided = limit.or_else(rule).unwrap_or_default();
    let from = if matches!(from, Origin::Client(_)) { "client" } else { "peer" };
    node.metrics.count(&REFUSALS, &[refusal.reason.as_str(), decided, from]);
}

/// Logs that a request waits for persons, with `step` of that; the refusal stays with whoever answers.
///
/// # Errors
/// `REQUEST_ID_CONFLICT` when the id names another intent; `STORAGE`.
pub async fn waiting(
    node: &Arc<Node>,
    opened: &Opened,
    from: Origin,
    missing: &Refusal,
    step: Step,
) -> Result<(), Refusal> {
    let writes = std::iter::once(claim(opened)).chain(step.writes).collect();
    let decision = Decision::of(opened, Err(missing));
    let mut leaves = match node.written.is_news(opened, &decision) {
        true => leaves(node, opened, from.clone(), Err(missing), &summary(node, opened), Vec::new()),
        false => Vec::new(),
    };
    leaves.extend(step.leaves);
    match lead_hsm::commit(node, Step { writes, leaves }).await {
        Ok(()) => {
            node.written.note(opened, decision);
            Ok(())
        }
        Err(conflict) => Err(unclaimed(node, opened, from, conflict).await),
    }
}

/// A request that waited is past its time.
///
/// # Errors
/// `STORAGE`.
pub async fn expired(node: &Arc<Node>, row: &WaitingRow) -> Result<(), Refusal> {
    let (tenant, request, reason) = (row.tenant.clone(), row.request, Reason::Expired.as_str().to_owned());
    let at = now();
    let refuse = Write::Refuse { tenant: tenant.clone(), request, reason: reason.clone(), at };
    let end = Write::Approval(ApprovalWrite::End { tenant, request, at });
    let ended = What::SessionFailed { request_id: Some(request), what: reason, culprit: None, missing: Vec::new() };
    node.commit(Step { writes: vec![end, refuse], leaves: vec![node.leaf(ended)] }).await.map(|_| ())
}

/// What this node decodes of a request that it refuses, as far as it can.
fn summary(node: &Node, opened: &Opened) -> String {
    if let Some(text) = wrap::describe(opened.intent()).or_else(|| tokens::describe(opened.intent())) {
        return text;
    }
    if let Some(held) = node.hsm_keys.get(&opened.intent().key) {
        let subject = hsm_sign::subject(opened.clone(), &held.record, held.state());
        return subject.map(|s| tally_policy::summary(&node.bundle(), s.facts())).unwrap_or_default();
    }
    let held = node.keys.get(&opened.intent().key);
    let key = held.as_ref().map(|h| (&*h.record, h.state));
    admit::subject(opened.clone(), key).map(|s| tally_policy::summary(&node.bundle(), s.facts())).unwrap_or_default()
}

/// The id names another intent: that, too, is written down.
pub async fn unclaimed(node: &Arc<Node>, opened: &Opened, from: Origin, conflict: Refusal) -> Refusal {
    let leaves = leaves(node, opened, from, Err(&conflict), "", Vec::new());
    match node.commit(while_active(Step { writes: Vec::new(), leaves }, opened.bundle())).await {
        Ok(_) => conflict,
        Err(storage) => storage,
    }
}

/// The claim of a request id for an intent.
pub fn claim(opened: &Opened) -> Write {
    let intent = opened.intent();
    Write::ClaimRequest(ClaimRequest {
        tenant: intent.tenant.clone(),
        request: intent.request_id,
        intent_digest: opened.digest(),
        client: intent.client.clone(),
        key: intent.key.clone(),
        action: intent.action,
        at: now(),
    })
}

/// The leaf that an intent came in.
pub fn received(node: &Node, opened: &Opened, from: Origin) -> Vec<u8> {
    node.leaf(What::IntentReceived { envelope: opened.envelope().clone(), from, digest: opened.digest() })
}

/// The leaves that an intent came in and was permitted.
pub fn permit_leaves(node: &Node, opened: &Opened, from: Origin, rule: &str, summary: &str) -> Vec<Vec<u8>> {
    leaves(node, opened, from, Ok(rule), summary, Vec::new())
}

fn leaves(
    node: &Node,
    opened: &Opened,
    from: Origin,
    outcome: Result<&str, &Refusal>,
    summary: &str,
    limits: Vec<LineStood>,
) -> Vec<Vec<u8>> {
    let intent = opened.intent();
    let decided = What::Decided {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: opened.digest(),
        verdict: verdict(outcome),
        bundle: opened.bundle(),
        summary: summary.chars().take(SUMMARY_MAX_CHARS).collect(),
        limits,
    };
    vec![received(node, opened, from), node.leaf(decided)]
}
