//! Where a call goes next and after what pause. Pure: the randomness comes in.

use std::time::Duration;

/// Most times that one call is sent: twice to each of three nodes. More only delays the bad news.
pub const ATTEMPTS_MAX: u32 = 6;

/// Pause before the second round; doubles with each round. A contended request is done in less than this.
const PAUSE_BASE: Duration = Duration::from_millis(150);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Longest pause that a node can ask for.
const ASKED_MAX: Duration = Duration::from_secs(10);

/// The attempts at one call.
#[derive(Debug)]
pub(crate) struct Plan {
    endpoints: usize,
    attempts_max: u32,
    made: u32,
    /// The pause that the last node has asked for.
    asked: Duration,
}

/// One more attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Index of the endpoint.
    pub(crate) endpoint: usize,
    /// To wait before.
    pub(crate) pause: Duration,
}

impl Plan {
    pub(crate) fn over(endpoints: usize, attempts_max: u32) -> Self {
        Self { endpoints: endpoints.max(1), attempts_max, made: 0, asked: Duration::ZERO }
    }

    /// The last node had no room and has begun nothing: that attempt does not count, and the next one waits as long as the
    /// node asks for. Not where each call is sent once.
    pub(crate) fn shed(&mut self, after: Duration) -> bool {
        let patient = self.attempts_max > 1;
        if patient {
            self.attempts_max = self.attempts_max.saturating_add(1);
            self.asked = after.min(ASKED_MAX);
        }
        patient
    }

    /// The next attempt, if there is one. `jitter` is uniform over all of `u32`: without it, clients that failed
    /// together come back together.
    pub(crate) fn next(&mut self, jitter: u32) -> Option<Next> {
        if self.made >= self.attempts_max {
            return None;
        }
        let made = usize::try_from(self.made).unwrap_or(usize::MAX);
        self.made += 1;
        let round = u32::try_from(made / self.endpoints).unwrap_or(u32::MAX);
        // An endpoint that has not been asked yet is asked at once.
        let pause = match round.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let full = PAUSE_BASE.saturating_mul(1 << doublings.min(16)).min(PAUSE_MAX);
                full.mul_f64(0.5 + 0.5 * f64::from(jitter) / f64::from(u32::MAX))
            }
        };
        // Never earlier than asked, and not all at the same moment.
        let asked = std::mem::take(&mut self.asked).mul_f64(1.0 + 0.5 * f64::from(jitter) / f64::from(u32::MAX));
        Some(Next { endpoint: made % self.endpoints, pause: if asked.is_zero() { pause } else { asked } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_asked_at_once_then_again_after_pauses_that_grow_and_end() {
        let mut plan = Plan::over(3, ATTEMPTS_MAX);
        let steps: Vec<_> = std::iter::from_fn(|| plan.next(u32::MAX)).collect();
        assert_eq!(steps.iter().map(|s| s.endpoint).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        assert!(steps[..3].iter().all(|s| s.pause.is_zero()));
        assert!(steps[3..].iter().all(|s| s.pause == PAUSE_BASE));
        assert!(Plan::over(1, ATTEMPTS_MAX).next(0).is_some_and(|s| s.pause.is_zero()));
    }

    #[test]
    fn who_was_shed_comes_again_when_asked_to_and_loses_no_attempt_by_it() {
        let second = Duration::from_secs(1);
        for jitter in [0, u32::MAX / 2, u32::MAX] {
            let mut plan = Plan::over(3, ATTEMPTS_MAX);
            let mut pauses = Vec::new();
            while let Some(next) = plan.next(jitter).filter(|_| pauses.len() < 20) {
                pauses.push(next.pause);
                if pauses.len() <= 5 {
                    assert!(plan.shed(second));
                }
            }
            assert_eq!(pauses.len(), 5 + ATTEMPTS_MAX as usize);
            assert!(pauses[1..=5].iter().all(|pause| (second..=second * 3 / 2).contains(pause)), "{pauses:?}");
            assert!(pauses[6..].iter().all(|pause| *pause <= PAUSE_MAX), "{pauses:?}");
        }
        let mut greedy = Plan::over(1, ATTEMPTS_MAX);
        assert!(greedy.next(0).is_some() && greedy.shed(Duration::MAX));
        assert_eq!(greedy.next(0).map(|next| next.pause), Some(ASKED_MAX));
        let mut once = Plan::over(3, 1);
        assert!(once.next(0).is_some() && !once.shed(second) && once.next(0).is_none());
    }

    #[test]
    fn pauses_stay_within_half_and_full_and_below_the_longest() {
        for jitter in [0, 1, u32::MAX / 2, u32::MAX] {
            let mut plan = Plan::over(1, ATTEMPTS_MAX);
            let pauses: Vec<_> = std::iter::from_fn(|| plan.next(jitter)).map(|s| s.pause).collect();
            assert_eq!(pauses.len(), ATTEMPTS_MAX as usize);
            for (round, pause) in pauses.iter().enumerate().skip(1) {
                let full = (PAUSE_BASE * (1 << (round - 1))).min(PAUSE_MAX);
                assert!((full / 2..=full).contains(pause), "round {round}: {pause:?}");
            }
        }
    }
}
