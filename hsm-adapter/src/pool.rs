//! Worker threads of our own, each with its own desk (a session), behind one bounded queue, and a watchdog that answers
//! for those who are late. A module that hangs keeps its thread, never its caller.

use futures_channel::oneshot;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::HsmError;

/// Operations that may wait: at tens of microseconds each they wait some milliseconds; more is overload.
const QUEUE_MAX: usize = 256;

/// How often the watchdog looks: small against any deadline that makes sense for a token.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// How often a shutdown looks whether the workers have ended.
const DRAIN_EVERY: Duration = Duration::from_millis(1);

/// Workers with desks of type `D`. Dropping it answers what is queued, then ends the workers; one that hangs is left behind.
pub struct Pool<D> {
    queue: Option<SyncSender<Job<D>>>,
    workers: Vec<JoinHandle<()>>,
    watched: Arc<Mutex<Vec<Arc<dyn Expire>>>>,
    watchdog: Option<(SyncSender<()>, JoinHandle<()>)>,
    deadline: Duration,
}

struct Job<D>(Box<dyn FnOnce(&mut D) + Send>);

impl<D: Send + 'static> Pool<D> {
    /// Starts one worker a desk.
    pub fn start(desks: Vec<D>, deadline: Duration) -> Result<Self, HsmError> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let watched: Arc<Mutex<Vec<Arc<dyn Expire>>>> = Arc::default();
        let mut pool = Self { queue: Some(queue), workers: Vec::new(), watched, watchdog: None, deadline };
        for desk in desks {
            let jobs = Arc::clone(&jobs);
            pool.workers.push(spawn("tally-hsm", move || work(desk, &jobs))?);
        }
        let (stop, stopped) = sync_channel(0);
        let watched = Arc::clone(&pool.watched);
        pool.watchdog = Some((stop, spawn("tally-hsm-watch", move || watch(&watched, &stopped))?));
        Ok(pool)
    }

    /// Workers that are alive.
    pub fn alive(&self) -> usize {
        self.workers.iter().filter(|w| !w.is_finished()).count()
    }

    /// Queues `work` at once. The future gives its answer, or [`HsmError::Deadline`] in time: what had been started by
    /// then goes on, and its outcome is unknown.
    pub fn submit<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut D) -> Result<T, HsmError> + Send + 'static,
    ) -> Pending<Result<T, HsmError>> {
        let (sender, later) = oneshot::channel();
        let due = Instant::now() + self.deadline;
        let ticket = Arc::new(Ticket { sender: Mutex::new(Some(sender)), operation, due });
        let holder = Arc::clone(&ticket);
        let job = Job(Box::new(move |desk: &mut D| {
            if !holder.expire(Instant::now()) {
                holder.answer(work(desk));
            }
        }));
        let queued = self.queue.as_ref().is_some_and(|q| q.try_send(job).is_ok());
        if queued {
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        } else {
            ticket.answer(Err(HsmError::Busy));
        }
        let lost = move |_| Err(HsmError::Device { operation, code: "its worker has died".into() });
        Box::pin(async move { later.await.unwrap_or_else(lost) })
    }
}

impl<D> Drop for Pool<D> {
    fn drop(&mut self) {
        drop(self.queue.take());
        let until = Instant::now() + self.deadline;
        while self.workers.iter().any(|w| !w.is_finished()) && Instant::now() < until {
            std::thread::sleep(DRAIN_EVERY);
        }
        for worker in self.workers.drain(..) {
            if !worker.is_finished() {
                tracing::warn!("a worker hangs in the PKCS#11 module and is left behind");
            } else if worker.join().is_err() {
                tracing::error!("a worker of the HSM had died");
            }
        }
        if let Some((stop, watchdog)) = self.watchdog.take() {
            drop(stop);
            if watchdog.join().is_err() {
                tracing::error!("the watchdog of the HSM had died");
            }
        }
        // What is still owed was given to a worker that hangs, or waits behind one, and is due: a deadline has passed.
        let now = Instant::now();
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).retain(|ticket| !ticket.expire(now));
    }
}

/// An answer that is owed; given once, by the worker or by the watchdog.
struct Ticket<T> {
    sender: Mutex<Option<oneshot::Sender<Result<T, HsmError>>>>,
    operation: &'static str,
    due: Instant,
}

impl<T> Ticket<T> {
    fn answer(&self, result: Result<T, HsmError>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody may be waiting any more; then nobody needs the answer.
        let _gone = sender.map(|s| s.send(result));
    }
}

trait Expire: Send + Sync {
    /// Answers with [`HsmError::Deadline`] if it is time; whether the answer has been given, now or before.
    fn expire(&self, now: Instant) -> bool;
}

impl<T: Send> Expire for Ticket<T> {
    fn expire(&self, now: Instant) -> bool {
        if now >= self.due {
            self.answer(Err(HsmError::Deadline { operation: self.operation }));
        }
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, HsmError> {
    let failed = |e: std::io::Error| HsmError::Device { operation: "starting a thread", code: e.to_string() };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

fn work<D>(mut desk: D, jobs: &Mutex<Receiver<Job<D>>>) {
    loop {
        // The lock is let go at the end of the statement: one worker waits for a job, the others wait for the lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Job(run)) => run(&mut desk),
            Err(_) => return,
        }
    }
}

fn watch(watched: &Mutex<Vec<Arc<dyn Expire>>>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        watched.lock().unwrap_or_else(PoisonError::into_inner).retain(|ticket| !ticket.expire(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn wait<T>(mut future: Pending<T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn a_hung_operation_is_answered_in_time_and_the_next_is_not_started_late() {
        let pool = Pool::start(vec![()], Duration::from_millis(50)).unwrap();
        let (release, hang) = sync_channel::<()>(0);
        let begun = Instant::now();
        let hung = pool.submit("hang", move |()| {
            let _released = hang.recv();
            Ok(())
        });
        let started = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&started);
        let behind = pool.submit("behind", move |()| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert_eq!(wait(hung), Err(HsmError::Deadline { operation: "hang" }));
        assert_eq!(wait(behind), Err(HsmError::Deadline { operation: "behind" }));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        release.send(()).unwrap();
        assert_eq!(wait(pool.submit("after", |()| Ok(7))), Ok(7));
        assert_eq!(started.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_full_queue_is_busy_and_dropping_the_pool_answers_what_is_queued() {
        let pool = Pool::start(vec![()], Duration::from_secs(60)).unwrap();
        let (release, hang) = sync_channel::<()>(1);
        let (entered, inside) = sync_channel::<()>(1);
        let first = pool.submit("first", move |()| {
            entered.send(()).unwrap();
            hang.recv().unwrap();
            Ok(0)
        });
        inside.recv().unwrap();
        let queued: Vec<_> = (0..QUEUE_MAX).map(|n| pool.submit("queued", move |()| Ok(n))).collect();
        assert_eq!(wait(pool.submit("too many", |()| Ok(()))), Err(HsmError::Busy));
        release.send(()).unwrap();
        drop(pool);
        assert_eq!(wait(first), Ok(0));
        for (n, answer) in queued.into_iter().enumerate() {
            assert_eq!(wait(answer), Ok(n));
        }
    }

    #[test]
    fn a_pool_whose_worker_hangs_can_still_be_dropped() {
        let pool = Pool::start(vec![()], Duration::from_millis(30)).unwrap();
        let (release, hang) = sync_channel::<()>(0);
        let hung = pool.submit("hang", move |()| {
            let _released = hang.recv();
            Ok(())
        });
        drop(pool);
        assert_eq!(wait(hung), Err(HsmError::Deadline { operation: "hang" }));
        drop(release);
    }
}
