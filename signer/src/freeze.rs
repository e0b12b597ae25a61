//! Freezing and lifting freezes. One node that permits a freeze makes it, alone; to lift it each node decides by itself, and
//! a majority must say so.
//!
//! A freeze holds from the moment that it is durable, for sessions that are running too: whatever votes, releases or
//! completes asks the store in the same step ([`unless_frozen`]).

mod ledger;

pub use ledger::Freezes;

use crate::admit::{Opened, check_bundle_version, check_times, decided, expect_action};
use crate::boot::BootIdentity;
use prost::Message as _;
use std::collections::BTreeSet;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::freeze::{FreezeSpec, Unfreeze, UnfreezeCertificate, UnfreezeSpec};
use tally_domain::ports::store::{FreezeWrite, Step, Write};
use tally_domain::{
    Action, ContentKind, Freeze, FreezeId, FreezeName, Intent, KeyName, NodeName, Purpose, Reason, Refusal, Scope,
    Tenant, UnixMillis,
};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, decide};

/// The step, unless a freeze in force covers the key when it would become durable.
#[must_use]
pub fn unless_frozen(mut step: Step, key: &KeyName) -> Step {
    step.writes.insert(0, Write::Freeze(FreezeWrite::Unfrozen { key: key.clone() }));
    step
}

/// What the caller is told of a freeze.
pub fn refusal(name: &FreezeName, scope: &Scope) -> Refusal {
    // Not `node`: that is whoever refuses.
    let refusal = Refusal::new(Reason::Frozen)
        .with("scope", scope.as_str())
        .with("frozen_by", name.by.as_str())
        .with("freeze", name.id.to_string());
    match scope.key() {
        Some(key) => refusal.with("key", key.as_str()),
        None => refusal,
    }
}

/// This node permits a freeze, and by which rule. Only [`admit_freeze`] mints it.
#[derive(Debug)]
#[must_use]
pub struct FreezePermit {
    opened: Opened,
    scope: Scope,
    rule: String,
}

impl FreezePermit {
    /// What is to be frozen.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Makes the freeze, with 16 fresh random bytes for its id.
    pub fn freeze(self, id: FreezeId, boot: &BootIdentity, now: UnixMillis) -> Frozen {
        let freeze =
            Freeze { cluster: boot.cluster.clone(), scope: self.scope, id, intent: self.opened.digest(), time: now };
        let statement = freeze.sign(boot.key(), boot.cert());
        Frozen { by: boot.node.clone(), freeze, statement }
    }
}

/// A freeze with the statement of the node that made it, which has been checked or is this node's own.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Who made it.
    pub by: NodeName,
    /// What it says.
    pub freeze: Freeze,
    /// The node's word.
    pub statement: Statement,
}

impl Frozen {
    /// What names it.
    pub fn name(&self) -> FreezeName {
        FreezeName { by: self.by.clone(), id: self.freeze.id }
    }

    /// The step that makes it hold here, with its leaf.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let write = FreezeWrite::Put {
            name: self.name(),
            scope: self.freeze.scope.clone(),
            statement: self.statement.encode_to_vec(),
            at: now,
        };
        let leaf = boot.leaf(now, What::Frozen { statement: self.statement.clone() });
        Step { writes: vec![Write::Freeze(write)], leaves: vec![leaf] }
    }
}

/// Decides whether this node freezes. `owner` is whose the key is, if this node knows the key.
///
/// # Errors
/// A [`Refusal`].
pub fn admit_freeze(
    opened: Opened,
    owner: Option<&Tenant>,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<FreezePermit, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::Freeze)?;
    let scope = FreezeSpec::from_bytes(&intent.content)?.scope;
    check_form(intent, ContentKind::FreezeSpec, &scope)?;
    check_times(intent, now)?;
    check_bundle_version(intent, bundle)?;
    check_owner(intent, &scope, owner)?;
    let action = PolicyAction::Freeze(&scope);
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(FreezePermit { scope, rule, opened })
}

/// This node permits that freezes are lifted. Only [`admit_unfreeze`] mints it.
#[derive(Debug)]
#[must_use]
pub struct UnfreezePermit {
    opened: Opened,
    scope: Scope,
    lifts: BTreeSet<FreezeName>,
    rule: String,
}

impl UnfreezePermit {
    /// What is frozen.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Which freezes are to be lifted.
    pub fn lifts(&self) -> &BTreeSet<FreezeName> {
        &self.lifts
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// This node's word, and the step that must be durable before it leaves.
    pub fn word(&self, boot: &BootIdentity, now: UnixMillis) -> (Statement, Step) {
        let unfreeze =
            Unfreeze { cluster: boot.cluster.clone(), intent: self.opened.digest(), lifts: self.lifts.clone() };
        let statement = unfreeze.sign(boot.key(), boot.cert());
        let leaf = boot.leaf(now, What::Unfreezing { statement: statement.clone() });
        (statement, Step { writes: Vec::new(), leaves: vec![leaf] })
    }

    /// Whether a node's word is for just this.
    pub fn is_said_by(&self, unfreeze: &Unfreeze) -> bool {
        unfreeze.intent == self.opened.digest() && unfreeze.lifts == self.lifts
    }
}

/// Decides whether this node wants freezes lifted: those that it knows, all of one scope, or lifted already.
///
/// # Errors
/// A [`Refusal`]; `FREEZE_NOT_FOUND` for a freeze that this node has not heard of, or of another scope: the rules were asked
/// for this one.
pub fn admit_unfreeze(
    opened: Opened,
    owner: Option<&Tenant>,
    freezes: &Freezes,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<UnfreezePermit, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::Unfreeze)?;
    let UnfreezeSpec { scope, lifts } = UnfreezeSpec::from_bytes(&intent.content)?;
    check_form(intent, ContentKind::UnfreezeSpec, &scope)?;
    check_times(intent, now)?;
    check_bundle_version(intent, bundle)?;
    check_owner(intent, &scope, owner)?;
    if let Some(unknown) = lifts.iter().find(|name| !freezes.is_lifted(name) && freezes.scope(name) != Some(&scope)) {
        return Err(Refusal::new(Reason::FreezeNotFound)
            .with("frozen_by", unknown.by.as_str())
            .with("freeze", unknown.id.to_string()));
    }
    let action = PolicyAction::Unfreeze(&scope);
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(UnfreezePermit { scope, lifts, rule, opened })
}

/// The step that lifts freezes here, with its leaf.
pub fn lift_step(unfreeze: &Unfreeze, certificate: &UnfreezeCertificate, boot: &BootIdentity, now: UnixMillis) -> Step {
    let write = FreezeWrite::Lift {
        intent: unfreeze.intent,
        lifts: unfreeze.lifts.clone(),
        certificate: certificate.encode_to_vec(),
        at: now,
    };
    let leaf = boot.leaf(now, What::Unfrozen { certificate: certificate.clone() });
    Step { writes: vec![Write::Freeze(write)], leaves: vec![leaf] }
}

/// The write that answers a request of this module.
pub fn complete_write(opened: &Opened, result: Vec<u8>, now: UnixMillis) -> Write {
    let intent = opened.intent();
    Write::Complete { tenant: intent.tenant.clone(), request: intent.request_id, result, at: now }
}

/// Such an intent has one form: what does not matter is always the same.
fn check_form(intent: &Intent, kind: ContentKind, scope: &Scope) -> Result<(), Refusal> {
    let plain = intent.kind == kind && intent.path.is_root() && intent.chain.is_empty();
    if !plain || intent.purpose != Purpose::Message {
        return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
    }
    if scope.intent_key().as_ref() == Some(&intent.key) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::Malformed).with("field", "key"))
    }
}

/// A tenant learns nothing about the keys of another, and stops none of them.
fn check_owner(intent: &Intent, scope: &Scope, owner: Option<&Tenant>) -> Result<(), Refusal> {
    match scope {
        Scope::Key(_) if owner != Some(&intent.tenant) => Err(Reason::KeyNotFound.into()),
        Scope::Key(_) | Scope::All => Ok(()),
    }
}
