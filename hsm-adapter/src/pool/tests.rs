//! Deadlines, replacement and shutdown, with desks that are nothing.

use super::*;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::sync_channel;
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

fn pool(workers: usize, deadline_ms: u64) -> Pool<()> {
    let hands = Hands { open: Box::new(|_| ()), hung: Box::new(|_| ()), tick: Box::new(|_| ()) };
    Pool::start(workers, Duration::from_millis(deadline_ms), hands).unwrap()
}

fn ask<T: Send + 'static>(
    pool: &Pool<()>,
    operation: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Pending<Result<T, HsmError>> {
    pool.desks().submit(Priority::Seal, Turn::new(operation, pool.desks().deadline()), move |(), _| Ok(work()))
}

/// A call that is inside until the sender of the second part is dropped.
fn hang(pool: &Pool<()>) -> (Pending<Result<(), HsmError>>, std::sync::mpsc::SyncSender<()>) {
    let (release, hung) = sync_channel::<()>(0);
    let (entered, inside) = sync_channel::<()>(1);
    let answer = ask(pool, "hang", move || {
        entered.send(()).unwrap();
        let _released = hung.recv();
    });
    inside.recv().unwrap();
    (answer, release)
}

fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_hung_operation_is_answered_in_time_and_what_waited_behind_it_is_never_started() {
    let pool = pool(1, 100);
    // Both threads that a worker may have are taken.
    let (first, one) = hang(&pool);
    assert_eq!(wait(first), Err(HsmError::Deadline { operation: "hang", started: true }));
    until(|| pool.desks().live() == 1);
    let (second, two) = hang(&pool);
    let started = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&started);
    let behind = ask(&pool, "behind", move || count.fetch_add(1, Ordering::SeqCst));
    assert_eq!(wait(second), Err(HsmError::Deadline { operation: "hang", started: true }));
    let refused = wait(behind);
    assert!(matches!(refused, Err(HsmError::Down { .. } | HsmError::Deadline { started: false, .. })), "{refused:?}");
    assert!(matches!(wait(ask(&pool, "now", || ())), Err(HsmError::Down { why }) if why.starts_with("2 calls")));
    drop((one, two));
    until(|| pool.desks().hung() == 0);
    assert_eq!(wait(ask(&pool, "after", || 7)), Ok(7));
    assert_eq!(started.load(Ordering::SeqCst), 0);
    // Who had taken the place of one that hung leaves again.
    until(|| pool.desks().live() == 1);
}

#[test]
fn higher_priorities_go_first() {
    let pool = pool(1, 60_000);
    let (first, release) = hang(&pool);
    let order = Arc::new(Mutex::new(Vec::new()));
    let all = [Priority::Maintenance, Priority::Seal, Priority::Sign, Priority::Seal, Priority::Sign];
    let queued: Vec<_> = all
        .into_iter()
        .map(|priority| {
            let order = Arc::clone(&order);
            pool.desks().submit(priority, Turn::new("x", pool.desks().deadline()), move |(), _| {
                order.lock().unwrap().push(priority);
                Ok(())
            })
        })
        .collect();
    assert_eq!(pool.desks().queued(), 5);
    drop(release);
    wait(first).unwrap();
    queued.into_iter().for_each(|q| wait(q).unwrap());
    let served = order.lock().unwrap().clone();
    assert_eq!(served, [Priority::Sign, Priority::Sign, Priority::Seal, Priority::Seal, Priority::Maintenance]);
}

#[test]
fn a_full_queue_is_busy_and_dropping_the_pool_answers_what_is_queued() {
    let pool = pool(1, 60_000);
    let (first, release) = hang(&pool);
    let queued: Vec<_> = (0..QUEUE_MAX).map(|n| ask(&pool, "queued", move || n)).collect();
    assert_eq!(wait(ask(&pool, "too many", || ())), Err(HsmError::Busy));
    drop(release);
    drop(pool);
    assert_eq!(wait(first), Ok(()));
    for (n, answer) in queued.into_iter().enumerate() {
        assert_eq!(wait(answer), Ok(n));
    }
}

#[test]
fn a_pool_whose_worker_hangs_can_still_be_dropped() {
    let pool = pool(1, 30);
    let (hung, release) = hang(&pool);
    drop(pool);
    assert_eq!(wait(hung), Err(HsmError::Deadline { operation: "hang", started: true }));
    drop(release);
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let pool = pool(1, 60_000);
    let died = wait(ask(&pool, "die", || panic!("on purpose")));
    assert!(matches!(died, Err(HsmError::Device { operation: "die", .. })), "{died:?}");
    assert_eq!(wait(ask(&pool, "after", || 7)), Ok(7));
}
