//! A domain's keys: new versions, rows under them, and the end of old ones.

use super::{alive, cursors};
use crate::sql::{column, first, run};
use rusqlite::{Connection, params};
use tally_domain::UnixMillis;
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{
    DATA_KEY_SEALS_MAX, KeyWrite, Resealed, Rotated, RotationState, TokenConflict, VaultConflict, WrappedKey,
};
use tally_domain::token::{DataKeyNumber, Fingerprint, IndexKeyNumber, Token};

pub fn apply(c: &Connection, write: &KeyWrite) -> Result<(), StoreError> {
    match write {
        KeyWrite::AddKek { domain, kek, at } => super::keks::add(c, alive(c, domain)?.id, *kek, *at),
        KeyWrite::RetireKek { domain, number, at } => super::keks::retire(c, alive(c, domain)?.id, *number, *at),
        KeyWrite::AddDataKey { domain, key, shred, at } => add_data_key(c, alive(c, domain)?.id, key, *shred, *at),
        KeyWrite::Rewrap { domain, number, from, to } => rewrap(c, alive(c, domain)?.id, *number, from, to),
        KeyWrite::Reseal { domain, rows } => reseal(c, alive(c, domain)?.id, rows),
        KeyWrite::RetireDataKey { domain, number, at } => retire_data_key(c, alive(c, domain)?.id, *number, *at),
        KeyWrite::AddIndexKey { domain, object, shred, at } => {
            add_index_key(c, alive(c, domain)?.id, object, *shred, *at)
        }
        KeyWrite::PutFingerprints { domain, rows } => put_fingerprints(c, alive(c, domain)?.id, rows),
        KeyWrite::SwitchIndexKey { domain, at } => switch_index_key(c, alive(c, domain)?.id, *at),
        KeyWrite::RetireIndexKey { domain, number, fingerprints_max, at } => {
            retire_index_key(c, alive(c, domain)?.id, *number, *fingerprints_max, *at)
        }
    }
}

/// A data key that is current from now on.
pub fn insert_data_key(
    c: &Connection,
    domain: i64,
    number: u32,
    key: &WrappedKey,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO data_key (domain, number, state, kek, kek_version, wrapped, made_at, updated_at)
               VALUES (?1, ?2, 2, ?3, ?4, ?5, ?6, ?6)";
    let row = params![domain, number, key.kek.as_str(), key.kek_version.0, key.wrapped, at.0.cast_signed()];
    run(c, sql, row).map(|_| ())
}

fn add_data_key(c: &Connection, domain: i64, key: &WrappedKey, shred: bool, at: UnixMillis) -> Result<(), StoreError> {
    let Some(last) = last_number(c, "data_key", domain)? else { return Err(VaultConflict::Key.into()) };
    let next = last.saturating_add(1);
    cursors::start(c, domain, Rotated::DataKey, (next, shred), at)?;
    let sql = "UPDATE data_key SET state = 3, updated_at = ?2 WHERE domain = ?1 AND state = 2";
    run(c, sql, params![domain, at.0.cast_signed()])?;
    insert_data_key(c, domain, next, key, at)
}

fn rewrap(
    c: &Connection,
    domain: i64,
    number: DataKeyNumber,
    from: &WrappedKey,
    to: &WrappedKey,
) -> Result<(), StoreError> {
    let sql = "UPDATE data_key SET kek = ?6, kek_version = ?7, wrapped = ?8
               WHERE domain = ?1 AND number = ?2 AND kek = ?3 AND kek_version = ?4 AND wrapped = ?5";
    let row = params![
        domain,
        number.0,
        from.kek.as_str(),
        from.kek_version.0,
        from.wrapped,
        to.kek.as_str(),
        to.kek_version.0,
        to.wrapped,
    ];
    one(run(c, sql, row)?)
}

fn reseal(c: &Connection, domain: i64, rows: &[Resealed]) -> Result<(), StoreError> {
    let sql = "SELECT number, sealed FROM data_key WHERE domain = ?1 AND state = 2";
    let current = first(c, sql, [domain], |row| Ok((column::<u32>(row, 0)?, column::<i64>(row, 1)?.cast_unsigned())))?;
    let Some((current, sealed)) = current else { return Err(VaultConflict::Key.into()) };
    if rows.iter().any(|row| row.sealed.key.0 != current) {
        return Err(VaultConflict::Key.into());
    }
    if sealed.saturating_add(rows.len() as u64) > DATA_KEY_SEALS_MAX {
        return Err(VaultConflict::Token(TokenConflict::Spent).into());
    }
    for row in rows {
        let sql = "UPDATE token SET data_key = ?5, iv = ?6, sealed = ?7
                   WHERE domain = ?1 AND token = ?2 AND data_key = ?3 AND iv = ?4";
        let to = &row.sealed;
        run(c, sql, params![domain, row.token.as_str(), row.from.0, row.old_iv, to.key.0, to.iv, to.ciphertext])?;
    }
    Ok(())
}

fn retire_data_key(c: &Connection, domain: i64, number: DataKeyNumber, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "SELECT tokens FROM data_key WHERE domain = ?1 AND number = ?2 AND state = 3";
    match first(c, sql, params![domain, number.0], |row| Ok(column::<i64>(row, 0)?.cast_unsigned()))? {
        None => Err(VaultConflict::Key.into()),
        Some(tokens @ 1..) => Err(VaultConflict::Needed { tokens }.into()),
        Some(0) => {
            let sql = "UPDATE data_key SET state = 4, kek = NULL, kek_version = NULL, wrapped = NULL, updated_at = ?3
                       WHERE domain = ?1 AND number = ?2";
            run(c, sql, params![domain, number.0, at.0.cast_signed()]).map(|_| ())
        }
    }
}

/// Without a data key card numbers cannot be had back, and so cannot be brought under another index key.
fn add_index_key(
    c: &Connection,
    domain: i64,
    object: &[u8; 16],
    shred: bool,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let filling = index_key(c, domain, 1)?;
    if filling.is_some() {
        return Err(VaultConflict::Rotating.into());
    }
    let (Some(_), Some(last)) = (last_number(c, "data_key", domain)?, last_number(c, "index_key", domain)?) else {
        return Err(VaultConflict::Key.into());
    };
    let next = last.saturating_add(1);
    cursors::start(c, domain, Rotated::IndexKey, (next, shred), at)?;
    let sql =
        "INSERT INTO index_key (domain, number, state, object, made_at, updated_at) VALUES (?1, ?2, 1, ?3, ?4, ?4)";
    run(c, sql, params![domain, next, object, at.0.cast_signed()]).map(|_| ())
}

/// Scope and draw are those under the current key, so what was the only one stays the only one. A token without a
/// fingerprint there has none to take over: it was shredded, or has expired and given its place up.
fn put_fingerprints(c: &Connection, domain: i64, rows: &[(Token, Fingerprint)]) -> Result<(), StoreError> {
    let (Some(current), Some(filling)) = (index_key(c, domain, 2)?, index_key(c, domain, 1)?) else {
        return Err(VaultConflict::Key.into());
    };
    for (token, fingerprint) in rows {
        let sql = "INSERT INTO fingerprint (domain, token, index_key, fingerprint, scope, draw)
                   SELECT domain, token, ?4, ?5, scope, draw FROM fingerprint
                   WHERE domain = ?1 AND token = ?2 AND index_key = ?3
                   ON CONFLICT (domain, token, index_key) DO NOTHING";
        run(c, sql, params![domain, token.as_str(), current, filling, fingerprint.0])?;
    }
    Ok(())
}

fn switch_index_key(c: &Connection, domain: i64, at: UnixMillis) -> Result<(), StoreError> {
    let (Some(current), Some(filling)) = (index_key(c, domain, 2)?, index_key(c, domain, 1)?) else {
        return Err(VaultConflict::Key.into());
    };
    if cursors::state(c, domain, Rotated::IndexKey)? != Some(RotationState::Finished) {
        return Err(VaultConflict::Cursor.into());
    }
    let (old, new) = (fingerprints(c, domain, current)?, fingerprints(c, domain, filling)?);
    if new < old {
        return Err(VaultConflict::Needed { tokens: old.saturating_sub(new) }.into());
    }
    let sql = "UPDATE index_key SET state = ?3, updated_at = ?4 WHERE domain = ?1 AND number = ?2";
    for (number, state) in [(current, 3), (filling, 2)] {
        run(c, sql, params![domain, number, state, at.0.cast_signed()])?;
    }
    Ok(())
}

fn retire_index_key(
    c: &Connection,
    domain: i64,
    number: IndexKeyNumber,
    fingerprints_max: u32,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM index_key WHERE domain = ?1 AND number = ?2 AND state = 3";
    if first(c, sql, params![domain, number.0], |_| Ok(()))?.is_none() {
        return Err(VaultConflict::Key.into());
    }
    let sql = "DELETE FROM fingerprint WHERE domain = ?1 AND index_key = ?2 AND token IN
               (SELECT token FROM fingerprint WHERE domain = ?1 AND index_key = ?2 ORDER BY fingerprint LIMIT ?3)";
    run(c, sql, params![domain, number.0, fingerprints_max])?;
    let sql = "SELECT 1 FROM fingerprint WHERE domain = ?1 AND index_key = ?2 LIMIT 1";
    if first(c, sql, params![domain, number.0], |_| Ok(()))?.is_none() {
        let sql = "UPDATE index_key SET state = 4, updated_at = ?3 WHERE domain = ?1 AND number = ?2";
        run(c, sql, params![domain, number.0, at.0.cast_signed()])?;
        super::keks::doom_index_key(c, domain, number, at)?;
    }
    Ok(())
}

fn fingerprints(c: &Connection, domain: i64, index_key: u32) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) FROM fingerprint WHERE domain = ?1 AND index_key = ?2";
    let count = first(c, sql, params![domain, index_key], |row| column::<i64>(row, 0))?;
    Ok(count.unwrap_or(0).cast_unsigned())
}

fn index_key(c: &Connection, domain: i64, state: u8) -> Result<Option<u32>, StoreError> {
    first(c, "SELECT number FROM index_key WHERE domain = ?1 AND state = ?2", params![domain, state], |row| {
        column(row, 0)
    })
}

fn last_number(c: &Connection, table: &str, domain: i64) -> Result<Option<u32>, StoreError> {
    let last = first(c, &format!("SELECT MAX(number) FROM {table} WHERE domain = ?1"), [domain], |row| column(row, 0))?;
    Ok(last.flatten())
}

fn one(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(VaultConflict::Key.into()) }
}
