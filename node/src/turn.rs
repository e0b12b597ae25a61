//! How long a turn of a session runs on a processor, and how long it waits for one: until a thread takes it up, and whenever the
//! thread is put aside.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Asked for, and not begun.
pub struct Turn(Instant);

/// Begun, on the thread that began it.
pub struct Running {
    asked: Instant,
    spent_before: Duration,
}

/// What turns have taken.
#[derive(Debug, Default, Clone, Copy)]
pub struct Took {
    /// On a processor.
    pub ran: Duration,
    /// For a processor.
    pub waited: Duration,
}

impl Turn {
    /// It is asked for now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// This thread takes it up.
    pub fn runs(self) -> Running {
        Running { asked: self.0, spent_before: spent() }
    }
}

impl Running {
    /// It is done.
    pub fn ends(self) -> Took {
        let ran = spent().saturating_sub(self.spent_before);
        Took { ran, waited: self.asked.elapsed().saturating_sub(ran) }
    }
}

/// What this thread has had of processors.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
