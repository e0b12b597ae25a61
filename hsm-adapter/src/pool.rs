//! Worker threads of our own, each with its own desk (a session), behind bounded queues, and a watchdog that answers for
//! those who are late. A module that hangs keeps its thread, never its caller; another thread takes its place, up to a cap.

use crate::gate::DeskId;
use crate::home::Home;
use crate::turn::Turn;
use futures_channel::oneshot;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::HsmError;

/// Operations of one priority that may wait: at tens of microseconds each they wait some milliseconds; more is overload.
pub const QUEUE_MAX: usize = 256;

/// How often the watchdog looks: small against any deadline that makes sense for a token.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// Threads for each worker: its own, and one more that took its place while it hangs. More would pile up behind a token
/// that is gone.
const THREADS_PER_WORKER: usize = 2;

/// Desks of the whole process: a module knows them apart, whoever's they are.
static NEXT_DESK: AtomicU64 = AtomicU64::new(1);

/// What is served first. A lower one waits while there is a higher one, up to its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A signature that others wait for.
    Sign,
    /// Shares, and the keys that seal them.
    Seal,
    /// Data keys of clients.
    Wrap,
    /// Looking after the token, and its KEKs.
    Maintenance,
}

/// Workers with desks of type `D`. Dropping it answers what is queued, then ends the workers; one that hangs is left behind.
pub struct Pool<D: 'static> {
    desks: Arc<Desks<D>>,
    watchdog: Option<JoinHandle<()>>,
    home: Home,
}

/// What the workers, the watchdog and the callers share.
pub struct Desks<D: 'static> {
    state: Mutex<State<D>>,
    changed: Condvar,
    deadline: Duration,
    workers: usize,
    hands: Hands<D>,
}

/// What is to be done at a desk.
type Work<D> = Box<dyn FnOnce(&mut D) + Send>;

/// What the watchdog does besides watching.
type Tick<D> = Box<dyn Fn(&Arc<Desks<D>>) + Send + Sync>;

/// What a pool needs from its owner.
pub struct Hands<D: 'static> {
    /// A new desk.
    pub open: Box<dyn Fn(DeskId) -> D + Send + Sync>,
    /// Called when the worker of a desk has hung. Must not call the pool.
    pub hung: Box<dyn Fn(DeskId) + Send + Sync>,
    /// Called now and then.
    pub tick: Tick<D>,
}

struct State<D> {
    queues: [VecDeque<Job<D>>; Priority::Maintenance as usize + 1],
    busy: HashMap<DeskId, Busy>,
    threads: HashMap<DeskId, JoinHandle<()>>,
    closing: bool,
}

struct Busy {
    answer: Arc<dyn Answer>,
    hung: bool,
}

struct Job<D> {
    answer: Arc<dyn Answer>,
    run: Work<D>,
}

impl<D> Pool<D> {
    /// Starts the workers.
    pub fn start(workers: usize, deadline: Duration, hands: Hands<D>) -> Result<Self, HsmError> {
        let state = State { queues: Default::default(), busy: HashMap::new(), threads: HashMap::new(), closing: false };
        let desks = Arc::new(Desks { state: Mutex::new(state), changed: Condvar::new(), deadline, workers, hands });
        let mut pool = Self { desks: Arc::clone(&desks), watchdog: None, home: Home::here() };
        for _ in 0..workers {
            pool.desks.hire()?;
        }
        let watched = Arc::clone(&desks);
        pool.watchdog = Some(spawn("tally-hsm-watch", move || watched.watch())?);
        Ok(pool)
    }

    /// What it shares with its workers.
    pub fn desks(&self) -> &Arc<Desks<D>> {
        &self.desks
    }
}

impl<D> Desks<D> {
    /// Queues `work` at once, for that turn. The future gives its answer, or [`HsmError::Deadline`] in time: what had been started by
    /// then goes on, and its outcome is unknown; what had not never is.
    pub fn submit<T: Send + 'static>(
        &self,
        priority: Priority,
        turn: Turn,
        work: impl FnOnce(&mut D, &Turn) -> Result<T, HsmError> + Send + 'static,
    ) -> Pending<Result<T, HsmError>> {
        let (sender, later) = oneshot::channel();
        let operation = turn.operation;
        let ticket = Arc::new(Ticket { sender: Mutex::new(Some(sender)), turn });
        let holder = Arc::clone(&ticket);
        let run = Box::new(move |desk: &mut D| holder.give(work(desk, &turn)));
        if let Err(refused) = self.queue(priority, Job { answer: Arc::clone(&ticket) as Arc<dyn Answer>, run }) {
            ticket.give(Err(refused));
        }
        let lost = move |_| Err(HsmError::Device { operation, code: "its worker has died".into() });
        Box::pin(async move { later.await.unwrap_or_else(lost) })
    }

    /// How long an operation usually has.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Workers that there should be.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Workers that can take work.
    pub fn live(&self) -> usize {
        self.state().live()
    }

    /// Workers that do not come back.
    pub fn hung(&self) -> usize {
        self.state().hung()
    }

    /// Operations that wait.
    pub fn queued(&self) -> usize {
        self.state().queues.iter().map(VecDeque::len).sum()
    }

    fn queue(&self, priority: Priority, job: Job<D>) -> Result<(), HsmError> {
        let mut state = self.state();
        if let Some(down) = self.down(&state) {
            return Err(down);
        }
        match state.queues.get_mut(priority as usize) {
            Some(queue) if queue.len() < QUEUE_MAX => queue.push_back(job),
            _ => return Err(HsmError::Busy),
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Why nobody can be served, if so.
    fn down(&self, state: &State<D>) -> Option<HsmError> {
        let hung = state.hung();
        (hung >= self.workers * THREADS_PER_WORKER)
            .then(|| HsmError::Down { why: format!("{hung} calls into the PKCS#11 module do not come back") })
    }

    /// Starts a worker.
    fn hire(self: &Arc<Self>) -> Result<(), HsmError> {
        let id = DeskId(NEXT_DESK.fetch_add(1, Ordering::Relaxed));
        let desks = Arc::clone(self);
        // The lock is held until the thread is known: it removes itself when it ends.
        let mut state = self.state();
        state.threads.insert(id, spawn("tally-hsm", move || desks.work(id))?);
        Ok(())
    }

    /// A worker's life.
    fn work(self: &Arc<Self>, id: DeskId) {
        let _leaving = Leaving { desks: self, id };
        let mut desk = (self.hands.open)(id);
        while let Some(run) = self.next(id) {
            run(&mut desk);
        }
    }

    /// The next job, or nothing when there will be none for this worker.
    fn next(&self, id: DeskId) -> Option<Work<D>> {
        let mut state = self.state();
        state.busy.remove(&id);
        self.changed.notify_all();
        loop {
            // Somebody has taken the place of one who hung. Who leaves is counted out at once, so that only one does.
            if state.live() > self.workers {
                state.threads.remove(&id);
                return None;
            }
            while let Some(job) = state.queues.iter_mut().find_map(VecDeque::pop_front) {
                if Instant::now() >= job.answer.due() {
                    job.answer.late(false);
                    continue;
                }
                state.busy.insert(id, Busy { answer: job.answer, hung: false });
                return Some(job.run);
            }
            if state.closing {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The watchdog's life.
    fn watch(self: &Arc<Self>) {
        loop {
            {
                let state = self.state();
                if state.closing {
                    return;
                }
                let _woken = self.changed.wait_timeout(state, WATCH_EVERY);
            }
            self.expire(Instant::now());
            while self.state().vacancy(self.workers) && self.hire().is_ok() {}
            (self.hands.tick)(self);
        }
    }

    /// Answers for all that is due.
    fn expire(&self, now: Instant) {
        let mut state = self.state();
        for queue in &mut state.queues {
            queue.retain(|job| {
                let waits = now < job.answer.due();
                if !waits {
                    job.answer.late(false);
                }
                waits
            });
        }
        for (id, busy) in state.busy.iter_mut().filter(|(_, b)| !b.hung && now >= b.answer.due()) {
            busy.answer.late(true);
            busy.hung = true;
            tracing::warn!(desk = id.0, "a call into the PKCS#11 module does not come back");
            // Under the lock: a worker that comes back just now must not be taken for hung in its next operation.
            (self.hands.hung)(*id);
        }
        if let Some(down) = self.down(&state) {
            state.queues.iter_mut().flat_map(std::mem::take).for_each(|job| job.answer.refuse(&down));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> State<D> {
    fn hung(&self) -> usize {
        self.busy.values().filter(|b| b.hung).count()
    }

    fn live(&self) -> usize {
        self.threads.len() - self.hung()
    }

    fn vacancy(&self, workers: usize) -> bool {
        !self.closing && self.live() < workers && self.threads.len() < workers * THREADS_PER_WORKER
    }
}

/// A worker's end, a panic included.
struct Leaving<'a, D: 'static> {
    desks: &'a Desks<D>,
    id: DeskId,
}

impl<D> Drop for Leaving<'_, D> {
    fn drop(&mut self) {
        let mut state = self.desks.state();
        state.busy.remove(&self.id);
        state.threads.remove(&self.id);
        drop(state);
        self.desks.changed.notify_all();
    }
}

impl<D> Drop for Pool<D> {
    fn drop(&mut self) {
        // The threads are the parent's.
        if !self.home.is_here() {
            return;
        }
        let until = Instant::now() + self.desks.deadline;
        let mut state = self.desks.state();
        state.closing = true;
        self.desks.changed.notify_all();
        while state.live() > 0 && Instant::now() < until {
            state = self.desks.changed.wait_timeout(state, WATCH_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        if self.watchdog.take().is_some_and(|w| w.join().is_err()) {
            tracing::error!("the watchdog of the HSM had died");
        }
        // What is still owed was given to a worker that hangs, or waits behind one, and is due: a deadline has passed.
        self.desks.expire(until + self.desks.deadline);
        if !self.desks.state().threads.is_empty() {
            tracing::warn!("a worker hangs in the PKCS#11 module and is left behind");
        }
    }
}

/// An answer that is owed; given once, by the worker or by the watchdog.
struct Ticket<T> {
    sender: Mutex<Option<oneshot::Sender<Result<T, HsmError>>>>,
    turn: Turn,
}

impl<T> Ticket<T> {
    fn give(&self, result: Result<T, HsmError>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody may be waiting any more; then nobody needs the answer.
        let _gone = sender.map(|s| s.send(result));
    }
}

trait Answer: Send + Sync {
    fn due(&self) -> Instant;
    fn late(&self, started: bool);
    fn refuse(&self, why: &HsmError);
}

impl<T: Send> Answer for Ticket<T> {
    fn due(&self) -> Instant {
        self.turn.due
    }

    fn late(&self, started: bool) {
        self.give(Err(HsmError::Deadline { operation: self.turn.operation, started }));
    }

    fn refuse(&self, why: &HsmError) {
        self.give(Err(why.clone()));
    }
}

/// A thread with a name.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, HsmError> {
    let failed = |e: std::io::Error| HsmError::Device { operation: "starting a thread", code: e.to_string() };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

#[cfg(test)]
mod tests;
