//! Changing one of this node's token domains: admit, write down, do it, answer. What takes long goes on without anyone's
//! waiting.

use crate::deadline;
use crate::decisions;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use crate::recover;
use crate::vault::{self, Loaded, domain_of};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::Write;
use tally_domain::ports::store::tokens::{CursorWrite, KeyWrite, Rotated, RotationState, VaultWrite};
use tally_domain::token::{DataKeyNumber, DomainState, IndexKeyNumber};
use tally_domain::{Action, ClientId, KekNumber, Reason, Refusal};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::tokens::{DomainPermit, DomainView, admit_change_domain, describe};
use tally_tokenization::{DomainChange, RotatedKey};

/// Longest time for one call: some keys made on the token, or destroyed.
const CHANGE_DEADLINE: Duration = Duration::from_secs(30);

/// Changes a domain for a client; gives the answer's bytes, the same for the same intent for ever.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE`, of which nothing is written down here, when the domain lives elsewhere.
pub async fn change(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<Vec<u8>, Refusal> {
    let (opened, origin) = decisions::opened_for(Action::ChangeDomain, node, caller, envelope).await?;
    tokio::time::timeout(CHANGE_DEADLINE, lead(node, opened, origin)).await.unwrap_or(Err(Reason::Deadline.into()))
}

async fn lead(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<Vec<u8>, Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    let _changing = node.vaults.change().await;
    match recover::completed(node, &opened) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => {}
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    }
    let (permit, loaded) = match admitted(node, &opened) {
        Ok(admitted) => admitted,
        Err(refusal) if refusal.reason == Reason::HomeNode => return Err(refusal),
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let summary = describe(intent).unwrap_or_default();
    decisions::permitted(node, &opened, origin.clone(), permit.rule(), &summary, Vec::new()).await?;
    let answer = v1::ChangeDomainResponse { rule: permit.rule().into(), home: node.name().to_string() };
    let outcome = done(node, &permit, &loaded, answer.encode_to_vec()).await;
    node.vaults.forget(&loaded.domain);
    match outcome {
        Ok(()) => {}
        // Not done, and for a reason that the caller can act on: that is written down, too.
        Err(refusal) if is_of_the_domain(refusal.reason) => {
            return Err(decisions::refused(node, &opened, origin, refusal).await);
        }
        Err(refusal) => return Err(refusal),
    }
    after(node, &permit, &loaded).await?;
    tracing::info!(domain = %intent.key, change = permit.change().as_str(), "the token domain is changed");
    Ok(answer.encode_to_vec())
}

fn admitted(node: &Arc<Node>, opened: &Opened) -> Result<(DomainPermit, Arc<Loaded>), Refusal> {
    let held = node.hsm_keys.get(&opened.intent().key).ok_or(Reason::DomainNotFound)?;
    let home = held.record.home == *node.name();
    let loaded = if home { Some(node.vaults.load(&domain_of(&held.record)?)?) } else { None };
    let known = node.freezes.known();
    let doing = loaded.as_ref().map(|loaded| loaded.doing);
    let view = DomainView { record: &held.record, state: held.state(), doing, freezes: &known };
    let spec = loaded.as_ref().map(|loaded| loaded.checked.spec());
    let permit = admit_change_domain(opened.clone(), view, spec, node.name(), &node.bundle(), now())?;
    Ok((permit, loaded.ok_or(Reason::Bug)?))
}

fn is_of_the_domain(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::VersionNeeded
            | Reason::VersionState
            | Reason::RotationState
            | Reason::DomainOneWay
            | Reason::DomainDeleted
            | Reason::Frozen
    )
}

/// Makes what the change needs on the token, and writes the change down with its answer.
async fn done(node: &Arc<Node>, permit: &DomainPermit, loaded: &Loaded, answer: Vec<u8>) -> Result<(), Refusal> {
    let at = now();
    let domain = loaded.domain.clone();
    let key = |write| Write::Vault(VaultWrite::Key(write));
    let set = |what, state| {
        Write::Vault(VaultWrite::Cursor(CursorWrite::SetRotation { domain: domain.clone(), what, state, at }))
    };
    let writes = match permit.change() {
        DomainChange::Rotate(RotatedKey::Kek) => {
            let kek = vault::draw_kek(node, loaded.mode().ok_or(Reason::DomainOneWay)?).await?;
            vec![key(KeyWrite::AddKek { domain: domain.clone(), kek, at })]
        }
        DomainChange::Rotate(RotatedKey::Data) => {
            idle(node, loaded, Rotated::DataKey)?;
            let kek = loaded.current_kek().ok_or(Reason::DomainOneWay)?;
            let wrapped = vault::new_data_key(node, loaded, kek.kek, kek.number).await?;
            vec![key(KeyWrite::AddDataKey { domain: domain.clone(), key: wrapped, shred: false, at })]
        }
        DomainChange::Rotate(RotatedKey::Index) => {
            loaded.mode().ok_or(Reason::DomainOneWay)?;
            idle(node, loaded, Rotated::IndexKey)?;
            let object = vault::new_index_key(node).await?.0;
            vec![key(KeyWrite::AddIndexKey { domain: domain.clone(), object, shred: false, at })]
        }
        DomainChange::Shred => shred(node, loaded).await?,
        DomainChange::Pause(what) => vec![set(rotated(what)?, RotationState::Paused)],
        DomainChange::Continue(what) => vec![set(rotated(what)?, RotationState::Running)],
        DomainChange::Retire(RotatedKey::Kek, number) => {
            vec![key(KeyWrite::RetireKek { domain: domain.clone(), number: KekNumber(number), at })]
        }
        DomainChange::Retire(RotatedKey::Data, number) => {
            vec![key(KeyWrite::RetireDataKey { domain: domain.clone(), number: DataKeyNumber(number), at })]
        }
        DomainChange::Retire(RotatedKey::Index, number) => {
            if !vault::retire_index(node, loaded, IndexKeyNumber(number)).await? {
                return Err(Reason::VersionState.into());
            }
            Vec::new()
        }
        DomainChange::Suspend => vec![state(loaded, DomainState::Suspended)],
        DomainChange::Resume => vec![state(loaded, DomainState::Active)],
        DomainChange::Delete => vec![Write::Vault(VaultWrite::DeleteDomain { domain: domain.clone(), at })],
    };
    commit(node, permit.step(writes, answer, &node.boot, now())).await
}

/// New keys of every kind, and rotations that destroy what they leave behind.
async fn shred(node: &Arc<Node>, loaded: &Loaded) -> Result<Vec<Write>, Refusal> {
    let mode = loaded.mode().ok_or(Reason::DomainOneWay)?;
    idle(node, loaded, Rotated::DataKey)?;
    idle(node, loaded, Rotated::IndexKey)?;
    let (domain, at) = (loaded.domain.clone(), now());
    let kek = vault::draw_kek(node, mode).await?;
    let number = loaded.keks.last().map_or(KekNumber::FIRST, |last| last.number.next());
    let wrapped = vault::new_data_key(node, loaded, kek, number).await?;
    let object = vault::new_index_key(node).await?.0;
    let writes = [
        KeyWrite::AddKek { domain: domain.clone(), kek, at },
        KeyWrite::AddDataKey { domain: domain.clone(), key: wrapped, shred: true, at },
        KeyWrite::AddIndexKey { domain, object, shred: true, at },
    ];
    Ok(writes.into_iter().map(|write| Write::Vault(VaultWrite::Key(write))).collect())
}

/// What follows at once; whatever of it fails is done in a later round of care.
async fn after(node: &Arc<Node>, permit: &DomainPermit, loaded: &Loaded) -> Result<(), Refusal> {
    let trouble = match permit.change() {
        DomainChange::Rotate(RotatedKey::Kek) => vault::rewrap(node, &*node.vaults.load(&loaded.domain)?).await,
        DomainChange::Retire(..) | DomainChange::Delete => vault::destroy_doomed(node).await,
        DomainChange::Suspend if loaded.mode().is_some() => {
            node.hsm.forget_strict_keys().await.map_err(|e| crate::reply::of_hsm(&e))
        }
        _ => Ok(()),
    };
    if let Err(refusal) = trouble {
        tracing::warn!(%refusal, "what the change leads to is done later");
    }
    node.vaults.work.notify_one();
    Ok(())
}

/// Before the token is asked for a key in vain.
fn idle(node: &Node, loaded: &Loaded, what: Rotated) -> Result<(), Refusal> {
    let going = vault::rotations(node, &loaded.domain)?;
    if going.iter().any(|row| row.what == what && row.state != RotationState::Finished) {
        return Err(Reason::RotationState.into());
    }
    Ok(())
}

fn rotated(key: RotatedKey) -> Result<Rotated, Refusal> {
    match key {
        RotatedKey::Data => Ok(Rotated::DataKey),
        RotatedKey::Index => Ok(Rotated::IndexKey),
        RotatedKey::Kek => Err(Reason::RotationState.into()),
    }
}

fn state(loaded: &Loaded, state: DomainState) -> Write {
    Write::Vault(VaultWrite::SetDomainState { domain: loaded.domain.clone(), state, at: now() })
}
