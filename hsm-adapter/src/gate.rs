//! Who is inside a module and may be there together. Everybody waits for a limited time, because a call into a module may
//! never return; and what a call that hangs holds is taken from it.

use crate::turn::wait;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A desk, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeskId(pub u64);

/// The way into a module.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Operations inside, those that hang included.
    inside: usize,
    /// One of those inside wants to be, or is, alone.
    alone: bool,
    /// Desks that use keys.
    using: Vec<DeskId>,
    /// The desk that finds, makes or destroys keys.
    changing: Option<DeskId>,
    /// Desks that wait to do so: they go first, or they would wait for ever.
    waiting: usize,
}

/// Being inside.
pub struct Inside(&'static Gate);

/// Being the only one inside.
pub struct Alone<'a>(&'a Inside);

/// Using keys, or changing them.
pub struct Hold {
    gate: &'static Gate,
    desk: DeskId,
    changing: bool,
}

impl Gate {
    /// Goes in. `None` if somebody is alone there until `due`.
    pub fn enter(&'static self, due: Instant) -> Option<Inside> {
        let mut state = self.state();
        while state.alone {
            state = wait(&self.changed, state, due)?;
        }
        state.inside += 1;
        Some(Inside(self))
    }

    /// Held while keys are used.
    pub fn using(&'static self, desk: DeskId, due: Instant) -> Option<Hold> {
        let mut state = self.state();
        while state.changing.is_some() || state.waiting > 0 {
            state = wait(&self.changed, state, due)?;
        }
        in_time(due)?;
        state.using.push(desk);
        Some(Hold { gate: self, desk, changing: false })
    }

    /// Held while keys are found, made or destroyed (SoftHSM issue 573).
    pub fn changing(&'static self, desk: DeskId, due: Instant) -> Option<Hold> {
        let mut state = self.state();
        state.waiting += 1;
        while state.changing.is_some() || !state.using.is_empty() {
            match wait(&self.changed, state, due) {
                Some(again) => state = again,
                None => {
                    self.state().waiting -= 1;
                    self.changed.notify_all();
                    return None;
                }
            }
        }
        state.waiting -= 1;
        if in_time(due).is_none() {
            drop(state);
            self.changed.notify_all();
            return None;
        }
        state.changing = Some(desk);
        Some(Hold { gate: self, desk, changing: true })
    }

    /// Takes from a desk that hangs what it holds, so that others go on. Its outcome is unknown and is given to nobody;
    /// it stays inside.
    pub fn abandon(&self, desk: DeskId) {
        let mut state = self.state();
        state.using.retain(|d| *d != desk);
        state.changing = state.changing.filter(|d| *d != desk);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is late has been abandoned already: what it took now would stay with it for as long as it hangs. Called under the
/// lock, so that whoever is in time is abandoned after this.
fn in_time(due: Instant) -> Option<()> {
    (Instant::now() < due).then_some(())
}

impl Inside {
    /// Waits until all others have left, and keeps them out. `None` if somebody stays or waits for the same.
    pub fn alone(&self, due: Instant) -> Option<Alone<'_>> {
        let gate = self.0;
        let mut state = gate.state();
        if state.alone {
            return None;
        }
        state.alone = true;
        while state.inside > 1 {
            match wait(&gate.changed, state, due) {
                Some(again) => state = again,
                None => {
                    gate.state().alone = false;
                    gate.changed.notify_all();
                    return None;
                }
            }
        }
        Some(Alone(self))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.0.state().alone = false;
        self.0.0.changed.notify_all();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if self.changing {
            state.changing = state.changing.filter(|d| *d != self.desk);
        } else if let Some(at) = state.using.iter().position(|d| *d == self.desk) {
            state.using.swap_remove(at);
        }
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn gate() -> &'static Gate {
        Box::leak(Box::default())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn users_share_and_a_changer_excludes_them_until_it_is_abandoned() {
        let gate = gate();
        let (one, two, three) = (DeskId(1), DeskId(2), DeskId(3));
        let first = gate.using(one, soon()).unwrap();
        let second = gate.using(two, soon()).unwrap();
        assert!(gate.changing(three, soon()).is_none());
        drop(second);
        gate.abandon(one);
        let changing = gate.changing(three, soon()).unwrap();
        // What was taken from a desk is not given back by it.
        drop(first);
        assert!(gate.using(one, soon()).is_none());
        gate.abandon(three);
        let again = gate.changing(one, soon()).unwrap();
        drop(changing);
        assert!(gate.using(two, soon()).is_none());
        drop(again);
        assert!(gate.using(two, soon()).is_some());
    }

    #[test]
    fn who_is_late_gets_no_hold_that_nobody_would_take_back() {
        let (gate, late) = (gate(), Instant::now());
        assert!(gate.using(DeskId(1), late).is_none());
        assert!(gate.changing(DeskId(1), late).is_none());
        assert!(gate.changing(DeskId(2), soon()).is_some());
        assert!(gate.using(DeskId(2), soon()).is_some());
    }

    #[test]
    fn a_changer_that_gave_up_waiting_lets_users_in() {
        let gate = gate();
        let _user = gate.using(DeskId(1), soon()).unwrap();
        assert!(gate.changing(DeskId(2), soon()).is_none());
        assert!(gate.using(DeskId(3), soon()).is_some());
    }

    #[test]
    fn alone_means_alone_even_when_a_call_hangs() {
        let gate = gate();
        let (hangs, me) = (gate.enter(soon()).unwrap(), gate.enter(soon()).unwrap());
        gate.abandon(DeskId(1));
        assert!(me.alone(soon()).is_none());
        assert!(gate.enter(soon()).is_some(), "who gave up keeps nobody out");
        drop(hangs);
        let alone = me.alone(soon()).unwrap();
        assert!(gate.enter(soon()).is_none());
        drop(alone);
        assert!(gate.enter(soon()).is_some());
    }
}
