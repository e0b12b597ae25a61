//! The schema, as numbered files, and their runner. The number of the last one applied is SQLite's `user_version`.

use crate::sql::engine;
use rusqlite::{Connection, TransactionBehavior};
use tally_domain::ports::store::StoreError;

/// In order; a file that was released is never changed, only followed by another.
const MIGRATIONS: [&str; 13] = [
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_hsm_keys.sql"),
    include_str!("../migrations/0003_keks.sql"),
    include_str!("../migrations/0004_tokens.sql"),
    include_str!("../migrations/0005_freezes.sql"),
    include_str!("../migrations/0006_claims.sql"),
    include_str!("../migrations/0007_approvals.sql"),
    include_str!("../migrations/0008_bundles.sql"),
    include_str!("../migrations/0009_line_names.sql"),
    include_str!("../migrations/0010_domain_keys.sql"),
    include_str!("../migrations/0011_claim_sizes.sql"),
    include_str!("../migrations/0012_cancellations.sql"),
    include_str!("../migrations/0013_rows_in_order.sql"),
];

/// Marks the file as ours in SQLite's header ("tlly"), so that another program's database is not taken over.
const APPLICATION_ID: i32 = 0x746c_6c79;

/// Brings the schema up to what this program knows, one transaction a migration.
pub fn migrate(c: &mut Connection) -> Result<(), StoreError> {
    let version = usize::try_from(number(c, "SELECT user_version FROM pragma_user_version")?).unwrap_or(usize::MAX);
    let known = MIGRATIONS.len();
    if version > known {
        let what = format!("the file has schema {version} and this program knows up to {known}; run a newer program");
        return Err(StoreError::Unavailable { what });
    }
    let tables = number(c, "SELECT COUNT(*) FROM sqlite_schema")?;
    let application = number(c, "SELECT application_id FROM pragma_application_id")?;
    let ours = if tables == 0 && version == 0 { 0 } else { i64::from(APPLICATION_ID) };
    if application != ours {
        return Err(StoreError::Unavailable { what: "the file is another program's database".into() });
    }
    for (number, script) in (1_i64..).zip(MIGRATIONS).skip(version) {
        let tx = c.transaction_with_behavior(TransactionBehavior::Immediate).map_err(engine)?;
        tx.execute_batch(script).map_err(engine)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(engine)?;
        tx.pragma_update(None, "user_version", number).map_err(engine)?;
        tx.commit().map_err(engine)?;
    }
    Ok(())
}

fn number(c: &Connection, sql: &str) -> Result<i64, StoreError> {
    c.query_row(sql, [], |row| row.get(0)).map_err(engine)
}
