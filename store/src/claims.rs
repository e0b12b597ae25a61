//! Claims on lines: the rule is asked inside the transaction, of as little of the line as decides it.

mod held;

use crate::sql::{all, column, damaged, first, run};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;
use tally_domain::claim::{Claimant, LineMemory, Units, Voted, horizon_ms, most};
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
    let own = of(c, &line, by)?;
    let mut pieces = near(c, by, claim, about.sizes)?;
    let beyond = beyond(c, by, claim, issued_at, about.sizes)?;
    // Only where something is held beyond the line's end does anyone ask for the sum.
    let sum = match beyond {
        Some(_) => held::of_others(c, claim, by, issued_at, about.held)?,
        None => 0,
    };
    pieces.extend(beyond);
    let part = together(pieces).into_iter().chain(own.iter().cloned()).collect();
    let mut memory = LineMemory::part(about.forgotten, part, sum);
    let voted = memory.consider(by, claim, issued_at).map_err(|why| Conflict::Claim { line, why })?;
    put(c, &line, by, &voted)?;
    let held = about.held.less(most(&own)).and(most(&own).max(voted.units()));
    let sizes = claim.intervals().iter().fold(about.sizes, |sizes, piece| sizes | 1 << size(*piece));
    memory.keep(voted, claim.window_ms());
    let forgotten = memory.forgotten();
    let held = held::without_old(c, &line, forgotten, held)?;
    run(
        c,
        "INSERT INTO line (line, forgotten, sizes, held) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET forgotten = excluded.forgotten, sizes = excluded.sizes, held = excluded.held",
        params![line.0.0, forgotten.0.cast_signed(), sizes, held.to_bytes()],
    )?;
    run(c, "DELETE FROM claim WHERE line = ?1 AND last < ?2", params![line.0.0, forgotten.0.cast_signed()]).map(|_| ())
}

fn put(c: &Connection, line: &LineId, by: &Claimant, voted: &Voted) -> Result<(), StoreError> {
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
    Ok(())
}

/// What is known of a line as a whole.
struct About {
    forgotten: UnixMillis,
    sizes: i64,
    held: Units,
}

fn about(c: &Connection, line: &LineId) -> Result<About, StoreError> {
    let known = first(c, "SELECT forgotten, sizes, held FROM line WHERE line = ?1", [line.0.0], |row| {
        let held: Option<[u8; 24]> = column(row, 2)?;
        Ok((time(row, 0)?, column(row, 1)?, held.map(Units::from_bytes)))
    })?;
    let (forgotten, sizes, held) = known.unwrap_or((UnixMillis(0), 0, Some(Units::default())));
    Ok(About { forgotten, sizes, held: held.map_or_else(|| held::whole(c, line), Ok)? })
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

/// A piece of another request's claim that ends beyond the line, if there is one near this time: the limit was higher once.
fn beyond(
    c: &Connection,
    by: &Claimant,
    claim: &LineClaim,
    at: UnixMillis,
    known: i64,
) -> Result<Option<Piece>, StoreError> {
    let horizon = horizon_ms(claim.window_ms());
    let (early, late) = (near_from(at, horizon), at.plus(horizon).0.cast_signed());
    let sql = format!(
        "{COLUMNS} WHERE line = ?1 AND size = ?2 AND from_unit >= ?3 AND to_unit > ?4 AND last >= ?5 AND first < ?6
         AND NOT (tenant = ?7 AND request = ?8) LIMIT 1"
    );
    let (line, max) = (claim.line().0.0, claim.max());
    for (size, longer) in sizes(known) {
        let (from, to) = (max.saturating_sub(longer).to_be_bytes(), max.to_be_bytes());
        let bounds = params![line, size, from, to, early, late, by.tenant.as_str(), by.request.0];
        if let Some(piece) = first(c, &sql, bounds, piece)? {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// The first moment that is near this one: what was last issued before it is not.
fn near_from(at: UnixMillis, horizon: u64) -> i64 {
    at.0.checked_sub(horizon).map_or(0, |apart| apart.saturating_add(1)).cast_signed()
}

/// Every piece of others that shares a unit with the claim.
fn near(c: &Connection, by: &Claimant, claim: &LineClaim, known: i64) -> Result<Vec<Piece>, StoreError> {
    let sql =
        format!("{COLUMNS} WHERE line = ?1 AND size = ?2 AND from_unit >= ?3 AND from_unit < ?4 AND to_unit > ?5");
    let mut pieces = Vec::new();
    for interval in claim.intervals() {
        let (from, to) = (interval.from().to_be_bytes(), interval.to().to_be_bytes());
        for (size, longer) in sizes(known) {
            let from_unit = interval.from().saturating_sub(longer).to_be_bytes();
            let found = all(c, &sql, params![claim.line().0.0, size, from_unit, to, from], piece)?;
            pieces.extend(found.into_iter().filter(|p| p.by != *by));
        }
    }
    Ok(pieces)
}

/// Claims of one request. The engine takes the primary key, if it is let, and walks the whole line.
fn of(c: &Connection, line: &LineId, by: &Claimant) -> Result<Vec<Voted>, StoreError> {
    let sql = format!("{COLUMNS} INDEXED BY claim_by_request WHERE tenant = ?1 AND request = ?2 AND line = ?3");
    Ok(together(all(c, &sql, params![by.tenant.as_str(), by.request.0, line.0.0], piece)?))
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
    let (from, to) = (u128::from_be_bytes(column(row, 3)?), u128::from_be_bytes(column(row, 4)?));
    Ok(Piece {
        by: claimant(row)?,
        nth: column(row, 2)?,
        interval: Interval::new(from, to).ok_or_else(|| damaged("table claim: an empty piece"))?,
        first: time(row, 5)?,
        last: time(row, 6)?,
    })
}

/// Whose a row is, by its first two columns.
fn claimant(row: &Row<'_>) -> Result<Claimant, StoreError> {
    let tenant: String = column(row, 0)?;
    let tenant = Tenant::parse(&tenant).map_err(|e| damaged(e.to_string()))?;
    Ok(Claimant { tenant, request: RequestId(column(row, 1)?) })
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
