//! Durable state of one node in one SQLite file, behind [`tally_domain::ports::store::Store`].
//!
//! Does: applies a step all or not at all, with the conditions of its writes; groups the steps of many callers into one
//! transaction and one fsync; keeps the log append-only and dense; refuses a file that another node has open, that a
//! newer program made, or that is not ours.
//! Does not: seal or check what it is given (callers seal shares and verify signatures), know the time, or need an
//! asynchronous runtime: one thread of its own writes, readers read on theirs.
//!
//! A disk that is full refuses the steps that do not fit, and the store goes on. A failed fsync stops all writing until
//! the file is opened again: the kernel may have dropped the pages, so a later fsync that succeeds would prove nothing.

mod apply;
mod approvals;
mod bundle;
mod claims;
mod freeze;
mod kek;
mod lines;
mod migrate;
mod open;
mod read;
mod sql;
#[cfg(feature = "testing")]
pub mod testing;
mod vault;
mod writer;

use open::Opened;
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally_domain::activation::BundleName;
use tally_domain::claim::LineMemory;
use tally_domain::ports::Pending;
use tally_domain::ports::store::{
    ApprovalRow, Approvals, AttemptRow, BanRow, BundleRow, Bundles, CancellationRow, CheckpointRow, Committed,
    FreezeRow, Freezes, HsmKeyRow, KekVersionRow, KeyRow, NamedLine, PeerHead, PendingCheck, RequestRow, Step, Store,
    StoreError, UnfreezeRow, VetoRow, WaitingRow,
};
use tally_domain::{Digest, Incarnation, KeyName, LineId, NodeName, RequestId, Tenant};
use writer::Writer;

/// How a store is opened, besides where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Quota of the database file in pages of 4 KiB; none means the disk is the limit.
    pub max_pages: Option<u32>,
}

/// The state of one node in one SQLite file. Dropping it writes what is queued and closes the file.
///
/// Fields drop in order: the writer's connection closes first, and the lock is let go last.
pub struct SqliteStore {
    writer: Writer,
    reader: Mutex<Connection>,
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be made, is open elsewhere, or is of a newer schema or another program;
    /// [`StoreError::Damaged`] when it is not a whole database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &Options::default())
    }

    /// Opens the file, or makes it, with options.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let Opened { writer, reader, lock } = open::open(path, options)?;
        Ok(Self { writer: Writer::start(writer)?, reader: Mutex::new(reader), _lock: lock })
    }

    /// The connection for reads. Nothing is left half-done on it by a reader that panicked, so poison is ignored.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteStore {
    fn commit(&self, step: Step) -> Pending<Result<Committed, StoreError>> {
        self.writer.commit(step)
    }

    fn request(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<RequestRow>, StoreError> {
        read::request(&self.reader(), tenant, request)
    }

    fn requests(&self, tenant: &Tenant, before: Option<u64>, limit: u32) -> Result<Vec<RequestRow>, StoreError> {
        read::requests(&self.reader(), tenant, before, limit)
    }

    fn attempts(&self, tenant: &Tenant, request: &RequestId) -> Result<Vec<AttemptRow>, StoreError> {
        read::attempts(&self.reader(), tenant, request)
    }

    fn line(&self, line: &LineId) -> Result<LineMemory, StoreError> {
        claims::line(&self.reader(), line)
    }

    fn named_lines(&self, limit: u32) -> Result<Vec<NamedLine>, StoreError> {
        lines::named(&self.reader(), limit)
    }

    fn key(&self, name: &KeyName) -> Result<Option<KeyRow>, StoreError> {
        read::key(&self.reader(), name)
    }

    fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        read::keys(&self.reader())
    }

    fn hsm_keys(&self) -> Result<Vec<HsmKeyRow>, StoreError> {
        read::hsm_keys(&self.reader())
    }

    fn hsm_key(&self, name: &KeyName) -> Result<Option<HsmKeyRow>, StoreError> {
        read::hsm_key(&self.reader(), name)
    }

    fn kek_versions(&self, kek: Option<&KeyName>) -> Result<Vec<KekVersionRow>, StoreError> {
        kek::versions(&self.reader(), kek)
    }

    fn bans(&self) -> Result<Vec<BanRow>, StoreError> {
        read::bans(&self.reader())
    }

    fn pending_checks(&self) -> Result<Vec<PendingCheck>, StoreError> {
        read::pending_checks(&self.reader())
    }

    fn incarnation(&self) -> Result<Incarnation, StoreError> {
        Ok(read::incarnation(&self.reader(), None)?.unwrap_or(Incarnation(0)))
    }

    fn peer_incarnation(&self, node: &NodeName) -> Result<Option<Incarnation>, StoreError> {
        read::incarnation(&self.reader(), Some(node))
    }

    fn peer_head(&self, node: &NodeName) -> Result<Option<PeerHead>, StoreError> {
        read::peer_head(&self.reader(), node)
    }

    fn log_size(&self) -> Result<u64, StoreError> {
        read::log_size(&self.reader())
    }

    fn leaves(&self, from: u64, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        read::leaves(&self.reader(), from, limit)
    }

    fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        read::checkpoint(&self.reader())
    }
}

impl Approvals for SqliteStore {
    fn waiting(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<WaitingRow>, StoreError> {
        approvals::waiting(&self.reader(), tenant, request)
    }

    fn all_waiting(&self) -> Result<Vec<WaitingRow>, StoreError> {
        approvals::all_waiting(&self.reader())
    }

    fn ended_waiting(&self, tenant: &Tenant) -> Result<Vec<WaitingRow>, StoreError> {
        approvals::ended(&self.reader(), tenant)
    }

    fn approvals(&self, tenant: &Tenant, request: &RequestId) -> Result<Vec<ApprovalRow>, StoreError> {
        approvals::approvals(&self.reader(), tenant, request)
    }

    fn cancellation(&self, tenant: &Tenant, request: &RequestId) -> Result<Option<CancellationRow>, StoreError> {
        approvals::cancellation(&self.reader(), tenant, request)
    }
}

impl Freezes for SqliteStore {
    fn freezes(&self) -> Result<Vec<FreezeRow>, StoreError> {
        freeze::freezes(&self.reader())
    }

    fn unfreezes(&self) -> Result<Vec<UnfreezeRow>, StoreError> {
        freeze::unfreezes(&self.reader())
    }
}

impl Bundles for SqliteStore {
    fn active_bundle(&self) -> Result<Option<BundleName>, StoreError> {
        bundle::active(&self.reader())
    }

    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        bundle::bundles(&self.reader())
    }

    fn bundle(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        bundle::envelope(&self.reader(), digest)
    }

    fn vetoes(&self) -> Result<Vec<VetoRow>, StoreError> {
        bundle::vetoes(&self.reader())
    }
}
