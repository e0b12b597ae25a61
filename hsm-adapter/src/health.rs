//! How the token does: the breaker, when the token is tried, and how long operations take.

use crate::breaker::Breaker;
use crate::fault::{Class, Fault};
use crate::pool::Priority;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::{BreakerState, HsmError, Latency, PinState};

/// How often a token that works is tried: as often as a person would look.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How soon a token that failed once is tried again, so that a lasting fault opens the breaker before many have met it.
const CHECK_SOON: Duration = Duration::from_millis(100);

/// Tries that fail before the module is started anew.
const TRIES_BEFORE_RESTART: u32 = 2;

/// Durations that are kept for each operation: enough for a 99th percentile.
const SAMPLES_MAX: usize = 256;

/// Longest to make a pair of keys: a token looks for the primes of an RSA key for a second on average, and for several
/// now and then.
const PAIR_MAX: Duration = Duration::from_secs(15);

/// What is asked of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Sign,
    MakeKey,
    MakePair,
    Seal,
    Open,
    DestroyKey,
    MakeDataKey,
    Wrap,
    Unwrap,
    Rewrap,
    MakeKek,
    TakeKek,
    DestroyKek,
    MakeVaultKey,
    DestroyVaultKey,
    Fingerprint,
    SealRows,
    OpenRows,
    Check,
}

impl Operation {
    const ALL: [Self; 19] = [
        Self::Sign,
        Self::MakeKey,
        Self::MakePair,
        Self::Seal,
        Self::Open,
        Self::DestroyKey,
        Self::MakeDataKey,
        Self::Wrap,
        Self::Unwrap,
        Self::Rewrap,
        Self::MakeKek,
        Self::TakeKek,
        Self::DestroyKek,
        Self::MakeVaultKey,
        Self::DestroyVaultKey,
        Self::Fingerprint,
        Self::SealRows,
        Self::OpenRows,
        Self::Check,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "signing",
            Self::MakeKey => "making a key",
            Self::MakePair => "making a signing key",
            Self::Seal => "sealing",
            Self::Open => "opening",
            Self::DestroyKey => "destroying a key",
            Self::MakeDataKey => "making a data key",
            Self::Wrap => "wrapping",
            Self::Unwrap => "unwrapping",
            Self::Rewrap => "rewrapping",
            Self::MakeKek => "making a KEK",
            Self::TakeKek => "taking a KEK over",
            Self::DestroyKek => "destroying a KEK",
            Self::MakeVaultKey => "making a key of a token domain",
            Self::DestroyVaultKey => "destroying keys of a token domain",
            Self::Fingerprint => "making fingerprints",
            Self::SealRows => "sealing card numbers",
            Self::OpenRows => "opening card numbers",
            Self::Check => "a health check",
        }
    }

    /// How long it may take where an operation is usually given `deadline`.
    pub fn time(self, deadline: Duration) -> Duration {
        match self {
            Self::MakePair => deadline.max(PAIR_MAX),
            _ => deadline,
        }
    }

    /// What it waits for.
    pub fn priority(self) -> Priority {
        match self {
            Self::Sign => Priority::Sign,
            Self::MakeKey | Self::MakePair | Self::Seal | Self::Open | Self::DestroyKey => Priority::Seal,
            Self::MakeDataKey
            | Self::Wrap
            | Self::Unwrap
            | Self::Rewrap
            | Self::Fingerprint
            | Self::SealRows
            | Self::OpenRows => Priority::Wrap,
            Self::MakeKek
            | Self::TakeKek
            | Self::DestroyKek
            | Self::MakeVaultKey
            | Self::DestroyVaultKey
            | Self::Check => Priority::Maintenance,
        }
    }
}

/// A check that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The breaker waits for it: it begins with a new session.
    pub anew: bool,
    /// If it fails, the module may be started anew.
    pub restart: bool,
}

/// The health of one token.
pub struct Health {
    state: Mutex<State>,
    random: RandomState,
}

struct State {
    breaker: Breaker,
    /// Why the breaker opened.
    why: String,
    next_check: Instant,
    tries_failed: u32,
    proven: Option<Instant>,
    pin: PinState,
    samples: [Samples; Operation::ALL.len()],
}

#[derive(Default)]
struct Samples {
    micros: Vec<u64>,
    count: u64,
}

/// What an operator is shown.
pub struct Shown {
    pub breaker: BreakerState,
    pub pin: PinState,
    pub proven: Option<Instant>,
    pub latencies: Vec<Latency>,
}

impl Health {
    /// Of a token that has just been connected to.
    pub fn new(pin: PinState) -> Self {
        let now = Instant::now();
        let state = State {
            breaker: Breaker::new(),
            why: String::new(),
            next_check: now + CHECK_EVERY,
            tries_failed: 0,
            proven: Some(now),
            pin,
            samples: Default::default(),
        };
        Self { state: Mutex::new(state), random: RandomState::new() }
    }

    /// Whether the token may be asked.
    pub fn admit(&self) -> Result<(), HsmError> {
        let state = self.state();
        match state.breaker {
            Breaker::Closed { .. } => Ok(()),
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => Err(HsmError::Down { why: state.why.clone() }),
        }
    }

    /// An operation has ended.
    pub fn note<T>(&self, operation: Operation, took: Duration, outcome: &Result<T, Fault>) {
        match outcome {
            Ok(_) => {
                let mut state = self.state();
                state.breaker.worked();
                if let Some(samples) = state.samples.get_mut(operation as usize) {
                    samples.add(took);
                }
            }
            Err(fault) if fault.class == Class::Device => self.failed(fault.error.to_string()),
            Err(_) => {}
        }
    }

    /// The token has failed: with an error, or by not answering.
    pub fn failed(&self, why: String) {
        let (now, jitter) = (Instant::now(), self.jitter());
        let mut state = self.state();
        state.next_check = state.next_check.min(now + CHECK_SOON);
        if state.breaker.failed(now, jitter) {
            tracing::error!(why, "the token is down; it is tried again in the background");
            (state.why, state.tries_failed) = (why, 0);
        }
    }

    /// Whether the token should be tried now.
    pub fn due(&self, within: Duration) -> Option<Check> {
        let now = Instant::now();
        let mut state = self.state();
        if state.breaker.begin_try(now, within) {
            return Some(Check { anew: true, restart: state.tries_failed >= TRIES_BEFORE_RESTART });
        }
        let closed = matches!(state.breaker, Breaker::Closed { .. });
        if !closed || now < state.next_check {
            return None;
        }
        state.next_check = now + CHECK_EVERY;
        Some(Check { anew: false, restart: false })
    }

    /// A check has ended; what the token says of the PIN, if it worked.
    pub fn checked(&self, outcome: &Result<PinState, Fault>) {
        let (now, jitter) = (Instant::now(), self.jitter());
        let mut state = self.state();
        match outcome {
            Ok(pin) => {
                if *pin != PinState::Good && *pin != state.pin {
                    tracing::warn!(pin = %pin, "the token warns of its PIN");
                }
                (state.pin, state.proven, state.tries_failed) = (*pin, Some(now), 0);
                if !matches!(state.breaker, Breaker::Closed { .. }) {
                    tracing::info!("the token is back");
                    state.breaker.tried(true, now, jitter);
                }
            }
            Err(fault) => {
                state.tries_failed += 1;
                state.breaker.tried(false, now, jitter);
                if !matches!(state.breaker, Breaker::Closed { .. }) {
                    state.why = fault.error.to_string();
                }
            }
        }
    }

    /// For the operator.
    pub fn show(&self) -> Shown {
        let state = self.state();
        let latencies = Operation::ALL.iter().zip(&state.samples).filter_map(|(o, s)| s.latency(o.name()));
        Shown { breaker: state.breaker.state(), pin: state.pin, proven: state.proven, latencies: latencies.collect() }
    }

    /// 0 to 1. Not a secret.
    fn jitter(&self) -> f64 {
        f64::from(self.random.hash_one(Instant::now()) as u32) / f64::from(u32::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = usize::try_from(self.count % SAMPLES_MAX as u64).unwrap_or(0);
        self.count += 1;
        match self.micros.get_mut(place) {
            Some(oldest) => *oldest = micros,
            None => self.micros.push(micros),
        }
    }

    fn latency(&self, operation: &'static str) -> Option<Latency> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?)).copied();
        Some(Latency { operation, count: self.count, p50_us: at(50)?, p99_us: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_most_recent_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.latency("x"), None);
        (0..1_000).for_each(|n| samples.add(Duration::from_micros(n)));
        let shown = samples.latency("x").unwrap();
        assert_eq!(shown, Latency { operation: "x", count: 1_000, p50_us: 872, p99_us: 997 });
    }

    #[test]
    fn signing_goes_before_wrapping_and_wrapping_before_the_care_of_keks() {
        let order = [Operation::Sign, Operation::Seal, Operation::Wrap, Operation::MakeKek].map(|o| o.priority() as u8);
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        let same = [Operation::Unwrap, Operation::Rewrap, Operation::MakeDataKey].map(|o| o.priority() as u8);
        assert_eq!(same, [Operation::Wrap.priority() as u8; 3]);
    }

    #[test]
    fn only_the_device_counts_against_the_token() {
        let health = Health::new(PinState::Good);
        let fault = |class| Err::<(), _>(Fault { class, error: HsmError::Integrity });
        for class in [Class::Input, Class::Session, Class::Refused, Class::Late, Class::Auth, Class::Unknown] {
            (0..10).for_each(|_| health.note(Operation::Open, Duration::ZERO, &fault(class)));
            assert!(health.admit().is_ok(), "{class:?}");
        }
        (0..3).for_each(|_| health.note(Operation::Open, Duration::ZERO, &fault(Class::Device)));
        assert!(matches!(health.admit(), Err(HsmError::Down { .. })));
    }
}
