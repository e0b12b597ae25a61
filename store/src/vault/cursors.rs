//! How far rotations and imports are.

use super::alive;
use crate::sql::{column, damaged, first, run};
use rusqlite::{Connection, params};
use tally_domain::UnixMillis;
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{CursorWrite, ImportRow, Rotated, RotationState, VaultConflict};
use tally_domain::token::Token;

pub fn apply(c: &Connection, write: &CursorWrite) -> Result<(), StoreError> {
    match write {
        CursorWrite::Rotated { domain, what, after, tokens, at } => {
            rotated(c, alive(c, domain)?.id, *what, (after, *tokens), *at)
        }
        CursorWrite::SetRotation { domain, what, state, at } => set_state(c, alive(c, domain)?.id, *what, *state, *at),
        CursorWrite::Imported(row) => imported(c, row),
    }
}

/// A new rotation from the first token on; the last one must have ended.
pub fn start(
    c: &Connection,
    domain: i64,
    what: Rotated,
    (target, shred): (u32, bool),
    at: UnixMillis,
) -> Result<(), StoreError> {
    if state(c, domain, what)?.is_some_and(|state| state != RotationState::Finished) {
        return Err(VaultConflict::Rotating.into());
    }
    let sql = "INSERT OR REPLACE INTO rotation (domain, what, target, state, after, done, updated_at, shred)
               VALUES (?1, ?2, ?3, 1, NULL, 0, ?4, ?5)";
    run(c, sql, params![domain, what_number(what), target, at.0.cast_signed(), shred]).map(|_| ())
}

/// What the last rotation does.
pub fn state(c: &Connection, domain: i64, what: Rotated) -> Result<Option<RotationState>, StoreError> {
    let sql = "SELECT state FROM rotation WHERE domain = ?1 AND what = ?2";
    first(c, sql, params![domain, what_number(what)], |row| state_of(column(row, 0)?))
}

pub fn what_number(what: Rotated) -> u8 {
    match what {
        Rotated::DataKey => 1,
        Rotated::IndexKey => 2,
    }
}

pub fn state_of(number: u8) -> Result<RotationState, StoreError> {
    match number {
        1 => Ok(RotationState::Running),
        2 => Ok(RotationState::Paused),
        3 => Ok(RotationState::Finished),
        _ => Err(damaged(format!("table rotation: state {number}"))),
    }
}

fn rotated(
    c: &Connection,
    domain: i64,
    what: Rotated,
    (after, tokens): (&Token, u32),
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "UPDATE rotation SET after = ?3, done = done + ?4, updated_at = ?5
               WHERE domain = ?1 AND what = ?2 AND state = 1 AND (after IS NULL OR after < ?3)";
    one(run(c, sql, params![domain, what_number(what), after.as_str(), tokens, at.0.cast_signed()])?)
}

fn set_state(c: &Connection, domain: i64, what: Rotated, to: RotationState, at: UnixMillis) -> Result<(), StoreError> {
    let (from, to) = match to {
        RotationState::Running => (2, 1),
        RotationState::Paused => (1, 2),
        RotationState::Finished => (1, 3),
    };
    let sql = "UPDATE rotation SET state = ?4, updated_at = ?5 WHERE domain = ?1 AND what = ?2 AND state = ?3";
    one(run(c, sql, params![domain, what_number(what), from, to, at.0.cast_signed()])?)
}

fn imported(c: &Connection, row: &ImportRow) -> Result<(), StoreError> {
    let domain = alive(c, &row.domain)?.id;
    let sql = "INSERT INTO token_import (domain, import, source, lines, rejected, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT DO UPDATE SET lines = ?4, rejected = ?5, updated_at = ?6
               WHERE source = ?3 AND lines <= ?4 AND rejected <= ?5";
    let changed = run(
        c,
        sql,
        params![
            domain,
            row.import.0,
            row.source,
            row.lines.cast_signed(),
            row.rejected.cast_signed(),
            row.updated_at.0.cast_signed(),
        ],
    )?;
    if changed == 1 { Ok(()) } else { Err(VaultConflict::Import.into()) }
}

fn one(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(VaultConflict::Cursor.into()) }
}
