//! When a token is not asked any more, and when it is tried again. Pure: the clock is an argument.

use std::time::{Duration, Instant};
use tally_domain::ports::hsm::BreakerState;

/// Failures of the device in a row that open the breaker. One may be an accident; a third is not waited for.
const FAILURES_MAX: u32 = 3;

/// First wait before the token is tried again; doubles with each try that fails.
const WAIT_FIRST: Duration = Duration::from_millis(100);

/// Longest wait: what an operator who mends a token will put up with.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The breaker of one token.
#[derive(Debug)]
pub enum Breaker {
    /// Operations go to the token.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Operations fail at once. Tried again at `until`.
    Open {
        /// When the next try is due.
        until: Instant,
        /// How long was waited for it.
        wait: Duration,
    },
    /// A try is on its way; given up at `until`.
    HalfOpen {
        /// When the try counts as failed.
        until: Instant,
        /// How long was waited for it.
        wait: Duration,
    },
}

impl Breaker {
    /// Closed.
    pub fn new() -> Self {
        Self::Closed { failures: 0 }
    }

    /// For the operator.
    pub fn state(&self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// An operation has found the device working.
    pub fn worked(&mut self) {
        if let Self::Closed { failures } = self {
            *failures = 0;
        }
    }

    /// An operation has found the device broken. `jitter` (0 to 1) keeps nodes from trying in step. Whether this opened the breaker.
    pub fn failed(&mut self, now: Instant, jitter: f64) -> bool {
        let Self::Closed { failures } = self else { return false };
        *failures += 1;
        let opens = *failures >= FAILURES_MAX;
        if opens {
            *self = Self::Open { until: now + spread(WAIT_FIRST, jitter), wait: WAIT_FIRST };
        }
        opens
    }

    /// Whether a try should begin now. If so, it has until `within` from now.
    pub fn begin_try(&mut self, now: Instant, within: Duration) -> bool {
        let (Self::Open { until, wait } | Self::HalfOpen { until, wait }) = *self else { return false };
        if now < until {
            return false;
        }
        *self = Self::HalfOpen { until: now + within, wait };
        true
    }

    /// A try has ended.
    pub fn tried(&mut self, works: bool, now: Instant, jitter: f64) {
        if let (Self::Open { wait, .. } | Self::HalfOpen { wait, .. }, false) = (&*self, works) {
            let wait = (*wait * 2).min(WAIT_MAX);
            *self = Self::Open { until: now + spread(wait, jitter), wait };
        } else if works {
            *self = Self::new();
        }
    }
}

/// Half of `wait`, and up to as much again.
pub fn spread(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..5 {
            assert!(!breaker.failed(now, 0.0) && !breaker.failed(now, 0.0));
            breaker.worked();
        }
        assert!(!breaker.failed(now, 0.0) && !breaker.failed(now, 0.0) && breaker.failed(now, 0.0));
        assert_eq!(breaker.state(), BreakerState::Open);
        // What was on its way when it opened neither closes it nor opens it anew.
        breaker.worked();
        assert!(!breaker.failed(now, 0.0));
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn it_is_tried_again_one_at_a_time_after_a_wait_that_doubles_to_its_end() {
        let (mut breaker, mut now) = (Breaker::new(), Instant::now());
        (0..FAILURES_MAX).for_each(|_| assert!(breaker.failed(now, 1.0) == (breaker.state() == BreakerState::Open)));
        let mut wait = WAIT_FIRST;
        for _ in 0..10 {
            assert!(!breaker.begin_try(now + wait.mul_f64(0.99), WAIT_MAX));
            now += wait;
            assert!(breaker.begin_try(now, WAIT_MAX));
            assert!(!breaker.begin_try(now, WAIT_MAX), "a second try beside the first");
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            breaker.tried(false, now, 1.0);
            wait = (wait * 2).min(WAIT_MAX);
        }
        assert_eq!(wait, WAIT_MAX);
        now += wait;
        assert!(breaker.begin_try(now, WAIT_MAX));
        // A try that never comes back does not keep the next from being made.
        now += WAIT_MAX;
        assert!(breaker.begin_try(now, WAIT_MAX));
        breaker.tried(true, now, 1.0);
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(!breaker.begin_try(now + WAIT_MAX, WAIT_MAX));
    }

    #[test]
    fn the_wait_is_spread() {
        assert_eq!(spread(WAIT_MAX, 0.0), WAIT_MAX / 2);
        assert_eq!(spread(WAIT_MAX, 1.0), WAIT_MAX);
    }
}
