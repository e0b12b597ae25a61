//! Versions of KEKs: their writes and their rows.

use crate::read::{name, number};
use crate::sql::{all, column, damaged, first, run};
use rusqlite::{Connection, Row, params};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::ports::store::{Conflict, KekVersionRow, KekWrite, StoreError};
use tally_domain::{KekNumber, KekState, KekVersion, KeyName, UnixMillis};

const COLUMNS: &str =
    "SELECT kek, number, id, check_value, transfer, state, destroy_at, made_at, wraps FROM kek_version";

/// All versions of one KEK or of all of them.
pub fn versions(c: &Connection, kek: Option<&KeyName>) -> Result<Vec<KekVersionRow>, StoreError> {
    match kek {
        Some(kek) => all(c, &format!("{COLUMNS} WHERE kek = ?1 ORDER BY number"), [kek.as_str()], version_row),
        None => all(c, &format!("{COLUMNS} ORDER BY kek, number"), [], version_row),
    }
}

/// What each write does and when it is refused.
pub fn apply(c: &Connection, write: &KekWrite) -> Result<(), StoreError> {
    match write {
        KekWrite::Put { kek, version, transfer } => put(c, kek, version, transfer.as_deref()),
        KekWrite::Change { kek, number, from, to, at } => change(c, kek, *number, (*from, *to), *at),
        KekWrite::Use { kek, number, wrapped } => {
            let sql = "UPDATE kek_version SET wraps = wraps + ?3 WHERE kek = ?1 AND number = ?2 AND state = 'enabled'";
            one(run(c, sql, params![kek.as_str(), number.0, i64::from(*wrapped)])?)
        }
    }
}

fn put(c: &Connection, kek: &KeyName, v: &KekVersion, transfer: Option<&[u8]>) -> Result<(), StoreError> {
    let last = first(c, "SELECT MAX(number) FROM kek_version WHERE kek = ?1", [kek.as_str()], |row| {
        column::<Option<u32>>(row, 0)
    })?;
    let next = last.flatten().map_or(KekNumber::FIRST, |n| KekNumber(n).next());
    let taken = first(c, "SELECT 1 FROM kek_version WHERE id = ?1", [v.id.0], |_| Ok(()))?;
    if v.number != next || taken.is_some() {
        return Err(Conflict::KekVersion.into());
    }
    let sql = "INSERT INTO kek_version (kek, number, id, check_value, transfer, state, destroy_at, made_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
    let row = params![
        kek.as_str(),
        v.number.0,
        v.id.0,
        v.check_value.0,
        transfer,
        v.state.as_str(),
        destroy_at(v.state),
        v.made_at.0.cast_signed(),
    ];
    run(c, sql, row).map(|_| ())
}

fn change(
    c: &Connection,
    kek: &KeyName,
    number: KekNumber,
    (from, to): (KekState, KekState),
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "UPDATE kek_version SET state = ?5, destroy_at = ?6, updated_at = ?7
               WHERE kek = ?1 AND number = ?2 AND state = ?3 AND destroy_at IS ?4";
    let row = params![
        kek.as_str(),
        number.0,
        from.as_str(),
        destroy_at(from),
        to.as_str(),
        destroy_at(to),
        at.0.cast_signed(),
    ];
    one(run(c, sql, row)?)
}

/// No row had the state that the write asks for.
fn one(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(Conflict::KekState.into()) }
}

fn destroy_at(state: KekState) -> Option<i64> {
    match state {
        KekState::PendingDestruction { at } => Some(at.0.cast_signed()),
        _ => None,
    }
}

fn version_row(row: &Row<'_>) -> Result<KekVersionRow, StoreError> {
    let (word, at): (String, Option<i64>) = (column(row, 5)?, column(row, 6)?);
    let state = match (word.as_str(), at) {
        ("enabled", None) => KekState::Enabled,
        ("disabled", None) => KekState::Disabled,
        ("pending-destruction", Some(at)) => KekState::PendingDestruction { at: UnixMillis(at.cast_unsigned()) },
        ("destroying", None) => KekState::Destroying,
        ("destroyed", None) => KekState::Destroyed,
        _ => return Err(damaged(format!("table kek_version: state `{word}`"))),
    };
    Ok(KekVersionRow {
        kek: name(row, 0)?,
        version: KekVersion {
            number: KekNumber(column(row, 1)?),
            id: KekId(column(row, 2)?),
            check_value: KeyCheckValue(column(row, 3)?),
            state,
            made_at: UnixMillis(number(row, 7)?),
        },
        transfer: column(row, 4)?,
        wraps: number(row, 8)?,
    })
}
