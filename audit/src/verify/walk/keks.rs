//! What one log says of KEKs: their versions go their way, and are used only as clients asked and while enabled.

use super::Walk;
use crate::event::{Asked, KekChanged, KekMade, Wrapped};
use crate::verify::finding::{KekProblem, Problem};
use crate::verify::ledger::{Fact, Request};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::{
    Action, Intent, KekChange, KekEvent, KekNumber, KekSpec, KekState, KeyName, WrapCall, WrapKind, WrapSpec,
};

/// The versions as the log has told of them so far.
#[derive(Default)]
pub(super) struct Keks {
    versions: BTreeMap<(KeyName, KekNumber), Version>,
    outcomes: BTreeSet<Request>,
    /// KEKs that have been used, so that each is held against its record once.
    used: BTreeSet<KeyName>,
}

struct Version {
    id: KekId,
    check_value: KeyCheckValue,
    state: KekState,
}

impl Walk<'_> {
    pub(super) fn kek_made(&mut self, made: KekMade) -> Result<(), Problem> {
        let KekMade { by, kek, number, id, check_value } = made;
        let fits = |intent: &Intent| match (number, KekSpec::from_bytes(&intent.content)) {
            (KekNumber::FIRST, Ok(KekSpec::Create { .. })) => intent.action == Action::CreateKek,
            (_, Ok(KekSpec::Change(KekChange::Rotate))) => intent.action == Action::ChangeKek,
            _ => false,
        };
        self.asked_for(&by, &kek, fits)?;
        let last = (kek.clone(), KekNumber(0))..=(kek.clone(), KekNumber(u32::MAX));
        let last = self.keks.versions.range(last).next_back().map_or(KekNumber(0), |((_, last), _)| *last);
        let taken = self.keks.versions.values().any(|v| v.id == id);
        if number != last.next() || taken {
            return Err(KekProblem::NotNext { kek, number }.into());
        }
        self.keks.versions.insert((kek.clone(), number), Version { id, check_value, state: KekState::Enabled });
        if number > KekNumber::FIRST {
            self.used(kek.clone());
        }
        self.is_not_frozen(&kek, by.request_id)
    }

    pub(super) fn kek_changed(&mut self, changed: KekChanged) -> Result<(), Problem> {
        let KekChanged { by, kek, number, event } = changed;
        match (&by, event) {
            (None, KekEvent::Destroying | KekEvent::Destroyed) => {}
            (Some(by), _) => {
                let fits = |intent: &Intent| match KekSpec::from_bytes(&intent.content) {
                    Ok(KekSpec::Change(change)) => {
                        intent.action == Action::ChangeKek
                            && asks_for(change, event)
                            && change.version() == Some(number)
                    }
                    _ => false,
                };
                self.asked_for(by, &kek, fits)?;
            }
            (None, _) => return Err(KekProblem::Unasked { kek, number }.into()),
        }
        let time = self.time;
        let version = self.keks.versions.get_mut(&(kek.clone(), number));
        let version = version.ok_or_else(|| KekProblem::NoVersion { kek: kek.clone(), number })?;
        let next = version.state.after(event).ok_or_else(|| KekProblem::Impossible {
            kek: kek.clone(),
            number,
            state: version.state.as_str(),
            event: event.as_str(),
        })?;
        let early =
            matches!((version.state, next), (KekState::PendingDestruction { at }, KekState::Destroying) if time < at);
        version.state = next;
        self.used(kek.clone());
        if early {
            return Err(KekProblem::TooEarly { kek, number }.into());
        }
        match by {
            Some(by) => self.is_not_frozen(&kek, by.request_id),
            None => self.is_not_destroyed_frozen(&kek, number),
        }
    }

    pub(super) fn wrapped(&mut self, wrapped: Wrapped) -> Result<(), Problem> {
        self.report.wraps += 1;
        let Wrapped { by, kind, kek, number, from, blob } = wrapped;
        let fits = |intent: &Intent| match WrapSpec::from_bytes(&intent.content) {
            Ok(WrapSpec { call: WrapCall::Unwrap { blob: opened }, .. }) => kind == WrapKind::Unwrap && opened == blob,
            Ok(WrapSpec { call, .. }) => call.kind() == kind && intent.action == kind.action(),
            Err(_) => false,
        };
        self.asked_for(&by, &kek, fits)?;
        if !self.keks.outcomes.insert((by.tenant.clone(), by.request_id)) {
            return Err(KekProblem::TwoOutcomes { request: by.request_id }.into());
        }
        self.is_cleared(&(by.tenant.clone(), by.request_id), Some(by.intent_digest))?;
        for number in [Some(number), from].into_iter().flatten() {
            let version = self.keks.versions.get(&(kek.clone(), number));
            let version = version.ok_or_else(|| KekProblem::NoVersion { kek: kek.clone(), number })?;
            if version.state != KekState::Enabled {
                let (request, state) = (by.request_id, version.state.as_str());
                return Err(KekProblem::NotEnabled { request, kek, number, state }.into());
            }
        }
        self.used(kek.clone());
        self.is_not_frozen(&kek, by.request_id)
    }

    /// The node had permitted an intent that asks for just this.
    fn asked_for(&self, by: &Asked, kek: &KeyName, fits: impl FnOnce(&Intent) -> bool) -> Result<(), Problem> {
        let request = (by.tenant.clone(), by.request_id);
        let not_permitted = KekProblem::NotPermitted { request: by.request_id, kek: kek.clone() };
        let Some(Ok(intent)) = self.intents.get(&by.intent_digest) else { return Err(not_permitted.into()) };
        if !self.has_permitted(&request, by.intent_digest) {
            return Err(not_permitted.into());
        }
        if intent.key == *kek && fits(intent) {
            return Ok(());
        }
        Err(KekProblem::NotAsked { request: by.request_id, kek: kek.clone() }.into())
    }

    fn used(&mut self, kek: KeyName) {
        if self.keks.used.insert(kek.clone()) {
            let first = self.keks.versions.get(&(kek.clone(), KekNumber::FIRST)).map(|v| (v.id, v.check_value));
            self.fact(Fact::KekUse { kek, first });
        }
    }
}

fn asks_for(change: KekChange, event: KekEvent) -> bool {
    matches!(
        (change, event),
        (KekChange::Disable(_), KekEvent::Disabled)
            | (KekChange::Enable(_), KekEvent::Enabled)
            | (KekChange::Destroy(..), KekEvent::DestructionScheduled { .. })
            | (KekChange::Cancel(_), KekEvent::DestructionCancelled)
            | (KekChange::Replicate(_), KekEvent::Replicated)
    )
}
