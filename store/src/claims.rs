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
    let pieces = if is_beyond(c, claim, about.sizes)? { whole(c, &line)? } else { near(c, by, claim, about.sizes)? };
    let mut memory = LineMemory::new(about.forgotten, together(pieces));
    let voted = memory.consider(by, claim, issued_at).map_err(|why| Conflict::Claim { line, why })?;
    for interval in &voted.intervals {
        run(
            c,
            "INSERT INTO claim (line, size, from_unit, to_unit, tenant, request, nth, first, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET first = excluded.first, last = excluded.last",
            params![
                line.0.0,
                size(*interval),
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
    let sizes = claim.intervals().iter().fold(about.sizes, |sizes, piece| sizes | 1 << size(*piece));
    memory.keep(voted, claim.window_ms());
    let forgotten = memory.forgotten().0.cast_signed();
    run(
        c,
        "INSERT INTO line (line, forgotten, sizes) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET forgotten = excluded.forgotten, sizes = excluded.sizes",
        params![line.0.0, forgotten, sizes],
    )?;
    run(c, "DELETE FROM claim WHERE line = ?1 AND last < ?2", params![line.0.0, forgotten]).map(|_| ())
}

/// What is known of a line as a whole.
struct About {
    forgotten: UnixMillis,
    sizes: i64,
}

fn about(c: &Connection, line: &LineId) -> Result<About, StoreError> {
    let known = first(c, "SELECT forgotten, sizes FROM line WHERE line = ?1", [line.0.0], |row| {
        Ok(About { forgotten: time(row, 0)?, sizes: column(row, 1)? })
    })?;
    Ok(known.unwrap_or(About { forgotten: UnixMillis(0), sizes: 0 }))
}

/// The size of pieces from a time before there were sizes: any.
const ANY_SIZE: u32 = 32;

/// Lengths of one size differ by less than this power of two as a factor.
const BITS_PER_SIZE: u32 = 4;

fn size(piece: Interval) -> u32 {
    piece.units().checked_ilog2().unwrap_or(0) / BITS_PER_SIZE
}

/// The sizes there are, each with a length that its pieces do not have.
fn sizes(sizes: i64) -> impl Iterator<Item = (u32, u128)> {
    let longer = |size| 1_u128.checked_shl((size + 1) * BITS_PER_SIZE).unwrap_or(u128::MAX);
    (0..=ANY_SIZE).filter(move |size| sizes >> size & 1 == 1).map(move |size| (size, longer(size)))
}

/// Whether something is remembered beyond the line's end: the limit was higher once.
fn is_beyond(c: &Connection, claim: &LineClaim, known: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM claim WHERE line = ?1 AND size = ?2 AND from_unit >= ?3 AND to_unit > ?4 LIMIT 1";
    for (size, longer) in sizes(known) {
        let from_unit = claim.max().saturating_sub(longer).to_be_bytes();
        let bounds = params![claim.line().0.0, size, from_unit, claim.max().to_be_bytes()];
        if first(c, sql, bounds, |row| column::<i64>(row, 0))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every piece that shares a unit with the claim, and all of the same request.
fn near(c: &Connection, by: &Claimant, claim: &LineClaim, known: i64) -> Result<Vec<Piece>, StoreError> {
    let line = claim.line().0.0;
    let sql = format!("{COLUMNS} WHERE tenant = ?1 AND request = ?2 AND line = ?3");
    let mut pieces = all(c, &sql, params![by.tenant.as_str(), by.request.0, line], piece)?;
    let sql =
        format!("{COLUMNS} WHERE line = ?1 AND size = ?2 AND from_unit >= ?3 AND from_unit < ?4 AND to_unit > ?5");
    for interval in claim.intervals() {
        let (from, to) = (interval.from().to_be_bytes(), interval.to().to_be_bytes());
        for (size, longer) in sizes(known) {
            let from_unit = interval.from().saturating_sub(longer).to_be_bytes();
            let found = all(c, &sql, params![line, size, from_unit, to, from], piece)?;
            pieces.extend(found.into_iter().filter(|p| p.by != *by));
        }
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
