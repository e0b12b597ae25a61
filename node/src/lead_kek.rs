//! Changing one of this node's KEKs: admit, write down, do it, write down, answer.

use crate::deadline;
use crate::decisions;
use crate::lead_hsm::commit;
use crate::node::{Node, fresh_rng, now};
use crate::recover;
use crate::reply;
use rand::Rng as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::hsm::{HsmError, KekId, KekMade};
use tally_domain::ports::store::Write;
use tally_domain::{Action, ClientId, KekVersion, KeyName, Reason, Refusal};
use tally_signer::admit::Opened;
use tally_signer::kek::{KekPermit, KekView, Plan, admit_change_kek, new_version};
use tally_signer::wrap::describe;

/// Longest time for one call: the tries below, each as long as the token may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(20);

/// How often the token is asked for a new key. Whether one was made that the token did not tell of in time is not known; it
/// has wrapped nothing, and nobody knows its id.
const TOKEN_TRIES_MAX: u32 = 3;

/// Changes a KEK for a client; gives the answer's bytes, the same for the same intent for ever.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE`, of which nothing is written down here, when the KEK lives elsewhere.
pub async fn change(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<Vec<u8>, Refusal> {
    let (opened, origin) = decisions::opened_for(Action::ChangeKek, node, caller, envelope).await?;
    let work = lead(node, opened, origin);
    tokio::time::timeout(CHANGE_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

async fn lead(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<Vec<u8>, Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    let _changing = node.keks.change().await;
    match recover::completed(node, &opened) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => {}
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    }
    let permit = admitted(node, &opened, origin).await?;
    let (step, version, transfer) = match permit.plan() {
        Plan::Make(number) => {
            let (id, made) = on_token(node).await?;
            let version = new_version(number, id, &made, now());
            (permit.rotate_step(&version, made.transfer.clone(), &node.boot, now()), version, made.transfer)
        }
        Plan::Replicate(version) => {
            replicated(node, &intent.key, &version).await?;
            (permit.replicated_step(&version, &node.boot, now()), version, None)
        }
        Plan::Move { from, event, to } => {
            let step = permit.move_step(&from, event, to, &node.boot, now());
            (step, KekVersion { state: to, ..from }, None)
        }
    };
    let answer = step.writes.iter().find_map(|w| match w {
        Write::Complete { result, .. } => Some(result.clone()),
        _ => None,
    });
    commit(node, step).await?;
    node.keks.put(&intent.key, version, transfer);
    tracing::info!(kek = %intent.key, version = %version.number, state = version.state.as_str(), "the KEK is changed");
    answer.ok_or_else(|| Reason::Bug.into())
}

/// Gives the standby token a version. A token that then shows another check value has not been given this one.
async fn replicated(node: &Arc<Node>, kek: &KeyName, version: &KekVersion) -> Result<(), Refusal> {
    let rows = node.store.kek_versions(Some(kek)).map_err(|e| reply::of_store(&e))?;
    let transfer = rows.into_iter().find(|row| row.version.number == version.number).and_then(|row| row.transfer);
    let transfer = transfer.ok_or(Reason::KekNotReplicable)?;
    match node.hsm.replicate_kek(version.id, transfer).await {
        Ok(check_value) if check_value == version.check_value => {
            node.keks.note_transferred(version.id);
            Ok(())
        }
        Ok(check_value) => {
            tracing::error!(kek = %kek, version = %version.number, %check_value, "the standby token holds another key");
            Err(Reason::Hsm.into())
        }
        Err(HsmError::Configuration { what }) => {
            tracing::warn!(kek = %kek, version = %version.number, what, "the version is on one token only");
            Err(Reason::KekNotReplicable.into())
        }
        Err(error) => Err(reply::of_hsm(&error)),
    }
}

/// Decides here, and writes it down.
async fn admitted(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<KekPermit, Refusal> {
    let outcome = match held(node, opened) {
        Ok(held) => {
            let versions = node.keks.versions(&held.record.name);
            let known = node.freezes.known();
            let kek = KekView { record: &held.record, state: held.state(), versions: &versions, freezes: &known };
            let delay = node.config.wrap.destroy_delay_min.ms;
            admit_change_kek(opened.clone(), kek, delay, node.name(), &node.bundle(), now())
        }
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(permit) => {
            let summary = describe(opened.intent()).unwrap_or_default();
            decisions::permitted(node, opened, origin, permit.rule(), &summary, Vec::new()).await?;
            Ok(permit)
        }
        Err(refusal) if refusal.reason == Reason::HomeNode => Err(refusal),
        Err(refusal) => Err(decisions::refused(node, opened, origin, refusal).await),
    }
}

/// The key in an HSM that an intent names.
///
/// # Errors
/// `KEY_NOT_FOUND`; `KEY_PURPOSE` when the name is a threshold key's.
pub fn held(node: &Node, opened: &Opened) -> Result<crate::hsm_keys::HsmHeld, Refusal> {
    let name = &opened.intent().key;
    node.hsm_keys.get(name).ok_or_else(|| match node.keys.get(name) {
        Some(held) if held.record.tenant == opened.intent().tenant => {
            Refusal::new(Reason::KeyPurpose).with("purpose", held.record.purpose.as_str())
        }
        _ => Reason::KeyNotFound.into(),
    })
}

/// Has the token make a key for a KEK.
///
/// # Errors
/// `HSM`.
pub async fn on_token(node: &Arc<Node>) -> Result<(KekId, KekMade), Refusal> {
    let mut error = HsmError::Busy;
    for _ in 0..TOKEN_TRIES_MAX {
        let mut id = KekId([0; 16]);
        fresh_rng().fill_bytes(&mut id.0);
        match node.hsm.create_kek(id).await {
            Ok(made) => return Ok((id, made)),
            Err(late @ HsmError::Deadline { .. }) => error = late,
            Err(other) => return Err(reply::of_hsm(&other)),
        }
    }
    Err(reply::of_hsm(&error))
}
