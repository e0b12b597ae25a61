//! Requests that wait for persons, and what persons have said.

use crate::read::{self, name, number};
use crate::sql::{all, column, damaged, first, run};
use rusqlite::{Connection, Row, params};
use tally_domain::approval::Verdict;
use tally_domain::ports::store::{
    ApprovalRow, ApprovalWrite, CancellationRow, Conflict, ENDED_MAX, RequestState, StoreError, WaitingRow,
};
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::{Digest, PersonName, Reason, RequestId, Tenant, UnixMillis};

const WAITING_COLUMNS: &str =
    "SELECT tenant, request, intent, owner, bundle, summary, expires_at, updated_at FROM waiting";

/// Nothing waits after its time but for what clocks may be off, a second: what was written down later is that it has ended.
const ENDED: &str = "updated_at > expires_at + 1000";
const _: () = assert!(CLOCK_TOLERANCE_MS == 1_000, "as in ENDED");

/// What each write does and when it is refused.
pub fn apply(c: &Connection, write: &ApprovalWrite) -> Result<(), StoreError> {
    match write {
        ApprovalWrite::Await(row) => wait(c, row),
        ApprovalWrite::Put(row) => put(c, row),
        ApprovalWrite::End { tenant, request, at } => end(c, tenant, request, *at),
        ApprovalWrite::Cancel(row) => cancel(c, row),
        ApprovalWrite::NotRejected { tenant, request } => not_rejected(c, tenant, request),
    }
}

fn wait(c: &Connection, w: &WaitingRow) -> Result<(), StoreError> {
    let request = read::request(c, &w.tenant, &w.request)?.ok_or(Conflict::NoRequest)?;
    if let RequestState::Completed(_) = request.state {
        return Ok(());
    }
    not_rejected(c, &w.tenant, &w.request)?;
    let at = w.at.0.cast_signed();
    run(
        c,
        "INSERT INTO waiting (tenant, request, intent, owner, bundle, summary, expires_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET bundle = excluded.bundle, summary = excluded.summary, updated_at = excluded.updated_at",
        params![
            w.tenant.as_str(),
            w.request.0,
            w.intent,
            w.owner.as_str(),
            w.bundle.0,
            w.summary.0,
            w.expires_at.0.cast_signed(),
            at,
        ],
    )?;
    let sql = "UPDATE request SET refused = NULL, updated_at = ?3 WHERE tenant = ?1 AND request = ?2";
    run(c, sql, params![w.tenant.as_str(), w.request.0, at]).map(|_| ())
}

fn put(c: &Connection, w: &ApprovalRow) -> Result<(), StoreError> {
    read::request(c, &w.tenant, &w.request)?.ok_or(Conflict::NoRequest)?;
    if w.verdict == Verdict::Approve {
        not_rejected(c, &w.tenant, &w.request)?;
    }
    let at = w.at.0.cast_signed();
    // The first rejection stays: it is what others may have been told of.
    let sql =
        "INSERT INTO approval (tenant, request, person, verdict, envelope, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT DO UPDATE SET envelope = excluded.envelope, updated_at = excluded.updated_at
               WHERE verdict = 1";
    run(c, sql, params![w.tenant.as_str(), w.request.0, w.person.as_str(), w.verdict.number(), w.envelope, at])?;
    if w.verdict == Verdict::Approve {
        return Ok(());
    }
    let sql = "UPDATE request SET refused = ?3, updated_at = ?4 WHERE tenant = ?1 AND request = ?2 AND result IS NULL";
    run(c, sql, params![w.tenant.as_str(), w.request.0, Reason::Rejected.as_str(), at]).map(|_| ())
}

/// What is left of one that waits is when that ended; of those that ended before, the last ones stay.
fn end(c: &Connection, tenant: &Tenant, request: &RequestId, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "UPDATE waiting SET updated_at = ?3 WHERE tenant = ?1 AND request = ?2";
    run(c, sql, params![tenant.as_str(), request.0, at.0.cast_signed()])?;
    let sql = format!(
        "DELETE FROM waiting WHERE tenant = ?1 AND {ENDED} AND updated_at <=
         (SELECT updated_at FROM waiting WHERE tenant = ?1 AND {ENDED} ORDER BY updated_at DESC LIMIT 1 OFFSET ?2)"
    );
    run(c, &sql, params![tenant.as_str(), ENDED_MAX]).map(|_| ())
}

fn cancel(c: &Connection, w: &CancellationRow) -> Result<(), StoreError> {
    let request = read::request(c, &w.tenant, &w.request)?.ok_or(Conflict::NoRequest)?;
    if let RequestState::Completed(_) = request.state {
        return Err(Conflict::Completed.into());
    }
    let at = w.at.0.cast_signed();
    let sql = "INSERT INTO cancellation (tenant, request, envelope, updated_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT DO NOTHING";
    run(c, sql, params![w.tenant.as_str(), w.request.0, w.envelope, at])?;
    if rejected_by(c, &w.tenant, &w.request)?.is_some() {
        return Ok(());
    }
    let sql = "UPDATE request SET refused = ?3, updated_at = ?4 WHERE tenant = ?1 AND request = ?2";
    run(c, sql, params![w.tenant.as_str(), w.request.0, Reason::Cancelled.as_str(), at]).map(|_| ())
}

/// Waits no longer; what persons have said stays.
pub fn forget(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<(), StoreError> {
    let sql = "DELETE FROM waiting WHERE tenant = ?1 AND request = ?2";
    run(c, sql, params![tenant.as_str(), request.0]).map(|_| ())
}

/// Refuses if a person has rejected the request, or its client has cancelled it.
pub fn not_rejected(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<(), StoreError> {
    match rejected_by(c, tenant, request)? {
        Some(person) => Err(Conflict::Rejected(person).into()),
        None if cancellation(c, tenant, request)?.is_some() => Err(Conflict::Cancelled.into()),
        None => Ok(()),
    }
}

/// Who has rejected a request, if somebody has.
pub fn rejected_by(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<Option<PersonName>, StoreError> {
    let sql = "SELECT person FROM approval WHERE tenant = ?1 AND request = ?2 AND verdict = 2 LIMIT 1";
    first(c, sql, params![tenant.as_str(), request.0], |row| name(row, 0))
}

/// What its client has said to take a request back.
pub fn cancellation(
    c: &Connection,
    tenant: &Tenant,
    request: &RequestId,
) -> Result<Option<CancellationRow>, StoreError> {
    let sql = "SELECT tenant, request, envelope, updated_at FROM cancellation WHERE tenant = ?1 AND request = ?2";
    first(c, sql, params![tenant.as_str(), request.0], |row| {
        Ok(CancellationRow {
            tenant: name(row, 0)?,
            request: RequestId(column(row, 1)?),
            envelope: column(row, 2)?,
            at: UnixMillis(number(row, 3)?),
        })
    })
}

/// One request that waits.
pub fn waiting(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<Option<WaitingRow>, StoreError> {
    let sql = format!("{WAITING_COLUMNS} WHERE tenant = ?1 AND request = ?2 AND NOT ({ENDED})");
    first(c, &sql, params![tenant.as_str(), request.0], waiting_row)
}

/// All requests that wait, those that expire first at the beginning.
pub fn all_waiting(c: &Connection) -> Result<Vec<WaitingRow>, StoreError> {
    let sql = format!("{WAITING_COLUMNS} WHERE NOT ({ENDED}) ORDER BY expires_at, tenant, request");
    all(c, &sql, [], waiting_row)
}

/// A tenant's requests whose time is over, the last one at the beginning.
pub fn ended(c: &Connection, tenant: &Tenant) -> Result<Vec<WaitingRow>, StoreError> {
    let sql = format!("{WAITING_COLUMNS} WHERE tenant = ?1 AND {ENDED} ORDER BY updated_at DESC, request");
    all(c, &sql, params![tenant.as_str()], waiting_row)
}

/// What persons have said of a request, by person.
pub fn approvals(c: &Connection, tenant: &Tenant, request: &RequestId) -> Result<Vec<ApprovalRow>, StoreError> {
    let sql = "SELECT tenant, request, person, verdict, envelope, updated_at FROM approval
               WHERE tenant = ?1 AND request = ?2 ORDER BY person, verdict";
    all(c, sql, params![tenant.as_str(), request.0], |row| {
        let verdict: u32 = column(row, 3)?;
        Ok(ApprovalRow {
            tenant: name(row, 0)?,
            request: RequestId(column(row, 1)?),
            person: name(row, 2)?,
            verdict: Verdict::from_number(verdict)
                .ok_or_else(|| damaged(format!("table approval: verdict {verdict}")))?,
            envelope: column(row, 4)?,
            at: UnixMillis(number(row, 5)?),
        })
    })
}

fn waiting_row(row: &Row<'_>) -> Result<WaitingRow, StoreError> {
    Ok(WaitingRow {
        tenant: name(row, 0)?,
        request: RequestId(column(row, 1)?),
        intent: column(row, 2)?,
        owner: name(row, 3)?,
        bundle: Digest(column(row, 4)?),
        summary: Digest(column(row, 5)?),
        expires_at: UnixMillis(number(row, 6)?),
        at: UnixMillis(number(row, 7)?),
    })
}
