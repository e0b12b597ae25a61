//! Claims on lines: the rule is asked inside the transaction, of as little of the line as decides it.

use crate::sql::{all, column, damaged, first, run};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;
use tally_domain::claim::{Claimant, LineMemory, Voted};
use tally_domain::ports::store::{Conflict, StoreError};
use tally_domain::{Claims, Interval, LineClaim, LineId, RequestId, Tenant, UnixMillis};

const COLUMNS: &str = "SELECT tenant, request, nth, from_unit, to_unit, first, last FROM claim";

/// Takes all of it, or at the first line that refuses nothing: the caller undoes the step.
pub fn claim(c: &Connection, by: &Claimant, claims: &Claims) -> Result<(), StoreError> {
    claims.lines().iter().try_for_each(|claim| take(c, by, claim, claims.issued_at()))
}

/// All that is remembered of a line.
pub fn line(c: &Connection, line: &LineId) -> Result<LineMemory, StoreError> {
    Ok(LineMemory::new(about(c, line)?.forgotten, together(whole(c, line)?)))
}

fn whole(c: &Connection, line: &LineId) -> Result<Vec<Piece>, StoreError> {
    all(c, &format!("{COLUMNS} WHERE line = ?1"), [line.0.0], piece)
}

fn take(c: &Connection, by: &Claimant, claim: &LineClaim, issued_at: UnixMillis) -> Result<(), StoreError> {
    let line = claim.line();
    let about = about(c, &line)?;
    let pieces =
        if is_beyond(c, claim, about.longest)? { whole(c, &line)? } else { near(c, by, claim, about.longest)? };
    let mut memory = LineMemory::new(about.forgotten, together(pieces));
    let voted = memory.consider(by, claim, issued_at).map_err(|why| Conflict::Claim { line, why })?;
    for interval in &voted.intervals {
        run(
            c,
            "INSERT INTO claim (line, from_unit, to_unit, tenant, request, nth, first, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET first = excluded.first, last = excluded.last",
            params![
                line.0.0,
                interval.from().to_be_bytes(),
                interval.to().to_be_bytes(),
                by.tenant.as_str(),
                by.request.0,
                voted.nth,
                voted.first.0.cast_signed(),
                voted.last.0.cast_signed(),
            ],
        )?;
    }
    let longest = claim.intervals().iter().map(|i| i.units()).max().unwrap_or(0).max(about.longest);
    memory.keep(voted, claim.window_ms());
    let forgotten = memory.forgotten().0.cast_signed();
    run(
        c,
        "INSERT INTO line (line, forgotten, longest) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET forgotten = excluded.forgotten, longest = excluded.longest",
        params![line.0.0, forgotten, longest.to_be_bytes()],
    )?;
    run(c, "DELETE FROM claim WHERE line = ?1 AND last < ?2", params![line.0.0, forgotten]).map(|_| ())
}

/// What is known of a line as a whole.
struct About {
    forgotten: UnixMillis,
    longest: u128,
}

fn about(c: &Connection, line: &LineId) -> Result<About, StoreError> {
    let known = first(c, "SELECT forgotten, longest FROM line WHERE line = ?1", [line.0.0], |row| {
        Ok(About { forgotten: time(row, 0)?, longest: u128::from_be_bytes(column(row, 1)?) })
    })?;
    Ok(known.unwrap_or(About { forgotten: UnixMillis(0), longest: 0 }))
}

/// Whether something is remembered beyond the line's end: the limit was higher once.
fn is_beyond(c: &Connection, claim: &LineClaim, longest: u128) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM claim WHERE line = ?1 AND from_unit >= ?2 AND to_unit > ?3 LIMIT 1";
    let from_unit = claim.max().saturating_sub(longest).to_be_bytes();
    let bounds = params![claim.line().0.0, from_unit, claim.max().to_be_bytes()];
    Ok(first(c, sql, bounds, |row| column::<i64>(row, 0))?.is_some())
}

/// Every piece that shares a unit with the claim, and all of the same request.
fn near(c: &Connection, by: &Claimant, claim: &LineClaim, longest: u128) -> Result<Vec<Piece>, StoreError> {
    let line = claim.line().0.0;
    let sql = format!("{COLUMNS} WHERE tenant = ?1 AND request = ?2 AND line = ?3");
    let mut pieces = all(c, &sql, params![by.tenant.as_str(), by.request.0, line], piece)?;
    let sql = format!("{COLUMNS} WHERE line = ?1 AND from_unit >= ?2 AND from_unit < ?3 AND to_unit > ?4");
    for interval in claim.intervals() {
        let from_unit = interval.from().saturating_sub(longest).to_be_bytes();
        let bounds = params![line, from_unit, interval.to().to_be_bytes(), interval.from().to_be_bytes()];
        pieces.extend(all(c, &sql, bounds, piece)?.into_iter().filter(|p| p.by != *by));
    }
    Ok(pieces)
}

/// One row.
struct Piece {
    by: Claimant,
    nth: u32,
    interval: Interval,
    first: UnixMillis,
    last: UnixMillis,
}

fn piece(row: &Row<'_>) -> Result<Piece, StoreError> {
    let tenant: String = column(row, 0)?;
    let (from, to) = (u128::from_be_bytes(column(row, 3)?), u128::from_be_bytes(column(row, 4)?));
    Ok(Piece {
        by: Claimant {
            tenant: Tenant::parse(&tenant).map_err(|e| damaged(e.to_string()))?,
            request: RequestId(column(row, 1)?),
        },
        nth: column(row, 2)?,
        interval: Interval::new(from, to).ok_or_else(|| damaged("table claim: an empty piece"))?,
        first: time(row, 5)?,
        last: time(row, 6)?,
    })
}

/// Pieces of one claim in one place, ascending, each once: a long one may have been found twice.
fn together(mut pieces: Vec<Piece>) -> Vec<Voted> {
    pieces.sort_by_key(|p| p.interval);
    let mut claims: BTreeMap<(Claimant, u32), Voted> = BTreeMap::new();
    for Piece { by, nth, interval, first, last } in pieces {
        let empty = || Voted { by: by.clone(), nth, intervals: Vec::new(), first, last };
        let voted = claims.entry((by.clone(), nth)).or_insert_with(empty);
        if voted.intervals.last() != Some(&interval) {
            voted.intervals.push(interval);
        }
    }
    claims.into_values().collect()
}

fn time(row: &Row<'_>, index: usize) -> Result<UnixMillis, StoreError> {
    Ok(UnixMillis(column::<i64>(row, index)?.cast_unsigned()))
}
