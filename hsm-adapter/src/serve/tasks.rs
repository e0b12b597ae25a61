//! Futures that one thread takes to their ends.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use tally_domain::ports::Pending;

/// Where futures are given to. Bounded by what is given: each waits at most once, and the node has at most as many calls under
/// way as its link allows.
pub struct Tasks {
    ready: Sender<Arc<Task>>,
}

struct Task {
    future: Mutex<Option<Pending<()>>>,
    ready: Sender<Arc<Task>>,
}

impl Tasks {
    /// Starts the thread. It ends when nothing more can come.
    #[expect(clippy::disallowed_methods, reason = "a waker must not wait; each future is in the queue at most once")]
    pub fn start() -> std::io::Result<Self> {
        let (ready, woken) = channel::<Arc<Task>>();
        std::thread::Builder::new().name("hsmd-answers".into()).spawn(move || {
            while let Ok(task) = woken.recv() {
                task.step();
            }
        })?;
        Ok(Self { ready })
    }

    /// Takes a future to its end. Its first step is made here.
    pub fn spawn(&self, future: Pending<()>) {
        Arc::new(Task { future: Mutex::new(Some(future)), ready: self.ready.clone() }).step();
    }
}

impl Task {
    fn step(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        let done = future.as_mut().is_some_and(|f| f.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        if done {
            *future = None;
        }
    }
}

impl Wake for Task {
    /// Called by whoever has the answer, perhaps with locks held: nothing is done here but passing it on.
    fn wake(self: Arc<Self>) {
        let ready = self.ready.clone();
        // Nobody takes it once the process ends.
        drop(ready.send(self));
    }
}
