//! What each write does and when it is refused. Runs inside a savepoint, which the caller undoes on any error.

use crate::approvals;
use crate::bundle;
use crate::claims;
use crate::freeze;
use crate::kek;
use crate::lines;
use crate::read::{self, log_size};
use crate::sql::{all, column, run};
use crate::vault;
use rusqlite::{Connection, params};
use tally_domain::key::KeyState;
use tally_domain::ports::store::{
    AttemptId, AttemptState, ClaimRequest, Committed, Conflict, RequestState, Step, StoreError, Write,
};
use tally_domain::{Digest, Epoch, Incarnation, KeyName, NodeName, RequestId, Tenant, UnixMillis};

/// Applies a step; at the first error the rest is left.
pub fn apply(c: &Connection, step: &Step) -> Result<Committed, StoreError> {
    for write in &step.writes {
        apply_write(c, write)?;
    }
    let first_leaf = log_size(c)?;
    for (index, leaf) in (first_leaf..).zip(&step.leaves) {
        run(c, "INSERT INTO log (idx, leaf) VALUES (?1, ?2)", params![index.cast_signed(), leaf])?;
    }
    Ok(Committed { first_leaf })
}

fn apply_write(c: &Connection, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::ClaimRequest(claim) => claim_request(c, claim),
        Write::Unclaim { tenant, request } => unclaim(c, tenant, request),
        Write::Refuse { tenant, request, reason, at } => refuse(c, tenant, request, reason, *at),
        Write::Vote { attempt, statement, body } => vote(c, attempt, statement, body),
        Write::Claim { by, claims } => claims::claim(c, by, claims),
        Write::NameLine(named) => lines::name(c, named),
        Write::Release { attempt, partial, certificate } => release(c, attempt, partial, certificate),
        Write::Abandon { attempt, statement } => abandon(c, attempt, statement),
        Write::Complete { tenant, request, result, at } => complete(c, tenant, request, result, *at),
        Write::PutPendingKey { name, request, record, sealed_share, at } => {
            put_pending_key(c, name, request, &Share { record, sealed_share }, *at)
        }
        Write::ActivateKey { name, record, certificate, at } => activate_key(c, name, record, certificate, *at),
        Write::PutHsmKey { name, record, intent, at } => put_hsm_key(c, name, record, intent, *at),
        Write::ActivateHsmKey { name, record, certificate, at } => activate_hsm_key(c, name, record, certificate, *at),
        Write::Kek(write) => kek::apply(c, write),
        Write::Vault(write) => vault::apply(c, write),
        Write::Freeze(write) => freeze::apply(c, write),
        Write::Approval(write) => approvals::apply(c, write),
        Write::Bundle(write) => bundle::apply(c, write),
        Write::Ban { key, epoch, peer, what } => ban(c, key, *epoch, peer, what),
        Write::CheckPending { session, key, epoch, peers } => check_pending(c, session, key, *epoch, peers),
        Write::CheckDone { session } => run(c, "DELETE FROM pending_check WHERE session = ?1", [session.0]).map(|_| ()),
        Write::Incarnation(next) => own_incarnation(c, *next),
        Write::PeerIncarnation { node, incarnation } => peer_incarnation(c, node, *incarnation),
        Write::PeerHead { node, size, root } => peer_head(c, node, *size, root),
        Write::FencePeer { node } => fence_peer(c, node),
        Write::AcceptPeer { node } => accept_peer(c, node),
        Write::Checkpoint { size, note, frontier } => checkpoint(c, *size, note, frontier),
    }
}

fn claim_request(c: &Connection, w: &ClaimRequest) -> Result<(), StoreError> {
    match read::request(c, &w.tenant, &w.request)? {
        Some(known) if known.claim.intent_digest == w.intent_digest => match known.state {
            RequestState::Completed(_) => Ok(()),
            RequestState::Received | RequestState::Refused(_) => taken_up(c, w),
        },
        Some(known) if known.yields_to(&w.client) => replaced(c, w),
        Some(_) => Err(Conflict::RequestDigest.into()),
        None => run(
            c,
            "INSERT INTO request (tenant, request, intent_digest, client, key, action, claimed_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
            params![
                w.tenant.as_str(),
                w.request.0,
                w.intent_digest.0,
                w.client.as_str(),
                w.key.as_str(),
                w.action.number(),
                w.at.0.cast_signed(),
            ],
        )
        .map(|_| ()),
    }
}

/// A request is asked for again: what it was refused for is over, unless it was rejected or cancelled.
fn taken_up(c: &Connection, w: &ClaimRequest) -> Result<(), StoreError> {
    let rejected = approvals::rejected_by(c, &w.tenant, &w.request)?.is_some();
    if rejected || approvals::cancellation(c, &w.tenant, &w.request)?.is_some() {
        return Ok(());
    }
    let sql = "UPDATE request SET refused = NULL, updated_at = ?3 WHERE tenant = ?1 AND request = ?2";
    run(c, sql, params![w.tenant.as_str(), w.request.0, w.at.0.cast_signed()]).map(|_| ())
}

/// Another intent has the id from here on, unless something was done or said for the former one, under an earlier bundle.
fn replaced(c: &Connection, w: &ClaimRequest) -> Result<(), StoreError> {
    let sql =
        "UPDATE request SET intent_digest = ?3, key = ?4, action = ?5, claimed_at = ?6, updated_at = ?6, refused = NULL
               WHERE tenant = ?1 AND request = ?2
               AND NOT EXISTS (SELECT 1 FROM attempt INDEXED BY attempt_by_request
                               WHERE tenant = ?1 AND request = ?2)
               AND NOT EXISTS (SELECT 1 FROM claim INDEXED BY claim_by_request WHERE tenant = ?1 AND request = ?2)
               AND NOT EXISTS (SELECT 1 FROM waiting WHERE tenant = ?1 AND request = ?2)
               AND NOT EXISTS (SELECT 1 FROM approval WHERE tenant = ?1 AND request = ?2)";
    let at = w.at.0.cast_signed();
    let changed =
        run(c, sql, params![w.tenant.as_str(), w.request.0, w.intent_digest.0, w.key.as_str(), w.action.number(), at])?;
    if changed == 1 { Ok(()) } else { Err(Conflict::RequestDigest.into()) }
}

fn unclaim(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<(), StoreError> {
    let sql = "DELETE FROM request WHERE tenant = ?1 AND request = ?2 AND result IS NULL
               AND NOT EXISTS (SELECT 1 FROM attempt INDEXED BY attempt_by_request
                               WHERE tenant = ?1 AND request = ?2)
               AND NOT EXISTS (SELECT 1 FROM approval WHERE tenant = ?1 AND request = ?2)
               AND NOT EXISTS (SELECT 1 FROM cancellation WHERE tenant = ?1 AND request = ?2)";
    match run(c, sql, params![tenant.as_str(), request.0])? {
        0 => Ok(()),
        _ => approvals::forget(c, tenant, request),
    }
}

fn request_state(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<RequestState, StoreError> {
    let row = read::request(c, tenant, request)?;
    row.map(|r| r.state).ok_or(Conflict::NoRequest.into())
}

fn refuse(
    c: &Connection,
    tenant: &Tenant,
    request: &RequestId,
    reason: &str,
    at: UnixMillis,
) -> Result<(), StoreError> {
    match request_state(c, tenant, request)? {
        RequestState::Completed(_) => Ok(()),
        // Whatever is said afterwards, this is why.
        _ if approvals::rejected_by(c, tenant, request)?.is_some() => Ok(()),
        _ if approvals::cancellation(c, tenant, request)?.is_some() => Ok(()),
        RequestState::Received | RequestState::Refused(_) => run(
            c,
            "UPDATE request SET refused = ?3, updated_at = ?4 WHERE tenant = ?1 AND request = ?2",
            params![tenant.as_str(), request.0, reason, at.0.cast_signed()],
        )
        .map(|_| ()),
    }
}

fn complete(
    c: &Connection,
    tenant: &Tenant,
    request: &RequestId,
    result: &[u8],
    at: UnixMillis,
) -> Result<(), StoreError> {
    match request_state(c, tenant, request)? {
        RequestState::Completed(known) if known == result => Ok(()),
        RequestState::Completed(_) => Err(Conflict::Completed.into()),
        RequestState::Received | RequestState::Refused(_) => {
            run(
                c,
                "UPDATE request SET result = ?3, refused = NULL, updated_at = ?4 WHERE tenant = ?1 AND request = ?2",
                params![tenant.as_str(), request.0, result, at.0.cast_signed()],
            )?;
            approvals::forget(c, tenant, request)
        }
    }
}

/// What is stored of one attempt: whether there is a vote, with which statement, and the state.
struct Known {
    statement: Option<Vec<u8>>,
    state: AttemptState,
}

fn known(c: &Connection, a: &AttemptId) -> Result<Option<Known>, StoreError> {
    let rows = all(
        c,
        "SELECT attempt, statement, body, partial, certificate, abandoned FROM attempt INDEXED BY attempt_by_request
         WHERE tenant = ?1 AND request = ?2 AND attempt = ?3",
        params![a.tenant.as_str(), a.request.0, a.attempt.0],
        |row| Ok(Known { statement: column(row, 1)?, state: read::attempt_row(row)?.state }),
    )?;
    Ok(rows.into_iter().next())
}

fn vote(c: &Connection, a: &AttemptId, statement: &[u8], body: &[u8]) -> Result<(), StoreError> {
    approvals::not_rejected(c, &a.tenant, &a.request)?;
    match known(c, a)? {
        Some(Known { state: AttemptState::Abandoned(_), .. }) => Err(Conflict::Abandoned.into()),
        Some(Known { statement: Some(voted), .. }) if voted == statement => Ok(()),
        Some(_) => Err(Conflict::Voted.into()),
        None => run(
            c,
            "INSERT INTO attempt (tenant, request, attempt, statement, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![a.tenant.as_str(), a.request.0, a.attempt.0, statement, body],
        )
        .map(|_| ()),
    }
}

fn release(c: &Connection, a: &AttemptId, partial: &[u8], certificate: &[u8]) -> Result<(), StoreError> {
    approvals::not_rejected(c, &a.tenant, &a.request)?;
    match known(c, a)?.map(|k| k.state) {
        None => Err(Conflict::NotVoted.into()),
        Some(AttemptState::Abandoned(_)) => Err(Conflict::Abandoned.into()),
        Some(AttemptState::Released { partial: released, .. }) if released == partial => Ok(()),
        Some(AttemptState::Released { .. }) => Err(Conflict::Released.into()),
        Some(AttemptState::Voted(_)) => run(
            c,
            "UPDATE attempt INDEXED BY attempt_by_request SET partial = ?4, certificate = ?5
             WHERE tenant = ?1 AND request = ?2 AND attempt = ?3",
            params![a.tenant.as_str(), a.request.0, a.attempt.0, partial, certificate],
        )
        .map(|_| ()),
    }
}

fn abandon(c: &Connection, a: &AttemptId, statement: &[u8]) -> Result<(), StoreError> {
    match known(c, a)?.map(|k| k.state) {
        Some(AttemptState::Released { .. }) => Err(Conflict::Released.into()),
        Some(AttemptState::Abandoned(_)) => Ok(()),
        None | Some(AttemptState::Voted(_)) => run(
            c,
            "INSERT INTO attempt (tenant, request, attempt, abandoned) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (tenant, request, attempt) DO UPDATE SET abandoned = excluded.abandoned",
            params![a.tenant.as_str(), a.request.0, a.attempt.0, statement],
        )
        .map(|_| ()),
    }
}

struct Share<'a> {
    record: &'a [u8],
    sealed_share: &'a [u8],
}

fn put_pending_key(
    c: &Connection,
    name: &KeyName,
    request: &RequestId,
    share: &Share<'_>,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let free = read::key(c, name)?.is_none_or(|k| k.state == KeyState::Pending && k.request == *request);
    if !free || read::hsm_key(c, name)?.is_some() {
        return Err(Conflict::KeyExists.into());
    }
    run(
        c,
        "INSERT INTO key (name, request, record, sealed_share, state, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET record = excluded.record, sealed_share = excluded.sealed_share,
                                   updated_at = excluded.updated_at",
        params![
            name.as_str(),
            request.0,
            share.record,
            share.sealed_share,
            KeyState::Pending.as_str(),
            at.0.cast_signed(),
        ],
    )
    .map(|_| ())
}

fn activate_key(
    c: &Connection,
    name: &KeyName,
    record: &[u8],
    certificate: &[u8],
    at: UnixMillis,
) -> Result<(), StoreError> {
    let key = read::key(c, name)?.filter(|k| k.record == record).ok_or(Conflict::NoKey)?;
    match key.state {
        KeyState::Active => Ok(()),
        KeyState::Pending => run(
            c,
            "UPDATE key SET state = ?2, certificate = ?3, updated_at = ?4 WHERE name = ?1",
            params![name.as_str(), KeyState::Active.as_str(), certificate, at.0.cast_signed()],
        )
        .map(|_| ()),
    }
}

fn put_hsm_key(c: &Connection, name: &KeyName, record: &[u8], intent: &[u8], at: UnixMillis) -> Result<(), StoreError> {
    match read::hsm_key(c, name)? {
        Some(known) if known.record == record => Ok(()),
        Some(_) => Err(Conflict::KeyExists.into()),
        None if read::key(c, name)?.is_some() => Err(Conflict::KeyExists.into()),
        None => run(
            c,
            "INSERT INTO hsm_key (name, record, intent, updated_at) VALUES (?1, ?2, ?3, ?4)",
            params![name.as_str(), record, intent, at.0.cast_signed()],
        )
        .map(|_| ()),
    }
}

/// The first certificate stays: any majority proves the same.
fn activate_hsm_key(
    c: &Connection,
    name: &KeyName,
    record: &[u8],
    certificate: &[u8],
    at: UnixMillis,
) -> Result<(), StoreError> {
    let known = read::hsm_key(c, name)?.filter(|k| k.record == record).ok_or(Conflict::NoKey)?;
    if known.certificate.is_some() {
        return Ok(());
    }
    let sql = "UPDATE hsm_key SET certificate = ?2, updated_at = ?3 WHERE name = ?1";
    run(c, sql, params![name.as_str(), certificate, at.0.cast_signed()]).map(|_| ())
}

fn ban(c: &Connection, key: &KeyName, epoch: Epoch, peer: &NodeName, what: &str) -> Result<(), StoreError> {
    run(
        c,
        "INSERT INTO ban (key, epoch, peer, what) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![key.as_str(), epoch.0, peer.as_str(), what],
    )
    .map(|_| ())
}

fn check_pending(
    c: &Connection,
    session: &Digest,
    key: &KeyName,
    epoch: Epoch,
    peers: &[NodeName],
) -> Result<(), StoreError> {
    let peers: Vec<&str> = peers.iter().map(NodeName::as_str).collect();
    run(
        c,
        "INSERT OR REPLACE INTO pending_check (session, key, epoch, peers) VALUES (?1, ?2, ?3, ?4)",
        params![session.0, key.as_str(), epoch.0, peers.join(",")],
    )
    .map(|_| ())
}

fn own_incarnation(c: &Connection, next: Incarnation) -> Result<(), StoreError> {
    let last = read::incarnation(c, None)?.unwrap_or(Incarnation(0));
    if last.0.checked_add(1) == Some(next.0) { set_incarnation(c, "", next) } else { Err(Conflict::Backwards.into()) }
}

fn peer_incarnation(c: &Connection, node: &NodeName, seen: Incarnation) -> Result<(), StoreError> {
    let backwards = read::incarnation(c, Some(node))?.is_some_and(|highest| seen < highest);
    if backwards { Err(Conflict::Backwards.into()) } else { set_incarnation(c, node.as_str(), seen) }
}

fn set_incarnation(c: &Connection, node: &str, value: Incarnation) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO incarnation (node, value) VALUES (?1, ?2)";
    run(c, sql, params![node, value.0.cast_signed()]).map(|_| ())
}

fn peer_head(c: &Connection, node: &NodeName, size: u64, root: &Digest) -> Result<(), StoreError> {
    let sql = "INSERT INTO peer_head (node, size, root) VALUES (?1, ?2, ?3)
               ON CONFLICT (node) DO UPDATE SET size = ?2, root = ?3";
    match read::peer_head(c, node)? {
        Some(last) if size < last.size || (size == last.size && *root != last.root) => Err(Conflict::Backwards.into()),
        Some(_) | None => run(c, sql, params![node.as_str(), size.cast_signed(), root.0]).map(|_| ()),
    }
}

fn fence_peer(c: &Connection, node: &NodeName) -> Result<(), StoreError> {
    let sql = "INSERT INTO peer_head (node, size, root, fenced) VALUES (?1, 0, zeroblob(32), 1)
               ON CONFLICT (node) DO UPDATE SET fenced = 1";
    run(c, sql, [node.as_str()]).map(|_| ())
}

fn accept_peer(c: &Connection, node: &NodeName) -> Result<(), StoreError> {
    run(c, "DELETE FROM peer_head WHERE node = ?1", [node.as_str()])?;
    run(c, "DELETE FROM incarnation WHERE node = ?1", [node.as_str()]).map(|_| ())
}

fn checkpoint(c: &Connection, size: u64, note: &str, frontier: &[u8]) -> Result<(), StoreError> {
    if read::checkpoint(c)?.is_some_and(|last| size < last.size) {
        return Err(Conflict::Backwards.into());
    }
    let sql = "INSERT OR REPLACE INTO checkpoint (id, size, note, frontier) VALUES (0, ?1, ?2, ?3)";
    run(c, sql, params![size.cast_signed(), note, frontier]).map(|_| ())
}
