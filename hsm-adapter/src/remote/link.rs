//! The connection to one process: calls under way, their deadlines, and the frames that wait to be sent. No caller ever
//! waits for the socket: a process that does not read takes nobody's time.

mod outgoing;

use super::too_long;
use crate::fault::Fault;
use crate::wire::{self, Carried, Malformed};
use futures_channel::oneshot;
use outgoing::Outgoing;
use serde::Serialize;
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::HsmError;

/// Calls under way. The process has a queue for each priority and refuses what does not fit; more than all of them together
/// means that it does not even refuse.
const CALLS_MAX: usize = 4 * crate::pool::QUEUE_MAX;

/// The connection to one process.
pub struct Link {
    calls: Mutex<Calls>,
    changed: Condvar,
    outgoing: Arc<Outgoing>,
    next: AtomicU64,
    /// Whether any answer said that the PIN was refused.
    refused: AtomicBool,
    answered: AtomicBool,
}

#[derive(Default)]
struct Calls {
    open: HashMap<u64, Call>,
    /// Nothing is taken any more.
    ended: bool,
}

struct Call {
    operation: &'static str,
    due: Instant,
    answer: Answer,
}

/// What gives the caller its answer, unless it does not read.
type Answer = Box<dyn FnOnce(Reply<'_>) -> Result<(), Malformed> + Send>;

/// What a caller is given.
enum Reply<'a> {
    Body(&'a [u8]),
    Error(HsmError),
}

impl Link {
    /// Starts the threads that read and write. They end with the socket.
    pub fn over(socket: UnixStream) -> Result<Arc<Self>, HsmError> {
        let reading = socket.try_clone().map_err(|e| broken("starting a process", e.to_string()))?;
        let outgoing = Arc::new(Outgoing::new(socket));
        let flushing = Arc::clone(&outgoing);
        crate::pool::spawn("tally-hsmd-out", move || flushing.flush())?;
        let link = Arc::new(Self {
            calls: Mutex::default(),
            changed: Condvar::new(),
            outgoing,
            next: AtomicU64::new(1),
            refused: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        });
        let reader = Arc::clone(&link);
        crate::pool::spawn("tally-hsmd-in", move || reader.read(reading))?;
        Ok(link)
    }

    /// Asks at once. The future gives the answer, or an error in time.
    pub fn call<T: Carried>(
        self: &Arc<Self>,
        operation: &'static str,
        time: Duration,
        ask: &impl Serialize,
    ) -> Pending<Result<T, HsmError>> {
        let (sender, later) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let link = Arc::downgrade(self);
        let answer: Answer = Box::new(move |reply| {
            let outcome: Result<T, HsmError> = match reply {
                Reply::Body(body) => {
                    let outcome = wire::outcome(body)?;
                    if let Some(link) = link.upgrade() {
                        link.answered.store(true, Ordering::SeqCst);
                    }
                    outcome
                }
                Reply::Error(error) => Err(error),
            };
            if let (Err(HsmError::PinRefused), Some(link)) = (&outcome, link.upgrade()) {
                link.refused.store(true, Ordering::SeqCst);
            }
            // Nobody may be waiting any more; then nobody needs the answer.
            drop(sender.send(outcome));
            Ok(())
        });
        let call = Call { operation, due: Instant::now() + time, answer };
        if let Err((call, why)) = self.begin(id, call, ask) {
            let _answered = (call.answer)(Reply::Error(why));
        }
        let lost = move |_| Err(broken(operation, "nobody is left to answer".into()));
        Box::pin(async move { later.await.unwrap_or_else(lost) })
    }

    fn begin(&self, id: u64, call: Call, ask: &impl Serialize) -> Result<(), (Call, HsmError)> {
        let Some(frame) = wire::frame(id, ask) else { return Err((call, too_long())) };
        {
            let mut calls = self.calls();
            if calls.ended {
                return Err((call, HsmError::Down { why: "its process is being replaced".into() }));
            }
            if calls.open.len() >= CALLS_MAX {
                return Err((call, HsmError::Busy));
            }
            calls.open.insert(id, call);
        }
        if self.outgoing.send(id, frame) {
            return Ok(());
        }
        // Nobody else takes it away but an end, which then has answered.
        self.calls().open.remove(&id).map_or(Ok(()), |call| Err((call, HsmError::Busy)))
    }

    /// Answers for what is due. What had not begun to be sent never is.
    pub fn expire(&self, now: Instant) {
        let due: Vec<_> = self.calls().open.extract_if(|_, call| now >= call.due).collect();
        for (id, call) in due {
            let started = !self.outgoing.cancel(id);
            let _answered = (call.answer)(Reply::Error(HsmError::Deadline { operation: call.operation, started }));
        }
    }

    /// Waits until the connection ends, or for so long. Whether it has ended.
    pub fn rest(&self, time: Duration) -> bool {
        let calls = self.calls();
        if calls.ended {
            return true;
        }
        self.changed.wait_timeout(calls, time).unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Ends the connection; calls that are under way stay so until [`Link::fail`].
    pub fn end(&self) {
        self.calls().ended = true;
        self.outgoing.end();
        self.changed.notify_all();
    }

    /// Lets the process know that nothing more will come.
    pub fn say_farewell(&self) {
        self.outgoing.say_farewell();
    }

    /// Answers what is still under way.
    pub fn fail(&self, why: &str) {
        self.end();
        let open = std::mem::take(&mut self.calls().open);
        for call in open.into_values() {
            let _answered = (call.answer)(Reply::Error(broken(call.operation, why.into())));
        }
    }

    /// Whether the token has refused the PIN.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Whether the process has answered anything: what it says of itself is better than how it ended.
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }

    /// The reader's life.
    fn read(&self, mut socket: UnixStream) {
        loop {
            match wire::read(&mut socket) {
                Ok(Some((id, body))) => {
                    // One that is answered late has been answered for already.
                    let call = self.calls().open.remove(&id);
                    if call.is_some_and(|call| (call.answer)(Reply::Body(&body)).is_err()) {
                        tracing::error!("the PKCS#11 module's process does not keep to the protocol");
                        break;
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    tracing::error!(error = %e, "the PKCS#11 module's process cannot be read from");
                    break;
                }
            }
        }
        self.end();
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(operation: &'static str, code: String) -> HsmError {
    Fault::broken(operation, &code).error
}
