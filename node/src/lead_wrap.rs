//! Wrapping and opening with one of this node's KEKs: admit, have the token do it, and write down in one step who asked,
//! what was decided and what came of it. Only then is anyone told. What a token did before a crash and was not written down
//! has never left, and is done again.

use crate::deadline;
use crate::decisions;
use crate::home_claims;
use crate::lead_hsm::commit;
use crate::lead_kek::held;
use crate::node::{Node, now};
use crate::recover;
use crate::reply;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::hsm::HsmError;
use tally_domain::ports::store::Step;
use tally_domain::{Action, ClientId, Reason, Refusal, SecretBytes};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::freeze::unless_frozen;
use tally_signer::kek::KekView;
use tally_signer::wrap::{Beside, Job, WrapPermit, admit_wrap, describe, shows_plaintext};

/// Longest time for one call: the votes, where a limit applies, and then the token, whose own deadline is shorter and
/// starts when it is asked; a disk that is behind may take the rest.
const WRAP_DEADLINE: Duration = Duration::from_secs(20);

/// What a client is told.
pub struct Told {
    /// As it is stored: wrapped data, version, rule, home.
    pub result: Vec<u8>,
    /// What nobody stores.
    pub plaintext: Option<SecretBytes>,
}

/// Does one of the four calls for a client.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE`, of which nothing is written down here, when the KEK lives elsewhere.
pub async fn call(
    node: &Arc<Node>,
    caller: ClientId,
    action: Action,
    envelope: Envelope,
    beside: Beside,
) -> Result<Told, Refusal> {
    let (opened, origin) = decisions::opened_for(action, node, caller, envelope).await?;
    let work = lead(node, opened, origin, beside);
    tokio::time::timeout(WRAP_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

async fn lead(node: &Arc<Node>, opened: Opened, origin: Origin, beside: Beside) -> Result<Told, Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    let before = match recover::completed(node, &opened) {
        Ok(before) => before,
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let before = match before {
        Some(result) if !shows_plaintext(intent) => return Ok(Told { result, plaintext: None }),
        before => before,
    };
    let permit = match admitted(node, &opened, beside, before.as_deref()) {
        Ok(permit) => permit,
        Err(refusal) if refusal.reason == Reason::HomeNode => return Err(refusal),
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let (rule, summary) = (permit.rule().to_owned(), describe(intent).unwrap_or_default());
    let limited = !permit.work().charges().is_empty();
    // What waits for votes is written down before; of all else one step in the end tells everything.
    if limited {
        home_claims::permitted(node, &opened, origin.clone(), permit.work(), &summary).await?;
    }
    let leave = match home_claims::certify(node, &opened, permit.work(), Some(permit.told())).await {
        Ok(leave) => leave,
        Err(refusal) => return Err(home_claims::refused(node, &opened, origin, refusal, permit.work()).await),
    };
    home_claims::found_room(node, &opened, &origin, permit.work(), &summary).await?;
    let (job, underway) = permit.start(leave)?;
    let Done { sealed, plaintext } = match done(node, job).await {
        Ok(done) => done,
        Err(refusal) if refusal.reason == Reason::BlobTampered => {
            return Err(decisions::refused(node, &opened, origin, refusal).await);
        }
        Err(refusal) => return Err(refusal),
    };
    let outcome = match (before, sealed, &plaintext) {
        (Some(result), _, Some(again)) => {
            underway.check(again)?;
            // Nothing is written down that would be refused if the KEK was frozen while the token worked.
            commit(node, unless_frozen(Step::default(), &intent.key)).await?;
            return Ok(Told { result, plaintext });
        }
        (_, Some(sealed), _) => underway.sealed(sealed),
        (_, None, Some(opened)) => underway.opened(opened)?,
        (_, None, None) => return Err(Reason::Bug.into()),
    };
    let mut step = outcome.step(&node.boot, now());
    if !limited {
        step.writes.insert(0, decisions::claim(&opened));
        step.leaves.splice(0..0, decisions::permit_leaves(node, &opened, origin.clone(), &rule, &summary));
    }
    match commit(node, step).await {
        Ok(()) => Ok(Told { result: outcome.to_bytes(), plaintext }),
        Err(refusal) if refusal.reason == Reason::RequestIdConflict => {
            Err(decisions::unclaimed(node, &opened, origin, refusal).await)
        }
        Err(refusal) if refusal.reason == Reason::Frozen => {
            Err(decisions::refused(node, &opened, origin, refusal).await)
        }
        Err(refusal) => Err(refusal),
    }
}

fn admitted(node: &Arc<Node>, opened: &Opened, beside: Beside, before: Option<&[u8]>) -> Result<WrapPermit, Refusal> {
    let held = held(node, opened)?;
    // The answers to all four have their fields in common.
    let before = before.map(v1::WrapResponse::decode).transpose().map_err(|_| Reason::Tampered)?;
    let versions = node.keks.versions(&held.record.name);
    let known = node.freezes.known();
    let kek = KekView { record: &held.record, state: held.state(), versions: &versions, freezes: &known };
    let before = before.as_ref().map(|b| b.wrapped.as_slice());
    admit_wrap(opened.clone(), kek, beside, before, node.name(), &node.bundle(), now())
}

/// What the token has given.
struct Done {
    sealed: Option<Vec<u8>>,
    plaintext: Option<SecretBytes>,
}

async fn done(node: &Node, job: Job) -> Result<Done, Refusal> {
    let outcome = match job {
        Job::Draw { bytes, under, plaintext } => node
            .hsm
            .generate_data_key(bytes, under)
            .await
            .map(|key| Done { sealed: Some(key.sealed), plaintext: plaintext.then_some(key.plaintext) }),
        Job::Seal { plaintext, under } => sealed(node.hsm.wrap(under, plaintext).await),
        Job::Open { sealed, under } => {
            let plaintext = node.hsm.unwrap(under, sealed).await;
            plaintext.map(|plaintext| Done { sealed: None, plaintext: Some(plaintext) })
        }
        Job::Reseal { sealed: bytes, from, to } => sealed(node.hsm.rewrap(from, bytes, to).await),
    };
    outcome.map_err(|error| match error {
        // The caller's bytes, and not the token's fault.
        HsmError::Integrity => Reason::BlobTampered.into(),
        error => reply::of_hsm(&error),
    })
}

fn sealed(outcome: Result<Vec<u8>, HsmError>) -> Result<Done, HsmError> {
    outcome.map(|sealed| Done { sealed: Some(sealed), plaintext: None })
}
