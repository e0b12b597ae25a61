//! How much work a node does at once: as much as keeps its processors busy, and no more. What is begun beyond that makes no
//! signature earlier and each of them later.
//!
//! What tells is how long sessions' turns wait for a processor beside how long they run on one: for any kind of key it
//! depends on how busy the processors are and on nothing else, and neither slow peers nor slow disks are in it. The rule is
//! that of congestion control (RFC 5681): one more while there is room, a part less when there is not.

use crate::turn::Took;
use std::time::{Duration, Instant};

/// Most that is worked on at once. With 2 of 3, three nodes that each lead as many fill each other's sessions, and no more.
pub const WORK_MAX: usize = crate::sessions::SESSIONS_MAX / 2;

/// Least, however busy the processors are.
const WORK_MIN: usize = 1;

/// Turns from one look to the next: some eight signatures.
const TURNS: u32 = 64;

/// After so long without a look there is little to do, or what is done takes no turns; then the pace grows by itself.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// How much at once, and what it follows from.
#[derive(Debug)]
pub struct Pace {
    /// When turns wait more than this for each hundred that they run, there is more to do than processors to do it.
    wait_max: u32,
    limit: usize,
    turns: u32,
    took: Took,
    looked: Option<Instant>,
}

impl Pace {
    /// As much as there may be, until turns wait more than this for each hundred that they run.
    pub fn new(wait_max: u32) -> Self {
        Self { wait_max, limit: WORK_MAX, turns: 0, took: Took::default(), looked: None }
    }

    /// How much may be worked on at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What a turn has taken, while so much was worked on.
    pub fn turn(&mut self, took: Took, working: usize, now: Instant) {
        self.turns += 1;
        self.took.ran += took.ran;
        self.took.waited += took.waited;
        if self.turns < TURNS {
            return;
        }
        let (waited, most) = (self.took.waited * 100, self.took.ran * self.wait_max);
        self.look(now);
        if waited > most * 2 {
            self.limit = (self.limit / 2).max(WORK_MIN);
        } else if waited > most {
            self.limit = (self.limit * 7 / 8).max(WORK_MIN);
        } else if working >= self.limit {
            self.limit = (self.limit + 1).min(WORK_MAX);
        }
    }

    /// Somebody asks for a place.
    pub fn asked(&mut self, now: Instant) {
        let looked = *self.looked.get_or_insert(now);
        if now.saturating_duration_since(looked) > LOOK_MAX {
            self.look(now);
            self.limit = (self.limit * 2).min(WORK_MAX);
        }
    }

    fn look(&mut self, now: Instant) {
        (self.turns, self.took, self.looked) = (0, Took::default(), Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAN: Duration = Duration::from_millis(4);
    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_millis(3);
    const WAIT_MAX: u32 = 50;

    /// So many looks, at each of which turns have waited so long.
    fn looks(pace: &mut Pace, waited: Duration, working: usize, count: usize) {
        for _ in 0..count * TURNS as usize {
            pace.turn(Took { ran: RAN, waited }, working, Instant::now());
        }
    }

    #[test]
    fn it_falls_while_processors_are_wanting_and_never_to_nothing() {
        let mut pace = Pace::new(WAIT_MAX);
        assert_eq!(pace.limit(), WORK_MAX);
        looks(&mut pace, LONG, WORK_MAX, 1);
        assert_eq!(pace.limit(), WORK_MAX / 8 * 7);
        looks(&mut pace, LONG * 2, WORK_MAX, 1);
        assert_eq!(pace.limit(), WORK_MAX / 16 * 7);
        looks(&mut pace, LONG, WORK_MAX, 100);
        assert_eq!(pace.limit(), WORK_MIN);
    }

    #[test]
    fn it_grows_by_one_where_there_are_processors_and_more_to_do_and_not_without_end() {
        let mut pace = Pace::new(WAIT_MAX);
        looks(&mut pace, LONG, WORK_MAX, 100);
        looks(&mut pace, SHORT, WORK_MIN - 1, 10);
        assert_eq!(pace.limit(), WORK_MIN, "what there is was not even used");
        looks(&mut pace, SHORT, WORK_MIN, 1);
        assert_eq!(pace.limit(), WORK_MIN + 1);
        looks(&mut pace, SHORT, WORK_MAX, 1_000);
        assert_eq!(pace.limit(), WORK_MAX);
    }

    #[test]
    fn work_that_takes_no_turns_is_not_held_back_for_what_went_before() {
        let (mut pace, start) = (Pace::new(WAIT_MAX), Instant::now());
        looks(&mut pace, LONG, WORK_MAX, 100);
        pace.asked(start);
        assert_eq!(pace.limit(), WORK_MIN);
        for nth in 1..10 {
            pace.asked(start + (LOOK_MAX + Duration::from_millis(50)) * nth);
        }
        assert_eq!(pace.limit(), WORK_MAX);
    }
}
