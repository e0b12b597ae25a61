//! Writes down what was received and what was decided, refusals too, before anyone is answered.

use crate::node::{Node, now};
use std::sync::Arc;
use tally_audit::event::{Origin, What};
use tally_domain::Refusal;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::ports::store::{ClaimRequest, Step, Write};
use tally_signer::admit::{Opened, verdict};

/// Most bytes of the summary of the facts in the log.
const SUMMARY_MAX_CHARS: usize = 512;

/// An intent that could not even be opened: logged, and the refusal given back.
pub async fn refuse_unopened(node: &Arc<Node>, envelope: &Envelope, from: Origin, refusal: Refusal) -> Refusal {
    let received = What::IntentReceived { envelope: envelope.clone(), from, digest: content_digest(envelope) };
    let failed = What::SessionFailed { request_id: None, what: refusal.reason.as_str().into(), culprit: None };
    let leaves = vec![node.leaf(received), node.leaf(failed)];
    match node.commit(Step { writes: Vec::new(), leaves }).await {
        Ok(_) => refusal,
        Err(storage) => storage,
    }
}

/// Logs a decision and takes the request id for this intent.
///
/// # Errors
/// The refusal itself if it was one; `REQUEST_ID_CONFLICT` when the id names another intent; `STORAGE`.
pub async fn record<T>(
    node: &Arc<Node>,
    opened: &Opened,
    from: Origin,
    outcome: Result<(T, &str, String), Refusal>,
    also: Vec<Write>,
) -> Result<T, Refusal> {
    let (result, rule, summary) = match outcome {
        Ok((token, rule, summary)) => (Ok(token), Ok(rule.to_owned()), summary),
        Err(refusal) => (Err(refusal.clone()), Err(refusal), String::new()),
    };
    let mut writes = vec![claim(opened)];
    if let Err(refusal) = &rule {
        let intent = opened.intent();
        writes.push(Write::Refuse {
            tenant: intent.tenant.clone(),
            request: intent.request_id,
            reason: refusal.reason.as_str().into(),
            at: now(),
        });
    } else {
        writes.extend(also);
    }
    let leaves = leaves(node, opened, from.clone(), rule.as_ref().map(String::as_str), &summary);
    match node.commit(Step { writes, leaves }).await {
        Ok(_) => result,
        Err(conflict) => {
            // The id names another intent: that, too, is written down.
            let leaves = self::leaves(node, opened, from, Err(&conflict), &summary);
            node.commit(Step { writes: Vec::new(), leaves }).await?;
            Err(conflict)
        }
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

fn leaves(node: &Node, opened: &Opened, from: Origin, outcome: Result<&str, &Refusal>, summary: &str) -> Vec<Vec<u8>> {
    let intent = opened.intent();
    let decided = What::Decided {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: opened.digest(),
        verdict: verdict(outcome),
        bundle: node.bundle.digest(),
        summary: summary.chars().take(SUMMARY_MAX_CHARS).collect(),
    };
    vec![received(node, opened, from), node.leaf(decided)]
}
