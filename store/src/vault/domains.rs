//! Making, suspending and deleting domains.

use super::{alive, find};
use crate::sql::{column, first, run};
use rusqlite::{Connection, params};
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{NewDomain, VaultConflict};
use tally_domain::token::{DomainState, TokenDomain};
use tally_domain::{KekNumber, UnixMillis};

pub fn put(c: &Connection, new: &NewDomain) -> Result<(), StoreError> {
    let known = super::read::domain(c, &new.domain)?;
    if let Some(known) = known {
        let same = known.record == new.record && known.home == new.home && known.reuse == new.reuse;
        let alive = known.state != DomainState::Deleted;
        return if same && alive { Ok(()) } else { Err(VaultConflict::DomainExists.into()) };
    }
    let at = new.at.0.cast_signed();
    run(
        c,
        "INSERT INTO token_domain (tenant, name, record, home, reuse, state, made_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![
            new.domain.tenant.as_str(),
            new.domain.name.as_str(),
            new.record,
            new.home.as_str(),
            new.reuse.number(),
            DomainState::Active.number(),
            at,
        ],
    )?;
    let id = c.last_insert_rowid();
    if let Some((kek, key)) = &new.data_key {
        super::keks::insert(c, id, KekNumber::FIRST, *kek, new.at)?;
        super::keys::insert_data_key(c, id, 1, key, new.at)?;
    }
    let sql =
        "INSERT INTO index_key (domain, number, state, object, made_at, updated_at) VALUES (?1, 1, 2, ?2, ?3, ?3)";
    run(c, sql, params![id, new.index_key, at]).map(|_| ())
}

pub fn set_state(c: &Connection, domain: &TokenDomain, state: DomainState, at: UnixMillis) -> Result<(), StoreError> {
    match state {
        DomainState::Deleted => delete(c, domain, at),
        DomainState::Active | DomainState::Suspended => {
            let id = alive(c, domain)?.id;
            let sql = "UPDATE token_domain SET state = ?2, updated_at = ?3 WHERE id = ?1";
            run(c, sql, params![id, state.number(), at.0.cast_signed()]).map(|_| ())
        }
    }
}

pub fn delete(c: &Connection, domain: &TokenDomain, at: UnixMillis) -> Result<(), StoreError> {
    let Some(found) = find(c, domain)? else { return Err(VaultConflict::NoDomain.into()) };
    if found.state == DomainState::Deleted {
        return Ok(());
    }
    super::keks::doom_all(c, found.id, at)?;
    for sql in [
        "UPDATE token_domain SET state = 3, updated_at = ?2 WHERE id = ?1",
        "UPDATE data_key SET state = 4, kek = NULL, kek_version = NULL, wrapped = NULL, updated_at = ?2 WHERE domain = ?1",
        "UPDATE index_key SET state = 4, updated_at = ?2 WHERE domain = ?1",
        "UPDATE domain_kek SET state = 4, updated_at = ?2 WHERE domain = ?1",
    ] {
        run(c, sql, params![found.id, at.0.cast_signed()])?;
    }
    Ok(())
}

/// Tokens first, so that what is left can be asked for; the rest goes with the last of them.
pub fn purge(c: &Connection, domain: &TokenDomain, tokens_max: u32) -> Result<(), StoreError> {
    let id = match find(c, domain)? {
        None => return Err(VaultConflict::NoDomain.into()),
        Some(found) if found.state != DomainState::Deleted => return Err(VaultConflict::NotDeleted.into()),
        Some(found) => found.id,
    };
    for sql in [
        "DELETE FROM fingerprint WHERE domain = ?1 AND token IN
         (SELECT token FROM token WHERE domain = ?1 ORDER BY token LIMIT ?2)",
        "DELETE FROM token WHERE domain = ?1 AND token IN
         (SELECT token FROM token WHERE domain = ?1 ORDER BY token LIMIT ?2)",
    ] {
        run(c, sql, params![id, tokens_max])?;
    }
    let left = first(c, "SELECT 1 FROM token WHERE domain = ?1 LIMIT 1", [id], |row| column::<i64>(row, 0))?;
    if left.is_some() {
        return Ok(());
    }
    for table in ["token_subject", "token_bucket", "rotation", "token_import"] {
        run(c, &format!("DELETE FROM {table} WHERE domain = ?1"), [id])?;
    }
    Ok(())
}
