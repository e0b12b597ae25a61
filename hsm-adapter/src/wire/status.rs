//! [`HsmStatus`] on the wire.

use super::fault::{WireError, name};
use serde::{Deserialize, Serialize};
use tally_domain::ports::hsm::{BreakerState, HsmStatus, Isolation, Latency, PinState};

/// [`HsmStatus`], field by field. Without a standby: a process has one token, and what may be nested may be nested too deep.
#[derive(Serialize, Deserialize)]
pub struct WireStatus {
    module: String,
    model: String,
    label: String,
    serial: String,
    hardware: String,
    firmware: String,
    cryptoki: String,
    capabilities: String,
    sessions: u32,
    hung: u32,
    queued: u32,
    breaker: WireBreaker,
    pin: WirePin,
    fault: Option<WireError>,
    proven_ms_ago: Option<u64>,
    latencies: Vec<WireLatency>,
}

#[derive(Serialize, Deserialize)]
enum WireBreaker {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Serialize, Deserialize)]
enum WirePin {
    Good,
    CountLow,
    FinalTry,
    Refused,
    Locked,
}

#[derive(Serialize, Deserialize)]
struct WireLatency {
    operation: String,
    count: u64,
    p50_us: u64,
    p99_us: u64,
}

impl From<&HsmStatus> for WireStatus {
    fn from(s: &HsmStatus) -> Self {
        let s = s.clone();
        Self {
            module: s.module,
            model: s.model,
            label: s.label,
            serial: s.serial,
            hardware: s.hardware,
            firmware: s.firmware,
            cryptoki: s.cryptoki,
            capabilities: s.capabilities,
            sessions: s.sessions,
            hung: s.hung,
            queued: s.queued,
            breaker: match s.breaker {
                BreakerState::Closed => WireBreaker::Closed,
                BreakerState::Open => WireBreaker::Open,
                BreakerState::HalfOpen => WireBreaker::HalfOpen,
            },
            pin: match s.pin {
                PinState::Good => WirePin::Good,
                PinState::CountLow => WirePin::CountLow,
                PinState::FinalTry => WirePin::FinalTry,
                PinState::Refused => WirePin::Refused,
                PinState::Locked => WirePin::Locked,
            },
            fault: s.fault.as_ref().map(WireError::from),
            proven_ms_ago: s.proven_ms_ago,
            latencies: s.latencies.into_iter().map(WireLatency::from).collect(),
        }
    }
}

impl From<WireStatus> for HsmStatus {
    /// What the other side cannot know, how often it was replaced, is for the caller to fill in.
    fn from(s: WireStatus) -> Self {
        Self {
            module: s.module,
            model: s.model,
            label: s.label,
            serial: s.serial,
            hardware: s.hardware,
            firmware: s.firmware,
            cryptoki: s.cryptoki,
            isolation: Isolation::Process,
            process: None,
            restarts: 0,
            capabilities: s.capabilities,
            sessions: s.sessions,
            hung: s.hung,
            queued: s.queued,
            breaker: match s.breaker {
                WireBreaker::Closed => BreakerState::Closed,
                WireBreaker::Open => BreakerState::Open,
                WireBreaker::HalfOpen => BreakerState::HalfOpen,
            },
            pin: match s.pin {
                WirePin::Good => PinState::Good,
                WirePin::CountLow => PinState::CountLow,
                WirePin::FinalTry => PinState::FinalTry,
                WirePin::Refused => PinState::Refused,
                WirePin::Locked => PinState::Locked,
            },
            fault: s.fault.map(Into::into),
            proven_ms_ago: s.proven_ms_ago,
            latencies: s.latencies.into_iter().map(Latency::from).collect(),
            standby: None,
        }
    }
}

impl From<Latency> for WireLatency {
    fn from(l: Latency) -> Self {
        Self { operation: l.operation.into(), count: l.count, p50_us: l.p50_us, p99_us: l.p99_us }
    }
}

impl From<WireLatency> for Latency {
    fn from(l: WireLatency) -> Self {
        Self { operation: name(&l.operation), count: l.count, p50_us: l.p50_us, p99_us: l.p99_us }
    }
}
