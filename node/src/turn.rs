//! How long a turn of a session waits for a processor: until a thread takes it up, and whenever the thread is put aside.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Asked for, and not begun.
pub struct Turn(Instant);

/// Begun, on the thread that began it.
pub struct Running {
    asked: Instant,
    spent_before: Duration,
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
    /// How long it has waited: all its time but that in which this thread had a processor.
    pub fn waited(&self) -> Duration {
        self.asked.elapsed().saturating_sub(spent().saturating_sub(self.spent_before))
    }
}

/// What this thread has had of processors.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
