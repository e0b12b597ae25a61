//! Opening the file: engine version, mode, lock, settings, schema.

use crate::Options;
use crate::migrate::migrate;
use crate::sql::engine;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tally_domain::ports::store::StoreError;

/// First SQLite without the WAL-reset bug, which could lose committed data when two connections write and checkpoint.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How long a connection waits for the other. They meet only in recovery and checkpoints, which take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept compiled by each connection: more than the crate has, so that none is compiled twice.
const STATEMENTS_KEPT: usize = 64;

/// Sealed shares and who asked for what are nobody else's business.
const FILE_MODE: u32 = 0o600;

/// What an open store holds.
pub struct Opened {
    pub writer: Connection,
    pub reader: Connection,
    pub lock: File,
}

/// Opens or makes the file at `path`.
pub fn open(path: &Path, options: &Options) -> Result<Opened, StoreError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        let what = format!("SQLite {} can lose committed data; 3.51.3 or newer is needed", rusqlite::version());
        return Err(StoreError::Unavailable { what });
    }
    let in_file = |e: StoreError| named(path, e);
    let path = create(path).map_err(|e| io(path, &e))?;
    let lock = lock(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE)).map_err(|e| io(&path, &e))?;
    let mut writer = connect(&path).map_err(in_file)?;
    settle_writer(&writer).map_err(in_file)?;
    migrate(&mut writer).map_err(in_file)?;
    if let Some(pages) = options.max_pages {
        writer.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(engine)?;
    }
    let reader = connect(&path).map_err(in_file)?;
    reader.pragma_update(None, "query_only", true).map_err(engine)?;
    Ok(Opened { writer, reader, lock })
}

/// Makes the file if there is none, private from its first moment; gives its one true path.
///
/// An existing file is not opened here: closing a second descriptor would drop SQLite's own locks in this process.
fn create(path: &Path) -> std::io::Result<PathBuf> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(file) => {
            file.sync_all()?;
            let path = path.canonicalize()?;
            if let Some(directory) = path.parent() {
                File::open(directory)?.sync_all()?;
            }
            Ok(path)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => path.canonicalize(),
        Err(e) => Err(e),
    }
}

/// Takes the lock that one open store holds: a file beside the database, never removed, so that there is only one.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&name)
        .map_err(|e| io(path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable {
            what: format!("`{}` is open in another node; each node needs a file of its own", path.display()),
        }),
        Err(TryLockError::Error(e)) => Err(io(path, &e)),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let c = Connection::open_with_flags(path, flags).map_err(engine)?;
    c.busy_timeout(BUSY_TIMEOUT).map_err(engine)?;
    c.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    c.pragma_update(None, "foreign_keys", true).map_err(engine)?;
    // Else a statement is prepared anew, for each value that is bound to a LIMIT or a range: there are no statistics here
    // that could make it another plan.
    c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(engine)?;
    Ok(c)
}

/// WAL with an fsync at each commit, and a look whether SQLite took it: a pragma it does not like is silently ignored.
fn settle_writer(c: &Connection) -> Result<(), StoreError> {
    let mode: String = c.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(engine)?;
    c.pragma_update(None, "synchronous", "FULL").map_err(engine)?;
    // What is deleted is overwritten: card numbers are, under keys that outlive them.
    let overwrites: i64 = c.pragma_update_and_check(None, "secure_delete", true, |row| row.get(0)).map_err(engine)?;
    let synchronous: i64 = c.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(engine)?;
    if mode == "wal" && synchronous == 2 && overwrites == 1 {
        Ok(())
    } else {
        Err(StoreError::Unavailable {
            what: format!("no durable mode here (journal {mode}, sync {synchronous}, overwriting {overwrites})"),
        })
    }
}

fn io(path: &Path, e: &std::io::Error) -> StoreError {
    StoreError::Unavailable { what: format!("`{}`: {e}", path.display()) }
}

fn named(path: &Path, e: StoreError) -> StoreError {
    let with_path = |what: String| format!("`{}`: {what}", path.display());
    match e {
        StoreError::Unavailable { what } => StoreError::Unavailable { what: with_path(what) },
        StoreError::Damaged { what } => StoreError::Damaged { what: with_path(what) },
        other => other,
    }
}
