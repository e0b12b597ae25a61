//! What token domains need without anyone's waiting: rotations go on page by page, keys whose end is decided are destroyed,
//! rows of deleted domains go, and data keys leave memory. Everything here goes on after a crash where it was.

use super::{Loaded, Opened, domain_of, fingerprints, forget_log, open, seal};
use crate::backoff::Backoff;
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use crate::reply;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::{Seal, StrictKey, VaultKey};
use tally_domain::ports::store::tokens::{
    CursorWrite, DoomedKey, KekKind, KeyWrite, Resealed, Rotated, RotationRow, TokenRow, VaultWrite, WrappedKey,
};
use tally_domain::ports::store::{Step, Write};
use tally_domain::token::{DataKeyNumber, DomainState, IndexKeyNumber, TokenDomain, VersionState};
use tally_domain::{KeyName, Reason, Refusal};
use tally_signer::freeze::unless_frozen;
use tally_signer::tokens::changed_leaf;
use tally_tokenization::bind::data_key_aad;
use tally_tokenization::rotation::{PAGE_TOKENS, Rotation, Running};

/// How often the vault is looked after when nobody asks for it.
const EVERY: Duration = Duration::from_secs(2);

/// Pages of one rotation in one round, so that others get their turn.
const PAGES_MAX: u32 = 16;

/// Rows of a deleted domain, or fingerprints of an old index key, that go in one step.
const PURGED_MAX: u32 = 1_000;

/// Looks after the vault for as long as the node runs.
pub async fn keep(node: Arc<Node>) {
    let mut backoff = Backoff::default();
    loop {
        let woken = node.vaults.work.notified();
        let _late = tokio::time::timeout(EVERY, woken).await;
        node.vaults.expire();
        if !backoff.is_due(Instant::now()) {
            continue;
        }
        match round(&node).await {
            Ok(()) => {
                if backoff.worked() {
                    tracing::info!("the vault's work goes on");
                }
            }
            Err(refusal) => {
                if backoff.failed(refusal.reason.as_str(), Instant::now()) {
                    tracing::warn!(%refusal, "the vault's work waits");
                }
            }
        }
    }
}

async fn round(node: &Arc<Node>) -> Result<(), Refusal> {
    destroy_doomed(node).await?;
    for row in node.vaults.store.token_domains().map_err(|e| reply::of_store(&e))? {
        let Some(held) = held(node, &row.domain) else { continue };
        if node.freezes.known().check(&held).is_err() {
            continue;
        }
        if row.state == DomainState::Deleted {
            purge(node, &row.domain).await?;
            continue;
        }
        let loaded = node.vaults.load(&row.domain)?;
        rewrap(node, &loaded).await?;
        for what in [Rotated::DataKey, Rotated::IndexKey] {
            rotate(node, &row.domain, what).await?;
        }
    }
    Ok(())
}

/// The name in the cluster of a domain whose home this is.
fn held(node: &Node, domain: &TokenDomain) -> Option<KeyName> {
    let name = KeyName::parse(domain.name.as_str()).ok()?;
    let held = node.hsm_keys.get(&name)?;
    let ours = domain_of(&held.record).is_ok_and(|of| of == *domain) && held.record.home == *node.name();
    ours.then_some(name)
}

/// Has the token destroy what is to be destroyed.
///
/// # Errors
/// `HSM`, `STORAGE`.
pub async fn destroy_doomed(node: &Arc<Node>) -> Result<(), Refusal> {
    let doomed = node.vaults.store.doomed_keys().map_err(|e| reply::of_store(&e))?;
    if doomed.is_empty() {
        return Ok(());
    }
    for key in doomed {
        let destroyed = match key {
            DoomedKey::Kek(kek) if kek.kind == KekKind::Sealing => node.hsm.destroy_kek(kek.object).await,
            DoomedKey::Kek(kek) => node.hsm.destroy_vault_key(VaultKey::Wrapping(kek.object)).await,
            DoomedKey::Index(id) => node.hsm.destroy_vault_key(VaultKey::Index(id)).await,
        };
        destroyed.map_err(|e| reply::of_hsm(&e))?;
        commit(node, vault_step(VaultWrite::Gone(key))).await?;
        tracing::info!("a key of a token domain is destroyed");
    }
    forget_log(node).await;
    Ok(())
}

async fn purge(node: &Arc<Node>, domain: &TokenDomain) -> Result<(), Refusal> {
    while node.vaults.store.has_rows(domain).map_err(|e| reply::of_store(&e))? {
        commit(node, vault_step(VaultWrite::PurgeDomain { domain: domain.clone(), tokens_max: PURGED_MAX })).await?;
        if !node.vaults.store.has_rows(domain).map_err(|e| reply::of_store(&e))? {
            forget_log(node).await;
        }
    }
    Ok(())
}

/// Brings data keys under the current KEK, unless they are about to be destroyed with theirs.
///
/// # Errors
/// `HSM`, `STORAGE`, `TAMPERED`.
pub async fn rewrap(node: &Arc<Node>, loaded: &Loaded) -> Result<(), Refusal> {
    let Some(current) = loaded.current_kek() else { return Ok(()) };
    let rotation = node.vaults.store.rotation(&loaded.domain, Rotated::DataKey).map_err(|e| reply::of_store(&e))?;
    let shreds = rotation.is_some_and(|rotation| rotation.shred);
    for key in &loaded.data_keys {
        let Some(from) = key.wrapped.as_ref().filter(|from| from.kek_version != current.number) else { continue };
        if shreds && key.state == VersionState::Previous {
            continue;
        }
        let old = loaded.keks.iter().find(|kek| kek.number == from.kek_version).ok_or(Reason::Tampered)?;
        let aad = data_key_aad(&loaded.domain, key.number).0.to_vec();
        let wrapped = match old.kek.kind {
            KekKind::Sealing => {
                let from_seal = Seal { kek: old.kek.object, aad: aad.clone() };
                node.hsm.rewrap(from_seal, from.wrapped.clone(), Seal { kek: current.kek.object, aad }).await
            }
            KekKind::Wrapping => {
                let strict = StrictKey { kek: old.kek.object, wrapped: from.wrapped.clone() };
                node.hsm.rewrap_strict_key(strict, current.kek.object).await
            }
        };
        let wrapped = wrapped.map_err(|e| reply::of_hsm(&e))?;
        let to = WrappedKey { kek: from.kek.clone(), kek_version: current.number, wrapped };
        let write = KeyWrite::Rewrap { domain: loaded.domain.clone(), number: key.number, from: from.clone(), to };
        commit(node, unless_frozen(vault_step(VaultWrite::Key(write)), &loaded.name()?)).await?;
        node.vaults.forget(&loaded.domain);
    }
    Ok(())
}

async fn rotate(node: &Arc<Node>, domain: &TokenDomain, what: Rotated) -> Result<(), Refusal> {
    for _ in 0..PAGES_MAX {
        let row = node.vaults.store.rotation(domain, what).map_err(|e| reply::of_store(&e))?;
        let Some(row) = row else { return Ok(()) };
        let shred = row.shred;
        match Rotation::of(domain.clone(), row) {
            Rotation::Paused(_) => return Ok(()),
            Rotation::Finished(finished) => {
                let _changing = node.vaults.change().await;
                drop(finished);
                return if shred { retire_emptied(node, domain).await } else { Ok(()) };
            }
            Rotation::Running(running) => page(node, domain, what, running).await?,
        }
    }
    // More is left; the next round begins at once.
    node.vaults.work.notify_one();
    Ok(())
}

/// One page, with the cursor behind it, in one step; or the end.
async fn page(node: &Arc<Node>, domain: &TokenDomain, what: Rotated, running: Running) -> Result<(), Refusal> {
    let loaded = node.vaults.load(domain)?;
    let name = loaded.name()?;
    let rows = node.vaults.store.tokens(domain, running.after(), PAGE_TOKENS).map_err(|e| reply::of_store(&e))?;
    let Some(last) = rows.last().map(|row| row.token.clone()) else {
        let (_finished, write) = running.finish(now());
        let mut writes = vec![Write::Vault(VaultWrite::Cursor(write))];
        if what == Rotated::IndexKey {
            let switch = KeyWrite::SwitchIndexKey { domain: domain.clone(), at: now() };
            writes.push(Write::Vault(VaultWrite::Key(switch)));
        }
        let key = if what == Rotated::IndexKey { "index" } else { "data" };
        let leaf = node.leaf(changed_leaf(None, &name, format!("the rotation of the {key} key is finished")));
        commit(node, unless_frozen(Step { writes, leaves: vec![leaf] }, &name)).await?;
        node.vaults.forget(domain);
        return Ok(());
    };
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let write = match what {
        Rotated::DataKey => reseal(node, &loaded, rows).await?,
        Rotated::IndexKey => refingerprint(node, &loaded, rows).await?,
    };
    let (_running, cursor): (_, CursorWrite) = running.page(last, count, now()).map_err(|_| Reason::Bug)?;
    let writes = [VaultWrite::Key(write), VaultWrite::Cursor(cursor)].into_iter().map(Write::Vault).collect();
    match commit(node, unless_frozen(Step { writes, leaves: Vec::new() }, &name)).await {
        // Paused meanwhile: the page is done again later.
        Err(refusal) if refusal.reason == Reason::RotationState => Ok(()),
        outcome => outcome,
    }
}

async fn reseal(node: &Arc<Node>, loaded: &Loaded, rows: Vec<TokenRow>) -> Result<KeyWrite, Refusal> {
    let current = loaded.current_data_key().map(|key| key.number);
    let old = |row: &TokenRow| row.sealed.as_ref().is_some_and(|sealed| Some(sealed.key) != current);
    let rows: Vec<TokenRow> = rows.into_iter().filter(old).collect();
    let opened = open(node, loaded, &rows).await?;
    let mut readable = Vec::with_capacity(rows.len());
    for (row, opened) in rows.iter().zip(&opened) {
        match opened {
            Opened::Pan(pan) => readable.push((row, pan)),
            // It stays where it is, and keeps its key from being retired: somebody has to look.
            Opened::Tampered => tracing::error!(token = %row.token, "the row does not open, and is left under its key"),
            Opened::OtherKeys => return Err(Reason::Contention.into()),
            Opened::Nothing => {}
        }
    }
    let to_seal: Vec<_> = readable.iter().map(|(row, pan)| (&row.token, *pan)).collect();
    let seals = seal(node, loaded, &to_seal).await?;
    let resealed = readable.iter().zip(seals).filter_map(|((row, _), sealed)| {
        let before = row.sealed.as_ref()?;
        Some(Resealed { token: row.token.clone(), from: before.key, old_iv: before.iv, sealed: sealed? })
    });
    Ok(KeyWrite::Reseal { domain: loaded.domain.clone(), rows: resealed.collect() })
}

async fn refingerprint(node: &Arc<Node>, loaded: &Loaded, rows: Vec<TokenRow>) -> Result<KeyWrite, Refusal> {
    let filling = loaded.index_keys.iter().find(|key| key.state == VersionState::Filling);
    let filling = filling.ok_or(Reason::Contention)?;
    let opened = open(node, loaded, &rows).await?;
    let mut readable = Vec::with_capacity(rows.len());
    for (row, opened) in rows.iter().zip(&opened) {
        match opened {
            Opened::Pan(pan) => readable.push((row, pan)),
            Opened::Tampered => {
                tracing::error!(token = %row.token, "the row does not open, and gets no new fingerprint")
            }
            Opened::OtherKeys => return Err(Reason::Contention.into()),
            Opened::Nothing => {}
        }
    }
    let pans: Vec<_> = readable.iter().map(|(_, pan)| *pan).collect();
    let prints = fingerprints(node, loaded, filling, &pans).await?;
    let rows = readable.iter().zip(prints).map(|((row, _), print)| (row.token.clone(), print)).collect();
    Ok(KeyWrite::PutFingerprints { domain: loaded.domain.clone(), rows })
}

/// Retires every version of every key that nothing depends on any more, and has the token destroy what it has of them.
/// Called while nobody else changes domains.
///
/// # Errors
/// `HSM`, `STORAGE`.
pub async fn retire_emptied(node: &Arc<Node>, domain: &TokenDomain) -> Result<(), Refusal> {
    node.vaults.forget(domain);
    let loaded = node.vaults.load(domain)?;
    let name = loaded.name()?;
    let previous = |state| state == VersionState::Previous;
    let mut retired = false;
    for key in loaded.data_keys.iter().filter(|key| previous(key.state)) {
        retired |= retire(
            node,
            &loaded,
            KeyWrite::RetireDataKey { domain: domain.clone(), number: DataKeyNumber(key.number.0), at: now() },
        )
        .await?;
    }
    for key in loaded.index_keys.iter().filter(|key| previous(key.state)) {
        retired |= retire_index(node, &loaded, key.number).await?;
    }
    for kek in loaded.keks.iter().filter(|kek| previous(kek.state)) {
        let write = KeyWrite::RetireKek { domain: domain.clone(), number: kek.number, at: now() };
        retired |= retire(node, &loaded, write).await?;
    }
    if retired {
        tracing::info!(domain = %name, "what a rotation has left behind is destroyed");
        node.vaults.forget(domain);
        destroy_doomed(node).await?;
    }
    Ok(())
}

/// Whether it was retired; not while something depends on it.
async fn retire(node: &Arc<Node>, loaded: &Loaded, write: KeyWrite) -> Result<bool, Refusal> {
    let name = loaded.name()?;
    match commit(node, unless_frozen(vault_step(VaultWrite::Key(write)), &name)).await {
        Ok(()) => Ok(true),
        Err(refusal) if matches!(refusal.reason, Reason::VersionNeeded | Reason::VersionState) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Removes fingerprints under an index key until it has none.
pub async fn retire_index(node: &Arc<Node>, loaded: &Loaded, number: IndexKeyNumber) -> Result<bool, Refusal> {
    loop {
        let (domain, at) = (loaded.domain.clone(), now());
        let write = KeyWrite::RetireIndexKey { domain, number, fingerprints_max: PURGED_MAX, at };
        if !retire(node, loaded, write).await? {
            return Ok(false);
        }
        let keys = node.vaults.store.index_keys(&loaded.domain).map_err(|e| reply::of_store(&e))?;
        if keys.iter().any(|key| key.number == number && key.state == VersionState::Destroyed) {
            return Ok(true);
        }
    }
}

fn vault_step(write: VaultWrite) -> Step {
    Step { writes: vec![Write::Vault(write)], leaves: Vec::new() }
}

/// How far a rotation is, for whoever asks.
pub fn rotations(node: &Node, domain: &TokenDomain) -> Result<Vec<RotationRow>, Refusal> {
    let of = |what| node.vaults.store.rotation(domain, what).map_err(|e| reply::of_store(&e));
    Ok([of(Rotated::DataKey)?, of(Rotated::IndexKey)?].into_iter().flatten().collect())
}
