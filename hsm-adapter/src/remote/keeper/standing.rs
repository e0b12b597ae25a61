//! How it stands with the process: what callers are given, and what an operator is shown.

use super::super::RemoteConfig;
use super::super::link::Link;
use crate::pair::unreached;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally_domain::ports::hsm::{BreakerState, HsmError, HsmStatus, Isolation, PinState};

/// How it stands, shared between the keeper and those who ask.
pub struct Standing {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    place: Place,
    /// As the process last told it.
    last: HsmStatus,
    restarts: u32,
    dismissed: bool,
}

/// What there is in the place of the process.
enum Place {
    /// One that serves.
    Serving { link: Arc<Link>, process: u32 },
    /// None that serves.
    Down {
        /// Why.
        why: String,
        /// Whether another is being started.
        trying: bool,
    },
    /// None any more: the token has refused the PIN, and every process would try it again.
    Refused,
}

impl Standing {
    pub fn new(config: &RemoteConfig) -> Self {
        let serial = config.token_serial.as_deref();
        let last = unreached(&config.module, &config.token_label, serial, Isolation::Process);
        let place = Place::Down { why: "its process is being started".into(), trying: true };
        let state = State { place, last, restarts: 0, dismissed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The process that serves now.
    pub fn link(&self) -> Result<Arc<Link>, HsmError> {
        match &self.state().place {
            Place::Serving { link, .. } => Ok(Arc::clone(link)),
            Place::Down { why, .. } => Err(HsmError::Down { why: why.clone() }),
            Place::Refused => Err(HsmError::PinRefused),
        }
    }

    /// A process serves.
    pub fn serve(&self, link: &Arc<Link>, process: u32) {
        self.state().place = Place::Serving { link: Arc::clone(link), process };
    }

    /// No process serves.
    pub fn fall(&self, why: String) {
        self.state().place = Place::Down { why, trying: false };
    }

    /// Another process is about to be started.
    pub fn try_again(&self) {
        let mut state = self.state();
        state.restarts = state.restarts.saturating_add(1);
        if let Place::Down { trying, .. } = &mut state.place {
            *trying = true;
        }
    }

    /// No process will be started any more.
    pub fn refuse(&self) {
        tracing::error!("the token refused the PIN; no process tries it again");
        self.state().place = Place::Refused;
    }

    /// Nobody needs a process any more.
    pub fn dismiss(&self) {
        self.state().dismissed = true;
        self.changed.notify_all();
    }

    /// Whether nobody does.
    pub fn is_dismissed(&self) -> bool {
        self.state().dismissed
    }

    /// Waits for so long, or until nobody needs a process any more: whether that is so.
    pub fn rest(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.dismissed);
        waited.unwrap_or_else(PoisonError::into_inner).0.dismissed
    }

    /// What a process has told.
    pub fn note(&self, status: &HsmStatus) {
        self.state().last = status.clone();
    }

    /// What an operator is shown: what the process has told just now, or what is known without it.
    pub fn show(&self, told: Result<HsmStatus, HsmError>) -> HsmStatus {
        let mut state = self.state();
        let shown = match told {
            Ok(status) => {
                state.last = status.clone();
                status
            }
            Err(fault) => {
                let breaker = match state.place {
                    Place::Serving { .. } => state.last.breaker,
                    Place::Down { trying: true, .. } => BreakerState::HalfOpen,
                    Place::Down { trying: false, .. } | Place::Refused => BreakerState::Open,
                };
                let pin = if matches!(state.place, Place::Refused) { PinState::Refused } else { state.last.pin };
                let unknown = HsmStatus { sessions: 0, hung: 0, queued: 0, proven_ms_ago: None, ..state.last.clone() };
                HsmStatus { breaker, pin, fault: Some(fault), latencies: Vec::new(), ..unknown }
            }
        };
        let process = if let Place::Serving { process, .. } = state.place { Some(process) } else { None };
        HsmStatus { isolation: Isolation::Process, process, restarts: state.restarts, ..shown }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
