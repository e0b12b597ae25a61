//! Reads: each is one statement, and so sees one state of the file.

use crate::sql::{all, column, damaged, first};
use rusqlite::{Connection, Row, params};
use std::str::FromStr;
use tally_domain::key::KeyState;
use tally_domain::ports::store::{
    AttemptRow, AttemptState, BanRow, CheckpointRow, ClaimRequest, HsmKeyRow, KeyRow, PeerHead, PendingCheck,
    RequestRow, RequestState, StoreError,
};
use tally_domain::{Action, Attempt, Digest, Epoch, Incarnation, KeyName, NodeName, RequestId, Tenant, UnixMillis};

const REQUEST_COLUMNS: &str =
    "SELECT tenant, request, intent_digest, client, key, action, claimed_at, refused, result, updated_at,
     seq FROM request";
const KEY_COLUMNS: &str = "SELECT record, request, sealed_share, state, certificate, updated_at FROM key";

/// One request.
pub fn request(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<Option<RequestRow>, StoreError> {
    let sql = format!("{REQUEST_COLUMNS} WHERE tenant = ?1 AND request = ?2");
    first(c, &sql, params![tenant.as_str(), request.0], request_row)
}

/// A tenant's requests, newest first.
pub fn requests(
    c: &Connection,
    tenant: &Tenant,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<RequestRow>, StoreError> {
    let before = before.and_then(|place| i64::try_from(place).ok()).unwrap_or(i64::MAX);
    let sql = format!(
        "{REQUEST_COLUMNS} INDEXED BY request_by_tenant WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
    );
    all(c, &sql, params![tenant.as_str(), before, limit], request_row)
}

/// All attempts at a request.
pub fn attempts(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<Vec<AttemptRow>, StoreError> {
    let sql =
        "SELECT attempt, statement, body, partial, certificate, abandoned FROM attempt INDEXED BY attempt_by_request
               WHERE tenant = ?1 AND request = ?2 ORDER BY attempt";
    all(c, sql, params![tenant.as_str(), request.0], attempt_row)
}

/// One key.
pub fn key(c: &Connection, name: &KeyName) -> Result<Option<KeyRow>, StoreError> {
    first(c, &format!("{KEY_COLUMNS} WHERE name = ?1"), [name.as_str()], key_row)
}

/// All keys by name.
pub fn keys(c: &Connection) -> Result<Vec<KeyRow>, StoreError> {
    all(c, &format!("{KEY_COLUMNS} ORDER BY name"), [], key_row)
}

/// One HSM key.
pub fn hsm_key(c: &Connection, name: &KeyName) -> Result<Option<HsmKeyRow>, StoreError> {
    first(c, "SELECT record, intent, certificate FROM hsm_key WHERE name = ?1", [name.as_str()], hsm_key_row)
}

/// All HSM keys by name.
pub fn hsm_keys(c: &Connection) -> Result<Vec<HsmKeyRow>, StoreError> {
    all(c, "SELECT record, intent, certificate FROM hsm_key ORDER BY name", [], hsm_key_row)
}

/// All bans.
pub fn bans(c: &Connection) -> Result<Vec<BanRow>, StoreError> {
    all(c, "SELECT key, epoch, peer, what FROM ban ORDER BY key, epoch, peer", [], |row| {
        Ok(BanRow { key: name(row, 0)?, epoch: Epoch(column(row, 1)?), peer: name(row, 2)?, what: column(row, 3)? })
    })
}

/// Checks that were pending.
pub fn pending_checks(c: &Connection) -> Result<Vec<PendingCheck>, StoreError> {
    all(c, "SELECT session, key, epoch, peers FROM pending_check ORDER BY session", [], |row| {
        let peers: String = column(row, 3)?;
        Ok(PendingCheck {
            session: Digest(column(row, 0)?),
            key: name(row, 1)?,
            epoch: Epoch(column(row, 2)?),
            peers: peers.split(',').filter(|p| !p.is_empty()).map(parse).collect::<Result<_, _>>()?,
        })
    })
}

/// The last start of a peer, or of this node.
pub fn incarnation(c: &Connection, node: Option<&NodeName>) -> Result<Option<Incarnation>, StoreError> {
    let node = node.map_or("", NodeName::as_str);
    first(c, "SELECT value FROM incarnation WHERE node = ?1", [node], |row| number(row, 0).map(Incarnation))
}

/// What a peer has shown of its log.
pub fn peer_head(c: &Connection, node: &NodeName) -> Result<Option<PeerHead>, StoreError> {
    first(c, "SELECT size, root, fenced FROM peer_head WHERE node = ?1", [node.as_str()], |row| {
        Ok(PeerHead { size: number(row, 0)?, root: Digest(column(row, 1)?), fenced: number(row, 2)? != 0 })
    })
}

/// Number of leaves.
pub fn log_size(c: &Connection) -> Result<u64, StoreError> {
    let size = first(c, "SELECT COALESCE(MAX(idx) + 1, 0) FROM log", [], |row| number(row, 0))?;
    size.ok_or_else(|| damaged("table log has no size"))
}

/// Leaves from an index on. A gap means that somebody has cut the file by hand.
pub fn leaves(c: &Connection, from: u64, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
    let Ok(start) = i64::try_from(from) else { return Ok(Vec::new()) };
    let rows =
        all(c, "SELECT idx, leaf FROM log WHERE idx >= ?1 ORDER BY idx LIMIT ?2", params![start, limit], |row| {
            Ok((number(row, 0)?, column::<Vec<u8>>(row, 1)?))
        })?;
    let dense = (from..).zip(rows).map(|(expected, (index, leaf))| {
        if index == expected { Ok(leaf) } else { Err(damaged(format!("table log lacks leaf {expected}"))) }
    });
    dense.collect()
}

/// Last checkpoint.
pub fn checkpoint(c: &Connection) -> Result<Option<CheckpointRow>, StoreError> {
    first(c, "SELECT size, note, frontier FROM checkpoint", [], |row| {
        Ok(CheckpointRow { size: number(row, 0)?, note: column(row, 1)?, frontier: column(row, 2)? })
    })
}

fn request_row(row: &Row<'_>) -> Result<RequestRow, StoreError> {
    let action: u32 = column(row, 5)?;
    let state = match (column::<Option<Vec<u8>>>(row, 8)?, column::<Option<String>>(row, 7)?) {
        (Some(result), _) => RequestState::Completed(result),
        (None, Some(reason)) => RequestState::Refused(reason),
        (None, None) => RequestState::Received,
    };
    Ok(RequestRow {
        claim: ClaimRequest {
            tenant: name(row, 0)?,
            request: RequestId(column(row, 1)?),
            intent_digest: Digest(column(row, 2)?),
            client: name(row, 3)?,
            key: name(row, 4)?,
            action: Action::from_number(action).ok_or_else(|| damaged(format!("table request: action {action}")))?,
            at: UnixMillis(number(row, 6)?),
        },
        state,
        updated_at: UnixMillis(number(row, 9)?),
        place: number(row, 10)?,
    })
}

/// An attempt out of the columns (attempt, statement, body, partial, certificate, abandoned).
pub fn attempt_row(row: &Row<'_>) -> Result<AttemptRow, StoreError> {
    let attempt = Attempt(column(row, 0)?);
    let (statement, partial, certificate, abandoned): (Option<_>, Option<_>, Option<_>, Option<_>) =
        (column(row, 1)?, column(row, 3)?, column(row, 4)?, column(row, 5)?);
    let state = match (abandoned, partial, certificate, statement) {
        (Some(statement), None, None, _) => AttemptState::Abandoned(statement),
        (None, Some(partial), Some(certificate), Some(_)) => AttemptState::Released { partial, certificate },
        (None, None, None, Some(statement)) => AttemptState::Voted(statement),
        _ => return Err(damaged(format!("table attempt: attempt {} is in no state", attempt.0))),
    };
    Ok(AttemptRow { attempt, vote_body: column(row, 2)?, state })
}

fn key_row(row: &Row<'_>) -> Result<KeyRow, StoreError> {
    let word: String = column(row, 3)?;
    let state = [KeyState::Pending, KeyState::Active].into_iter().find(|s| s.as_str() == word);
    Ok(KeyRow {
        record: column(row, 0)?,
        request: RequestId(column(row, 1)?),
        sealed_share: column(row, 2)?,
        state: state.ok_or_else(|| damaged(format!("table key: state `{word}`")))?,
        certificate: column(row, 4)?,
        updated_at: UnixMillis(number(row, 5)?),
    })
}

fn hsm_key_row(row: &Row<'_>) -> Result<HsmKeyRow, StoreError> {
    Ok(HsmKeyRow { record: column(row, 0)?, intent: column(row, 1)?, certificate: column(row, 2)? })
}

/// SQLite's integers are signed: a u64 is kept as the i64 with the same bits.
pub fn number(row: &Row<'_>, index: usize) -> Result<u64, StoreError> {
    Ok(column::<i64>(row, index)?.cast_unsigned())
}

/// A name in a column.
pub fn name<T: FromStr>(row: &Row<'_>, index: usize) -> Result<T, StoreError> {
    parse(column::<String>(row, index)?.as_str())
}

fn parse<T: FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| damaged(format!("`{text}` is not a name")))
}
