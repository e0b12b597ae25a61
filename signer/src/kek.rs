//! Changing a KEK: its home admits the intent, the version goes its way, and the log says who wanted it. What nobody asks
//! for is only the end of a version whose time has come.

use crate::admit::{Opened, check_bundle_version, check_times, decided, expect_action};
use crate::boot::BootIdentity;
use crate::freeze::{Freezes, unless_frozen};
use crate::hsm_sign::must_be_home;
use prost::Message as _;
use tally_audit::event::{Asked, KekChanged, KekMade, What};
use tally_domain::kek::{DESTROY_DELAY_MAX_MS, KEK_VERSIONS_MAX};
use tally_domain::key::KeyState;
use tally_domain::ports::hsm::{self, KekId};
use tally_domain::ports::store::{KekWrite, Step, Write};
use tally_domain::{
    Action, ContentKind, Digest, HsmKeyRecord, Intent, KekChange, KekEvent, KekNumber, KekSpec, KekState, KekVersion,
    KeyName, Material, NodeName, Purpose, Reason, Refusal, UnixMillis,
};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, decide};

/// A KEK as its home holds it.
#[derive(Debug, Clone, Copy)]
pub struct KekView<'a> {
    /// What it is.
    pub record: &'a HsmKeyRecord,
    /// Whether it has its name.
    pub state: KeyState,
    /// All its versions, by number; none at a node that is not its home.
    pub versions: &'a [KekVersion],
    /// What this node knows to be frozen.
    pub freezes: &'a Freezes,
}

impl<'a> KekView<'a> {
    /// One of its versions.
    ///
    /// # Errors
    /// `KEK_VERSION_UNKNOWN`.
    pub fn version(&self, number: KekNumber) -> Result<&'a KekVersion, Refusal> {
        let found = self.versions.iter().find(|v| v.number == number);
        found.ok_or_else(|| Refusal::new(Reason::KekVersionUnknown).with("version", number.to_string()))
    }

    /// Checks that an intent of its tenant's is for it, here and now: the same for all that is asked of a KEK.
    pub(crate) fn check(
        &self,
        intent: &Intent,
        kind: ContentKind,
        me: &NodeName,
        bundle: &Bundle,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        if self.record.tenant != intent.tenant || self.record.name != intent.key {
            return Err(Reason::KeyNotFound.into());
        }
        must_be_home(&self.record.home, me, bundle.roster())?;
        check_times(intent, now)?;
        check_bundle_version(intent, bundle)?;
        if !matches!(self.record.material, Material::Kek { .. }) || intent.purpose != Purpose::Wrap {
            return Err(Refusal::new(Reason::KeyPurpose).with("purpose", self.record.purpose.as_str()));
        }
        if self.state != KeyState::Active {
            return Err(Reason::KeyNotActive.into());
        }
        if intent.kind != kind || !intent.path.is_root() || !intent.chain.is_empty() {
            return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
        }
        self.freezes.check(&intent.key)
    }
}

/// The home permits a change. Only [`admit_change_kek`] mints it.
#[derive(Debug)]
#[must_use]
pub struct KekPermit {
    opened: Opened,
    plan: Plan,
    rule: String,
    bundle: Digest,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// The token makes a version of this number.
    Make(KekNumber),
    /// The standby token is given a version, which stays as it is.
    Replicate(KekVersion),
    /// A version goes on.
    Move {
        /// The version as it is.
        from: KekVersion,
        /// What becomes of it.
        event: KekEvent,
        /// Its state afterwards.
        to: KekState,
    },
}

impl KekPermit {
    /// What is to be done.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }

    /// The step that makes a rotation durable, with its leaf and its answer, unless the KEK is frozen by then; so are the
    /// steps of the other changes.
    pub fn rotate_step(
        &self,
        version: &KekVersion,
        transfer: Option<Vec<u8>>,
        boot: &BootIdentity,
        now: UnixMillis,
    ) -> Step {
        let kek = &self.opened.intent().key;
        let put = Write::Kek(KekWrite::Put { kek: kek.clone(), version: *version, transfer });
        let leaf = boot.leaf(now, What::KekMade(made_leaf(&self.opened, version)));
        unless_frozen(Step { writes: vec![put, self.complete(version, now)], leaves: vec![leaf] }, kek)
    }

    /// The step that makes another change durable, with its leaf and its answer.
    pub fn move_step(
        &self,
        from: &KekVersion,
        event: KekEvent,
        to: KekState,
        boot: &BootIdentity,
        now: UnixMillis,
    ) -> Step {
        let kek = self.opened.intent().key.clone();
        let by = Some(asked(&self.opened));
        let leaf = What::KekChanged(KekChanged { by, kek: kek.clone(), number: from.number, event });
        let change = KekWrite::Change { kek: kek.clone(), number: from.number, from: from.state, to, at: now };
        let complete = self.complete(&KekVersion { state: to, ..*from }, now);
        unless_frozen(Step { writes: vec![Write::Kek(change), complete], leaves: vec![boot.leaf(now, leaf)] }, &kek)
    }

    /// The step that tells of a version that the standby token holds, with its leaf and its answer.
    pub fn replicated_step(&self, version: &KekVersion, boot: &BootIdentity, now: UnixMillis) -> Step {
        let (kek, by) = (self.opened.intent().key.clone(), Some(asked(&self.opened)));
        let (number, event) = (version.number, KekEvent::Replicated);
        let leaf = What::KekChanged(KekChanged { by, kek: kek.clone(), number, event });
        unless_frozen(Step { writes: vec![self.complete(version, now)], leaves: vec![boot.leaf(now, leaf)] }, &kek)
    }

    fn complete(&self, version: &KekVersion, now: UnixMillis) -> Write {
        let intent = self.opened.intent();
        let result = KekResult { version: Some(WireVersion::from(version)), rule: self.rule.clone() };
        let (tenant, request) = (intent.tenant.clone(), intent.request_id);
        Write::Complete { tenant, request, result: result.encode_to_vec(), at: now }
    }
}

/// The answer to a change; field numbers are those of `ChangeKekResponse` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct KekResult {
    #[prost(message, optional, tag = "1")]
    version: Option<WireVersion>,
    #[prost(string, tag = "2")]
    rule: String,
}

/// A version as clients see it; field numbers are those of `KekVersion` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct WireVersion {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(string, tag = "2")]
    state: String,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(string, tag = "4")]
    check_value: String,
    #[prost(uint64, tag = "5")]
    made_at_ms: u64,
    #[prost(uint64, tag = "6")]
    destroy_at_ms: u64,
}

impl From<&KekVersion> for WireVersion {
    fn from(v: &KekVersion) -> Self {
        Self {
            number: v.number.0,
            state: v.state.as_str().into(),
            id: v.id.0.to_vec(),
            check_value: v.check_value.to_string(),
            made_at_ms: v.made_at.0,
            destroy_at_ms: match v.state {
                KekState::PendingDestruction { at } => at.0,
                _ => 0,
            },
        }
    }
}

/// Decides whether this node changes one of its KEKs. `delay_min_ms` is the shortest wait before a destruction.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the KEK lives elsewhere, `FROZEN`.
pub fn admit_change_kek(
    opened: Opened,
    kek: KekView<'_>,
    delay_min_ms: u64,
    me: &NodeName,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<KekPermit, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::ChangeKek)?;
    kek.check(intent, ContentKind::KekSpec, me, bundle, now)?;
    let KekSpec::Change(change) = KekSpec::from_bytes(&intent.content)? else {
        return Err(Refusal::new(Reason::Malformed).with("field", "content"));
    };
    let plan = plan(kek, change, delay_min_ms, now)?;
    let number = match plan {
        Plan::Make(number) => number,
        Plan::Replicate(version) | Plan::Move { from: version, .. } => version.number,
    };
    let action = PolicyAction::ChangeKek(change, number);
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(KekPermit { opened, plan, rule, bundle: bundle.digest() })
}

fn plan(kek: KekView<'_>, change: KekChange, delay_min_ms: u64, now: UnixMillis) -> Result<Plan, Refusal> {
    let range = |detail: String| Refusal::new(Reason::ParameterRange).with("detail", detail);
    let (number, event) = match change {
        KekChange::Rotate => {
            let number = kek.versions.last().map_or(KekNumber::FIRST, |last| last.number.next());
            if number.0 > KEK_VERSIONS_MAX {
                return Err(range(format!("a KEK has at most {KEK_VERSIONS_MAX} versions; create another one")));
            }
            return Ok(Plan::Make(number));
        }
        KekChange::Disable(number) => (number, KekEvent::Disabled),
        KekChange::Enable(number) => (number, KekEvent::Enabled),
        KekChange::Cancel(number) => (number, KekEvent::DestructionCancelled),
        KekChange::Replicate(number) => (number, KekEvent::Replicated),
        KekChange::Destroy(number, _) => {
            let delay = change.delay_ms().unwrap_or_default();
            if !(delay_min_ms..=DESTROY_DELAY_MAX_MS).contains(&delay) {
                let (least, most) = (delay_min_ms / 1_000, DESTROY_DELAY_MAX_MS / 1_000);
                return Err(range(format!("a destruction waits for {least} to {most} seconds")));
            }
            (number, KekEvent::DestructionScheduled { at: now.plus(delay) })
        }
    };
    let from = *kek.version(number)?;
    match from.state.after(event) {
        Some(_) if event == KekEvent::Replicated => Ok(Plan::Replicate(from)),
        Some(to) => Ok(Plan::Move { from, event, to }),
        None if matches!(from.state, KekState::Destroying | KekState::Destroyed) => Err(of_version(&from)),
        None => {
            Err(Refusal::new(Reason::KekState).with("version", number.to_string()).with("state", from.state.as_str()))
        }
    }
}

/// Why a version cannot be used.
pub(crate) fn of_version(version: &KekVersion) -> Refusal {
    let reason = match version.state {
        KekState::Destroying | KekState::Destroyed => Reason::KekDestroyed,
        KekState::Enabled | KekState::Disabled | KekState::PendingDestruction { .. } => Reason::KekDisabled,
    };
    Refusal::new(reason).with("version", version.number.to_string()).with("state", version.state.as_str())
}

/// A version as the token has just made it.
pub fn new_version(number: KekNumber, id: KekId, made: &hsm::KekMade, now: UnixMillis) -> KekVersion {
    KekVersion { number, id, check_value: made.check_value, state: KekState::Enabled, made_at: now }
}

/// Adds the first version to the step that gives a KEK its name at its home, which is then refused if the KEK is frozen.
pub fn with_first_version(
    mut step: Step,
    opened: &Opened,
    version: &KekVersion,
    transfer: Option<Vec<u8>>,
    boot: &BootIdentity,
    now: UnixMillis,
) -> Step {
    let kek = opened.intent().key.clone();
    step.writes.push(Write::Kek(KekWrite::Put { kek: kek.clone(), version: *version, transfer }));
    step.leaves.push(boot.leaf(now, What::KekMade(made_leaf(opened, version))));
    unless_frozen(step, &kek)
}

/// The step by which a version whose time has come goes on to its end: first [`KekEvent::Destroying`], and when the token
/// has done it [`KekEvent::Destroyed`]. Nothing if that cannot be; refused as long as the KEK is frozen.
pub fn end_step(
    kek: &KeyName,
    version: &KekVersion,
    event: KekEvent,
    boot: &BootIdentity,
    now: UnixMillis,
) -> Option<(Step, KekVersion)> {
    let due = !matches!(version.state, KekState::PendingDestruction { at } if now < at);
    let to = version.state.after(event).filter(|_| due)?;
    let number = version.number;
    let leaf = boot.leaf(now, What::KekChanged(KekChanged { by: None, kek: kek.clone(), number, event }));
    let change = KekWrite::Change { kek: kek.clone(), number, from: version.state, to, at: now };
    let step = unless_frozen(Step { writes: vec![Write::Kek(change)], leaves: vec![leaf] }, kek);
    Some((step, KekVersion { state: to, ..*version }))
}

fn made_leaf(opened: &Opened, version: &KekVersion) -> KekMade {
    let KekVersion { number, id, check_value, .. } = *version;
    KekMade { by: asked(opened), kek: opened.intent().key.clone(), number, id, check_value }
}

pub(crate) fn asked(opened: &Opened) -> Asked {
    let intent = opened.intent();
    Asked { tenant: intent.tenant.clone(), request_id: intent.request_id, intent_digest: opened.digest() }
}
