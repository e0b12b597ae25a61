//! Running statements, and what an engine error means to the caller.

use rusqlite::{Connection, Error, ErrorCode, Params, Row};
use tally_domain::ports::store::StoreError;

/// Runs a statement that gives no rows; the number of rows it changed.
pub fn run(c: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    c.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(engine)
}

/// All rows of a query.
pub fn all<T>(
    c: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = c.prepare_cached(sql).map_err(engine)?;
    let mut rows = statement.query(params).map_err(engine)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(engine)? {
        out.push(decode(row)?);
    }
    Ok(out)
}

/// The first row of a query, if there is one.
pub fn first<T>(
    c: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = c.prepare_cached(sql).map_err(engine)?;
    let mut rows = statement.query(params).map_err(engine)?;
    rows.next().map_err(engine)?.map(decode).transpose()
}

/// A column of a row.
pub fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, index: usize) -> Result<T, StoreError> {
    row.get(index).map_err(engine)
}

/// Writes the write-ahead log into the database and cuts it to nothing.
pub fn empty_log(c: &Connection) -> Result<(), StoreError> {
    let busy: i64 = c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(engine)?;
    if busy == 0 {
        Ok(())
    } else {
        Err(StoreError::Unavailable { what: "the write-ahead log is in use; ask again".into() })
    }
}

/// What an engine error means: no room, a damaged file, or a disk or engine that does not work.
pub fn engine(e: Error) -> StoreError {
    match &e {
        Error::SqliteFailure(f, _) if f.code == ErrorCode::DiskFull => {
            StoreError::Unavailable { what: format!("full: {e}; make room on the disk or raise the quota") }
        }
        Error::SqliteFailure(f, _) if matches!(f.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { what: e.to_string() }
        }
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..) => StoreError::Damaged { what: e.to_string() },
        _ => StoreError::Unavailable { what: e.to_string() },
    }
}

/// A stored value that this program could not have written.
pub fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: what.into() }
}
