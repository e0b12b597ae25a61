//! A node's state in memory, with cells that change behind the store's back: what somebody with the file could do.

use crate::apply::apply;
use crate::migrate::migrate;
use crate::sql::{all, column, engine, first, run};
use crate::vault::{keks, read as vault};
use crate::{approvals, bundle, claims, freeze, kek, lines, read};
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use std::fmt::Write as _;
use tally_domain::ports::store::tokens::Rotated;
use tally_domain::ports::store::{Step, StoreError};
use tally_domain::token::{Fingerprint, IndexKeyNumber, TokenDomain};
use tally_domain::{Digest, LineId, NodeName, RequestId, Subject, Tenant};

/// Rows are read by name: these are the ones that are asked for.
pub struct Names {
    /// Whose requests.
    pub tenant: Tenant,
    /// Which requests.
    pub requests: Vec<RequestId>,
    /// Which lines of limits.
    pub lines: Vec<LineId>,
    /// Which peer.
    pub peer: NodeName,
    /// Which bundle.
    pub bundle: Digest,
    /// Which token domain.
    pub domain: TokenDomain,
    /// Whose tokens.
    pub subject: Subject,
    /// Which card's.
    pub card: (IndexKeyNumber, Fingerprint),
    /// Which import.
    pub import: RequestId,
}

/// What a cell becomes.
#[derive(Debug, Clone)]
pub enum Cell {
    /// What it was.
    Same,
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Text, which need not be UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// What the same column of another row has.
    Of(u8),
}

/// A change of one cell. Table, column and row are counted; what is beyond the last begins anew.
#[derive(Debug, Clone)]
pub struct Change {
    /// Of which table.
    pub table: u8,
    /// Which column.
    pub column: u8,
    /// Which row.
    pub row: u8,
    /// What it becomes.
    pub to: Cell,
}

/// What the store made of changed cells.
#[derive(Debug)]
pub struct Seen {
    /// The cells that are not what they were: `table.column`.
    pub changed: Vec<String>,
    /// All that is read.
    pub read: Result<String, StoreError>,
    /// What became of the step that followed.
    pub followed: Result<(), StoreError>,
}

struct Table {
    name: String,
    columns: Vec<String>,
    key: String,
}

/// The state.
pub struct Rows {
    connection: Connection,
    tables: Vec<Table>,
}

impl Rows {
    /// State after these steps. From here on no rule of the schema holds but its types.
    ///
    /// # Errors
    /// The step that does not fit.
    pub fn after(steps: &[Step]) -> Result<Self, StoreError> {
        let mut connection = Connection::open_in_memory().map_err(engine)?;
        connection.set_prepared_statement_cache_capacity(1_000);
        migrate(&mut connection)?;
        for step in steps {
            apply(&connection, step)?;
        }
        let names = |kind: &str| {
            let sql = "SELECT name FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite_%' ORDER BY name";
            all(&connection, sql, [kind], |row| column::<String>(row, 0))
        };
        for trigger in names("trigger")? {
            run(&connection, &format!("DROP TRIGGER {trigger}"), [])?;
        }
        let tables = names("table")?.into_iter().map(|name| Table::of(&connection, name)).collect::<Result<_, _>>()?;
        connection.pragma_update(None, "foreign_keys", false).map_err(engine)?;
        connection.pragma_update(None, "ignore_check_constraints", true).map_err(engine)?;
        Ok(Self { connection, tables })
    }

    /// How many tables there are, and columns of each.
    pub fn shape(&self) -> Vec<usize> {
        self.tables.iter().map(|table| table.columns.len()).collect()
    }

    /// Changes cells, reads everything, takes a step, and undoes it all. Nothing where the engine takes no such value.
    ///
    /// # Errors
    /// The engine's, which are nobody's fault here.
    pub fn seen(&mut self, changes: &[Change], names: &Names, next: &Step) -> Result<Option<Seen>, StoreError> {
        let tx = self.connection.transaction().map_err(engine)?;
        let mut changed = Vec::new();
        for change in changes {
            let Some(table) = self.tables.get(usize::from(change.table) % self.tables.len().max(1)) else { continue };
            match table.change(&tx, change) {
                Ok(Some(cell)) => changed.push(cell),
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
        }
        let read = everything(&tx, names);
        let followed = apply(&tx, next).map(drop);
        tx.rollback().map_err(engine)?;
        Ok(Some(Seen { changed, read, followed }))
    }
}

impl Table {
    fn of(c: &Connection, name: String) -> Result<Self, StoreError> {
        let sql = "SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid";
        let columns = all(c, sql, [&name], |row| Ok((column::<String>(row, 0)?, column::<i64>(row, 1)?)))?;
        let key: Vec<_> = columns.iter().filter(|(_, pk)| *pk > 0).map(|(name, _)| name.as_str()).collect();
        let key = key.join(", ");
        Ok(Self { name, columns: columns.into_iter().map(|(name, _)| name).collect(), key })
    }

    /// Gives the cell's name when it is not what it was.
    fn change(&self, c: &Connection, change: &Change) -> Result<Option<String>, StoreError> {
        let Self { name, key, columns } = self;
        let rows = first(c, &format!("SELECT COUNT(*) FROM {name}"), [], |row| column::<i64>(row, 0))?.unwrap_or(0);
        let Some(cell) = columns.get(usize::from(change.column) % columns.len().max(1)) else { return Ok(None) };
        let Some(row) = i64::from(change.row).checked_rem(rows) else { return Ok(None) };
        let at = |row| {
            let sql = format!("SELECT quote({cell}) FROM {name} ORDER BY {key} LIMIT 1 OFFSET ?1");
            first(c, &sql, [row], |row| column::<String>(row, 0))
        };
        let value = |row: i64| {
            let sql = format!("SELECT {cell} FROM {name} ORDER BY {key} LIMIT 1 OFFSET ?1");
            first(c, &sql, [row], |row| column::<Value>(row, 0)).map(|value| value.unwrap_or(Value::Null))
        };
        let (to, text) = match &change.to {
            Cell::Same => return Ok(None),
            Cell::Null => (Value::Null, false),
            Cell::Number(number) => (Value::Integer(*number), false),
            Cell::Text(bytes) => (Value::Blob(bytes.clone()), true),
            Cell::Bytes(bytes) => (Value::Blob(bytes.clone()), false),
            Cell::Of(other) => (value(i64::from(*other) % rows)?, false),
        };
        let to_be = if text { "CAST(?1 AS TEXT)" } else { "?1" };
        let shown = first(c, &format!("SELECT quote({to_be})"), params![to], |row| column::<String>(row, 0))?;
        let before = at(row)?;
        let which = format!("({key}) = (SELECT {key} FROM {name} ORDER BY {key} LIMIT 1 OFFSET ?2)");
        run(c, &format!("UPDATE {name} SET {cell} = {to_be} WHERE {which}"), params![to, row])?;
        // A number in a column of text is text.
        let plain = |quoted: Option<String>| quoted.unwrap_or_default().trim_matches('\'').to_owned();
        Ok((plain(before) != plain(shown)).then(|| format!("{name}.{cell}")))
    }
}

/// All that a node reads of its state.
fn everything(c: &Connection, names: &Names) -> Result<String, StoreError> {
    let mut all = String::new();
    macro_rules! add {
        ($($read:expr),+ $(,)?) => { $( let _ = writeln!(all, "{:?}", $read?); )+ };
    }
    let Names { tenant, domain, .. } = names;
    add!(read::requests(c, tenant, None, 100), approvals::all_waiting(c), approvals::ended(c, tenant));
    for request in &names.requests {
        add!(read::request(c, tenant, request), read::attempts(c, tenant, request));
        add!(approvals::waiting(c, tenant, request), approvals::approvals(c, tenant, request));
        add!(approvals::cancellation(c, tenant, request), approvals::rejected_by(c, tenant, request));
    }
    for line in &names.lines {
        add!(claims::line(c, line));
    }
    add!(lines::named(c, 100), read::keys(c), read::hsm_keys(c), kek::versions(c, None), read::bans(c));
    add!(read::pending_checks(c), read::incarnation(c, None), read::incarnation(c, Some(&names.peer)));
    add!(read::peer_head(c, &names.peer), read::log_size(c), read::leaves(c, 0, 100), read::checkpoint(c));
    add!(freeze::freezes(c), freeze::unfreezes(c), bundle::active(c), bundle::bundles(c), bundle::vetoes(c));
    add!(bundle::envelope(c, &names.bundle));
    add!(vault::domain(c, domain), vault::domains(c), vault::data_keys(c, domain), vault::index_keys(c, domain));
    add!(keks::all_of(c, domain), keks::doomed(c), vault::has_rows(c, domain));
    for token in vault::tokens(c, domain, None, 100)? {
        add!(vault::token(c, domain, &token.token));
    }
    add!(vault::tokens(c, domain, None, 100), vault::tokens_of_subject(c, domain, &names.subject, None, 100));
    add!(vault::tokens_of_card(c, domain, names.card, None, 100), vault::import(c, domain, &names.import));
    add!(vault::rotation(c, domain, Rotated::DataKey), vault::rotation(c, domain, Rotated::IndexKey));
    Ok(all)
}
