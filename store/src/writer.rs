//! The one thread that writes: it takes what is queued, applies it in one transaction with a savepoint a step, and
//! answers when the transaction is on the disk.

use crate::apply::apply;
use crate::sql::engine;
use futures_channel::oneshot;
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tally_domain::ports::Pending;
use tally_domain::ports::store::{Committed, Step, StoreError};

/// Steps that may wait. More means that the disk is far behind, and callers are better told now than late.
const QUEUE_MAX: usize = 1024;

/// Steps in one transaction: enough to share an fsync widely, few enough to bound what one failure takes along.
const GROUP_MAX: usize = 256;

struct Job {
    step: Step,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// The queue to the writing thread. Dropping it lets the thread finish the queue and waits for it.
pub struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread with its connection.
    pub fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("tally-store".into())
            .spawn(move || write(connection, &jobs))
            .map_err(|e| StoreError::Unavailable { what: format!("no thread: {e}") })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a step at once; the future is ready when it is on the disk or refused.
    pub fn commit(&self, step: Step) -> Pending<Result<Committed, StoreError>> {
        let (answer, later) = oneshot::channel();
        let sent = match &self.queue {
            Some(queue) => queue.try_send(Job { step, answer }).map_err(|e| match e {
                TrySendError::Full(_) => "too many steps wait for the disk",
                TrySendError::Disconnected(_) => GONE,
            }),
            None => Err(GONE),
        };
        Box::pin(async move {
            sent.map_err(|what| StoreError::Unavailable { what: what.into() })?;
            later.await.unwrap_or_else(|_| Err(StoreError::Unavailable { what: GONE.into() }))
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writing thread had died");
        }
    }
}

const GONE: &str = "the writing thread has died; restart the node";

fn write(mut connection: Connection, jobs: &Receiver<Job>) {
    let mut stopped: Option<StoreError> = None;
    while let Ok(first) = jobs.recv() {
        let (steps, answers): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(jobs.try_iter().take(GROUP_MAX - 1)).map(|job| (job.step, job.answer)).unzip();
        let outcome = match &stopped {
            Some(e) => Err(Failure { error: e.clone(), fatal: true }),
            None => write_group(&mut connection, &steps),
        };
        let results = outcome.unwrap_or_else(|failure| {
            tracing::error!(error = %failure.error, steps = steps.len(), "a group of steps was not written");
            stopped = failure.fatal.then(|| failure.error.clone());
            steps.iter().map(|_| Err(failure.error.clone())).collect()
        });
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that no longer waits finds the step by reading.
            let _gone = answer.send(result);
        }
    }
}

/// A group that was not written. After a fatal one nothing more is.
struct Failure {
    error: StoreError,
    fatal: bool,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, fatal: false }
    }
}

fn write_group(connection: &mut Connection, steps: &[Step]) -> Result<Vec<Result<Committed, StoreError>>, Failure> {
    let mut tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(engine)?;
    let mut results = Vec::with_capacity(steps.len());
    for step in steps {
        results.push(write_step(&mut tx, step)?);
    }
    tx.commit().map_err(commit_failure)?;
    Ok(results)
}

/// A step that does not fit is undone alone; an engine that fails takes the group with it, because SQLite may by then
/// have rolled back the whole transaction.
fn write_step(tx: &mut Transaction<'_>, step: &Step) -> Result<Result<Committed, StoreError>, StoreError> {
    let savepoint = tx.savepoint().map_err(engine)?;
    match apply(&savepoint, step) {
        Ok(committed) => savepoint.commit().map(|()| Ok(committed)).map_err(engine),
        Err(e @ StoreError::Unavailable { .. }) => Err(e),
        Err(e) => savepoint.finish().map(|()| Err(e)).map_err(engine),
    }
}

fn commit_failure(e: rusqlite::Error) -> Failure {
    let code = e.sqlite_error().map(|f| f.extended_code);
    if matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) {
        let what = format!("fsync failed ({e}); restart the node to learn which of its last steps are on the disk");
        Failure { error: StoreError::Unavailable { what }, fatal: true }
    } else {
        engine(e).into()
    }
}
