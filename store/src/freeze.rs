//! Freezes: their writes and their rows.

use crate::read::name;
use crate::sql::{all, column, first, run};
use rusqlite::{Connection, Row, params};
use tally_domain::ports::store::{Conflict, FreezeRow, FreezeState, FreezeWrite, StoreError, UnfreezeRow};
use tally_domain::{Digest, FreezeId, FreezeName, KeyName, Scope};

/// What each write does and when it is refused.
pub fn apply(c: &Connection, write: &FreezeWrite) -> Result<(), StoreError> {
    match write {
        FreezeWrite::Put { name, scope, statement, at } => {
            let sql = "INSERT INTO freeze (node, id, key, statement, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            let key = scope.key().map(KeyName::as_str);
            run(c, sql, params![name.by.as_str(), name.id.0, key, statement, at.0.cast_signed()]).map(|_| ())
        }
        FreezeWrite::Lift { intent, lifts, certificate, at } => {
            let at = at.0.cast_signed();
            for name in lifts {
                let sql = "INSERT INTO freeze (node, id, lifted_by, updated_at) VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT DO UPDATE SET key = NULL, statement = NULL, lifted_by = excluded.lifted_by,
                                                     updated_at = excluded.updated_at
                           WHERE lifted_by IS NULL";
                run(c, sql, params![name.by.as_str(), name.id.0, intent.0, at])?;
            }
            let sql = "INSERT INTO unfreeze (intent, certificate, updated_at) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO NOTHING";
            run(c, sql, params![intent.0, certificate, at]).map(|_| ())
        }
        FreezeWrite::Unfrozen { key } => unfrozen(c, key),
    }
}

/// Refuses if a freeze in force covers the key.
fn unfrozen(c: &Connection, key: &KeyName) -> Result<(), StoreError> {
    let sql = "SELECT node, id, key FROM freeze WHERE lifted_by IS NULL AND (key IS NULL OR key = ?1) LIMIT 1";
    match first(c, sql, [key.as_str()], |row| Ok((freeze_name(row)?, scope(row, 2)?)))? {
        Some((name, scope)) => Err(Conflict::Frozen(name, scope).into()),
        None => Ok(()),
    }
}

/// All freezes, by who made them and their ids.
pub fn freezes(c: &Connection) -> Result<Vec<FreezeRow>, StoreError> {
    all(c, "SELECT node, id, key, statement FROM freeze ORDER BY node, id", [], |row| {
        let state = match column(row, 3)? {
            Some(statement) => FreezeState::InForce { scope: scope(row, 2)?, statement },
            None => FreezeState::Lifted,
        };
        Ok(FreezeRow { name: freeze_name(row)?, state })
    })
}

/// All certificates that lifted freezes.
pub fn unfreezes(c: &Connection) -> Result<Vec<UnfreezeRow>, StoreError> {
    all(c, "SELECT intent, certificate FROM unfreeze ORDER BY intent", [], |row| {
        Ok(UnfreezeRow { intent: Digest(column(row, 0)?), certificate: column(row, 1)? })
    })
}

fn freeze_name(row: &Row<'_>) -> Result<FreezeName, StoreError> {
    Ok(FreezeName { by: name(row, 0)?, id: FreezeId(column(row, 1)?) })
}

fn scope(row: &Row<'_>, index: usize) -> Result<Scope, StoreError> {
    let frozen = column::<Option<String>>(row, index)?;
    frozen.map_or(Ok(Scope::All), |_| name(row, index).map(Scope::Key))
}
