//! How long to leave something alone that has failed: twice as long each time.

use std::time::{Duration, Instant};

/// First wait: one round of housekeeping, so that what fails once is tried again in the next.
const WAIT_FIRST: Duration = Duration::from_secs(2);

/// Longest wait: what an operator who has mended a token will put up with, and what keeps a log readable.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Whether something works, and when it is tried again if it does not.
#[derive(Debug, Default)]
pub struct Backoff {
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    why: String,
    wait: Duration,
    next: Instant,
}

impl Backoff {
    /// Whether it is time to try.
    pub fn is_due(&self, now: Instant) -> bool {
        self.failing.as_ref().is_none_or(|failing| failing.next <= now)
    }

    /// It has failed; whether that is news: it worked before, or failed for another reason.
    pub fn failed(&mut self, why: &str, now: Instant) -> bool {
        let before = self.failing.take();
        let wait = before.as_ref().map_or(WAIT_FIRST, |failing| failing.wait.saturating_mul(2).min(WAIT_MAX));
        let is_news = before.is_none_or(|failing| failing.why != why);
        self.failing = Some(Failing { why: why.into(), wait, next: now + wait });
        is_news
    }

    /// It works; whether that is news.
    pub fn worked(&mut self) -> bool {
        self.failing.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_ever_less_often_and_told_once() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        assert!(backoff.is_due(start) && !backoff.worked());
        let (mut now, mut tries, mut told) = (start, 0, 0);
        while now < start + Duration::from_secs(3_600) {
            if backoff.is_due(now) {
                tries += 1;
                told += u32::from(backoff.failed("away", now));
                assert!(!backoff.is_due(now) && backoff.is_due(now + WAIT_MAX));
            }
            now += WAIT_FIRST;
        }
        // 2, 4, .. 256 s are 8 waits of 510 s together; what is left of the hour goes by five minutes.
        assert_eq!((tries, told), (19, 1));
        assert!(backoff.failed("another reason", now), "another reason is news");
        assert!(backoff.worked() && !backoff.worked());
        assert!(backoff.is_due(now) && backoff.failed("away", now) && backoff.is_due(now + WAIT_FIRST));
    }
}
