//! KEKs of token domains, and keys that the token is to destroy.

use super::word;
use crate::read::number;
use crate::sql::{all, column, damaged, first, run};
use rusqlite::{Connection, params};
use tally_domain::ports::hsm::{IndexKeyId, KekId};
use tally_domain::ports::store::StoreError;
use tally_domain::ports::store::tokens::{DomainKek, DomainKekRow, DoomedKey, KekKind, VaultConflict};
use tally_domain::token::{IndexKeyNumber, TokenDomain, VersionState};
use tally_domain::{KekNumber, UnixMillis};

/// Kinds of keys in `doomed_key`; the first two also in `domain_kek`.
const SEALING: u8 = 1;
const WRAPPING: u8 = 2;
const INDEX: u8 = 3;

pub fn insert(
    c: &Connection,
    domain: i64,
    number: KekNumber,
    kek: DomainKek,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO domain_kek (domain, number, kind, object, state, made_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, 2, ?5, ?5)";
    let row = params![domain, number.0, kind_number(kek.kind), kek.object.0, at.0.cast_signed()];
    run(c, sql, row).map(|_| ())
}

/// Of the kind that the domain's KEKs are: a strict domain stays one.
pub fn add(c: &Connection, domain: i64, kek: DomainKek, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "SELECT number, kind FROM domain_kek WHERE domain = ?1 ORDER BY number DESC";
    let last = first(c, sql, [domain], |row| Ok((KekNumber(column(row, 0)?), column::<u8>(row, 1)?)))?;
    let Some((last, _)) = last.filter(|(_, kind)| *kind == kind_number(kek.kind)) else {
        return Err(VaultConflict::Key.into());
    };
    let sql = "UPDATE domain_kek SET state = 3, updated_at = ?2 WHERE domain = ?1 AND state = 2";
    run(c, sql, params![domain, at.0.cast_signed()])?;
    insert(c, domain, last.next(), kek, at)
}

pub fn retire(c: &Connection, domain: i64, number: KekNumber, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM data_key WHERE domain = ?1 AND kek_version = ?2";
    let under = first(c, sql, params![domain, number.0], |row| column::<i64>(row, 0))?.unwrap_or(0).cast_unsigned();
    if under > 0 {
        return Err(VaultConflict::Needed { tokens: under }.into());
    }
    let sql = "INSERT OR IGNORE INTO doomed_key (object, kind, since)
               SELECT object, kind, ?3 FROM domain_kek WHERE domain = ?1 AND number = ?2 AND state = 3";
    let row = params![domain, number.0, at.0.cast_signed()];
    run(c, sql, row)?;
    let sql = "UPDATE domain_kek SET state = 4, updated_at = ?3 WHERE domain = ?1 AND number = ?2 AND state = 3";
    if run(c, sql, row)? == 1 { Ok(()) } else { Err(VaultConflict::Key.into()) }
}

pub fn doom_index_key(c: &Connection, domain: i64, number: IndexKeyNumber, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO doomed_key (object, kind, since)
               SELECT object, 3, ?3 FROM index_key WHERE domain = ?1 AND number = ?2";
    run(c, sql, params![domain, number.0, at.0.cast_signed()]).map(|_| ())
}

/// Every key of a domain that is not destroyed yet.
pub fn doom_all(c: &Connection, domain: i64, at: UnixMillis) -> Result<(), StoreError> {
    for sql in [
        "INSERT OR IGNORE INTO doomed_key (object, kind, since)
         SELECT object, kind, ?2 FROM domain_kek WHERE domain = ?1 AND state <> 4",
        "INSERT OR IGNORE INTO doomed_key (object, kind, since)
         SELECT object, 3, ?2 FROM index_key WHERE domain = ?1 AND state <> 4",
    ] {
        run(c, sql, params![domain, at.0.cast_signed()])?;
    }
    Ok(())
}

pub fn gone(c: &Connection, key: DoomedKey) -> Result<(), StoreError> {
    let object = match key {
        DoomedKey::Kek(kek) => kek.object.0,
        DoomedKey::Index(id) => id.0,
    };
    run(c, "DELETE FROM doomed_key WHERE object = ?1", [object]).map(|_| ())
}

pub fn doomed(c: &Connection) -> Result<Vec<DoomedKey>, StoreError> {
    all(c, "SELECT kind, object FROM doomed_key ORDER BY since, object", [], |row| {
        let (kind, object): (u8, [u8; 16]) = (column(row, 0)?, column(row, 1)?);
        match kind {
            INDEX => Ok(DoomedKey::Index(IndexKeyId(object))),
            kind => Ok(DoomedKey::Kek(DomainKek { object: KekId(object), kind: kind_of(kind)? })),
        }
    })
}

pub fn all_of(c: &Connection, domain: &TokenDomain) -> Result<Vec<DomainKekRow>, StoreError> {
    let sql = "SELECT k.number, k.kind, k.object, k.state, k.made_at,
                      (SELECT COUNT(*) FROM data_key d WHERE d.domain = k.domain AND d.kek_version = k.number)
               FROM domain_kek k JOIN token_domain t ON t.id = k.domain
               WHERE t.tenant = ?1 AND t.name = ?2 ORDER BY k.number";
    all(c, sql, params![domain.tenant.as_str(), domain.name.as_str()], |row| {
        Ok(DomainKekRow {
            number: KekNumber(column(row, 0)?),
            kek: DomainKek { object: KekId(column(row, 2)?), kind: kind_of(column(row, 1)?)? },
            state: word(row, 3, VersionState::from_number, "domain_kek: state")?,
            data_keys: number(row, 5)?,
            made_at: UnixMillis(number(row, 4)?),
        })
    })
}

fn kind_number(kind: KekKind) -> u8 {
    match kind {
        KekKind::Sealing => SEALING,
        KekKind::Wrapping => WRAPPING,
    }
}

fn kind_of(number: u8) -> Result<KekKind, StoreError> {
    match number {
        SEALING => Ok(KekKind::Sealing),
        WRAPPING => Ok(KekKind::Wrapping),
        _ => Err(damaged(format!("table domain_kek: kind {number}"))),
    }
}
