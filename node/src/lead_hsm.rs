//! Signing with a key of this node's own HSM: admit, write down, sign, verify, write down, answer.

use crate::approve;
use crate::deadline;
use crate::decisions;
use crate::failpoint::{Moment, Place};
use crate::home_claims;
use crate::hsm_keys::HsmHeld;
use crate::node::{Node, now};
use crate::recover;
use crate::reply;
use crate::signed::Part;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::ports::store::{Step, StoreError};
use tally_domain::{Reason, Refusal};
use tally_signer::admit::Opened;
use tally_signer::hsm_sign::{self, admit_hsm_sign};

/// Signs for a client; gives the result's bytes, the same for the same intent for ever. A signature that was made and not
/// written down has never left: after a crash another one is made.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE`, of which nothing is written down here, when the key lives elsewhere.
pub async fn sign(node: &Arc<Node>, opened: Opened, origin: Origin, held: HsmHeld) -> Result<Vec<u8>, Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    match recover::completed(node, &opened) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => {}
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    }
    let (key, known) = ((&*held.record, held.state()), node.freezes.known());
    let bundle = node.bundle();
    let decide = |opened: Opened| admit_hsm_sign(opened, key, node.name(), &known, &bundle, now());
    let permit = match approve::decided(node, &opened, decide).await {
        Ok(permit) => permit,
        Err(refusal) if refusal.reason == Reason::HomeNode => return Err(refusal),
        Err(refusal) => return Err(approve::refused(node, &opened, origin, refusal).await),
    };
    let summary = tally_policy::summary(&node.bundle(), permit.subject().facts());
    home_claims::permitted(node, &opened, origin.clone(), permit.work(), &summary).await?;
    let waited = !permit.approvals().is_empty();
    let leave = match home_claims::certify(node, &opened, permit.work(), None).await {
        Ok(leave) => leave,
        Err(refusal) => return Err(home_claims::refused(node, &opened, origin, refusal, permit.work()).await),
    };
    home_claims::found_room(node, &opened, &origin, permit.work(), &summary).await?;
    let signing = permit.start(leave)?;
    let subject = signing.subject();
    let object = subject.record().object();
    let signature = node.hsm.sign(object, subject.scheme(), subject.bytes_to_sign()).await;
    let completed = signing.complete(signature.map_err(|e| reply::of_hsm(&e))?).inspect_err(|_| {
        tracing::error!(key = %held.record.name, "the token's signature does not verify under the recorded key");
    })?;
    commit(node, completed.step(&node.boot, now())).await?;
    node.note_signed(&held.record.name, Part::Led);
    let bytes = completed.to_bytes();
    if waited {
        // The others hold it too, and must know that it waits no longer.
        approve::tell_result(node, &opened, &bytes);
    }
    Ok(bytes)
}

/// Keeps what another node's HSM has signed, if it verifies.
///
/// # Errors
/// A [`Refusal`].
pub async fn keep(
    node: &Arc<Node>,
    opened: &Opened,
    origin: Origin,
    held: &HsmHeld,
    result: &[u8],
) -> Result<(), Refusal> {
    let subject = hsm_sign::subject(opened.clone(), &held.record, held.state())?;
    let completed = hsm_sign::check_others(subject, result)?;
    let leaves = vec![decisions::received(node, opened, origin)];
    node.commit(Step { writes: vec![decisions::claim(opened), completed.write(now())], leaves }).await?;
    node.note_signed(&held.record.name, Part::Heard);
    Ok(())
}

/// The same, for a caller that puts right what does not fit.
///
/// # Errors
/// [`StoreError`].
pub async fn try_commit(node: &Node, step: Step) -> Result<(), StoreError> {
    let place = Place::of(&step);
    place.pass(Moment::Before);
    place.find_room()?;
    node.store.commit(step).await?;
    place.pass(Moment::After);
    Ok(())
}

/// Makes a step durable, with the places where a test kills this process.
///
/// # Errors
/// As [`Node::commit`].
pub async fn commit(node: &Node, step: Step) -> Result<(), Refusal> {
    let place = Place::of(&step);
    place.pass(Moment::Before);
    node.commit(step).await?;
    place.pass(Moment::After);
    Ok(())
}
