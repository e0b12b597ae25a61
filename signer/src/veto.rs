//! Bundles that change while requests run, and their vetoes: one node that permits a veto makes it, alone.

use crate::admit::{Opened, check_bundle_version, check_times, decided, expect_action};
use crate::boot::BootIdentity;
use prost::Message as _;
use tally_audit::event::{BundleEvent, What};
use tally_domain::activation::{BundleName, BundleVeto, VetoSpec};
use tally_domain::boot::Statement;
use tally_domain::ports::store::{BundleWrite, Step, Write};
use tally_domain::{Action, ContentKind, Digest, NodeName, Purpose, Reason, Refusal, UnixMillis};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, decide};

/// The step, unless another bundle than the one that decided is the active one when it would become durable.
#[must_use]
pub fn while_active(mut step: Step, bundle: Digest) -> Step {
    step.writes.insert(0, Write::Bundle(BundleWrite::StillActive { digest: bundle }));
    step
}

/// This node permits a veto, and by which rule. Only [`admit_veto`] mints it.
#[derive(Debug)]
#[must_use]
pub struct VetoPermit {
    opened: Opened,
    bundle: BundleName,
    rule: String,
}

impl VetoPermit {
    /// What is vetoed.
    pub fn bundle(&self) -> BundleName {
        self.bundle
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Makes the veto.
    pub fn veto(self, boot: &BootIdentity, now: UnixMillis) -> Vetoed {
        let (cluster, intent) = (boot.cluster.clone(), self.opened.digest());
        let veto = BundleVeto { cluster, bundle: self.bundle, intent, time: now };
        Vetoed { by: boot.node.clone(), statement: veto.sign(boot.key(), boot.cert()), veto }
    }
}

/// A veto with the statement of the node that made it, which has been checked or is this node's own.
#[derive(Debug, Clone)]
pub struct Vetoed {
    /// Who made it.
    pub by: NodeName,
    /// What it says.
    pub veto: BundleVeto,
    /// The node's word.
    pub statement: Statement,
}

impl Vetoed {
    /// The step that makes it hold here, with its leaf.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let write = BundleWrite::Veto {
            bundle: self.veto.bundle,
            by: self.by.clone(),
            statement: self.statement.encode_to_vec(),
            at: now,
        };
        let leaf = boot.leaf(now, What::Bundle(BundleEvent::Vetoed { statement: self.statement.clone() }));
        Step { writes: vec![Write::Bundle(write)], leaves: vec![leaf] }
    }
}

/// Decides whether this node vetoes a bundle.
///
/// # Errors
/// A [`Refusal`].
pub fn admit_veto(opened: Opened, bundle: &Bundle, now: UnixMillis) -> Result<VetoPermit, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::VetoPolicy)?;
    let vetoed = VetoSpec::from_bytes(&intent.content)?.bundle;
    let plain = intent.kind == ContentKind::VetoSpec && intent.path.is_root() && intent.chain.is_empty();
    if !plain || intent.purpose != Purpose::Message {
        return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
    }
    if VetoSpec::intent_key().as_ref() != Some(&intent.key) {
        return Err(Refusal::new(Reason::Malformed).with("field", "key"));
    }
    check_times(intent, now)?;
    check_bundle_version(intent, bundle)?;
    let action = PolicyAction::VetoPolicy(vetoed.version);
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(VetoPermit { bundle: vetoed, rule, opened })
}
