//! What a voter that is not the home decides of a call, because a limit applies. It has the intent and the KEK's record; it
//! has neither the versions nor what travels beside the intent, which may be secret.

use super::spec_of;
use crate::admit::Opened;
use crate::claims::{HomeWork, decide_home};
use crate::freeze::Freezes;
use crate::kek::KekView;
use tally_domain::key::KeyState;
use tally_domain::wrap::PLAINTEXT_MAX_BYTES;
use tally_domain::{ContentKind, HsmKeyRecord, KekNumber, Reason, Refusal, UnixMillis, WrapCall, WrapFacts, WrapKind};
use tally_policy::{Bundle, PolicyAction};

/// What only the home can know of a call, and rules may ask about. Where the intent says it, that holds; no charge
/// depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldByHome {
    /// Length of what is or will be wrapped.
    pub bytes: usize,
    /// The version that wraps; to unwrap, the one that has wrapped.
    pub version: KekNumber,
}

/// Decides as the home does, of what can be known here.
///
/// # Errors
/// A [`Refusal`]; `PROTOCOL_VIOLATION` when the home tells what the intent contradicts.
pub fn admit_elsewhere(
    opened: &Opened,
    (record, state): (&HsmKeyRecord, KeyState),
    freezes: &Freezes,
    told: ToldByHome,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<HomeWork, Refusal> {
    let intent = opened.intent();
    let kind = WrapKind::of(intent.action).ok_or_else(|| super::malformed("action"))?;
    KekView { record, state, versions: &[], freezes }.check(
        intent,
        ContentKind::WrapSpec,
        &record.home,
        bundle,
        now,
    )?;
    let spec = spec_of(intent)?;
    let (bytes, version, plaintext) = match spec.call {
        WrapCall::GenerateDataKey { bytes, plaintext, version } => (Some(bytes), version, plaintext),
        WrapCall::Wrap { version, .. } | WrapCall::Rewrap { version, .. } => (None, version, false),
        WrapCall::Unwrap { .. } => (None, None, true),
    };
    let fits = bytes.is_none_or(|bytes| bytes == told.bytes) && version.is_none_or(|version| version == told.version);
    if !fits || !(1..=PLAINTEXT_MAX_BYTES).contains(&told.bytes) {
        let detail = "what the home tells of the call is not what its intent says";
        return Err(Refusal::new(Reason::ProtocolViolation).with("round", "claims").with("detail", detail));
    }
    let ToldByHome { bytes, version } = told;
    let facts = WrapFacts { kind, context: &spec.context, bytes, plaintext, version };
    decide_home(opened, &record.home, opened.digest(), PolicyAction::Wrap(facts), bundle, now)
}
