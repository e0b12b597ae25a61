//! Words of lines.

use crate::sql::{all, column, damaged, run};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use tally_domain::ports::store::{NamedLine, StoreError};
use tally_domain::{Digest, LimitId, LineId};

/// Keeps them; a line's words never change.
pub fn name(c: &Connection, named: &NamedLine) -> Result<(), StoreError> {
    let line = named.line.0.0;
    run(
        c,
        "INSERT INTO line_name (line, limit_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![line, named.limit.as_str()],
    )?;
    for (nth, (field, value)) in (0_i64..).zip(&named.by) {
        let sql = "INSERT INTO line_field (line, nth, field, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        run(c, sql, params![line, nth, field, value])?;
    }
    Ok(())
}

/// Lines of which a claim is remembered, by limit; at most `limit` of them.
pub fn named(c: &Connection, limit: u32) -> Result<Vec<NamedLine>, StoreError> {
    let sql = "SELECT line, limit_id FROM line_name n
               WHERE EXISTS (SELECT 1 FROM claim WHERE claim.line = n.line) ORDER BY limit_id, line LIMIT ?1";
    let mut lines: BTreeMap<LineId, NamedLine> = BTreeMap::new();
    for named in all(c, sql, [limit], |row| {
        let text: String = column(row, 1)?;
        let limit = LimitId::parse(&text).map_err(|e| damaged(e.to_string()))?;
        Ok(NamedLine { line: LineId(Digest(column(row, 0)?)), limit, by: Vec::new() })
    })? {
        lines.insert(named.line, named);
    }
    for named in lines.values_mut() {
        let sql = "SELECT field, value FROM line_field WHERE line = ?1 ORDER BY nth";
        named.by = all(c, sql, [named.line.0.0], |row| Ok((column(row, 0)?, column(row, 1)?)))?;
    }
    Ok(lines.into_values().collect())
}
