//! Freezes as nodes tell them.

use super::{BadField, some};
use tally_domain::{Digest, FreezeId, FreezeName, KeyName, NodeName, Scope, UnixMillis};
use tally_proto::v1;

/// A freeze in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeInfo {
    /// Which.
    pub name: FreezeName,
    /// What it stops.
    pub scope: Scope,
    /// When, by the clock of the node that froze.
    pub time: UnixMillis,
    /// The intent that asked for it.
    pub intent_digest: Digest,
}

/// Who has heard of it, besides the node that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// It is on their disks.
    pub acknowledged: Vec<NodeName>,
    /// They are told until they have it.
    pub waiting: Vec<NodeName>,
}

/// A freeze that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The freeze.
    pub freeze: FreezeInfo,
    /// The rule that permitted it; nothing when the very intent had frozen before.
    pub rule: Option<String>,
    /// Who has heard of it.
    pub told: Told,
}

/// Freezes that were lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfrozen {
    /// Which.
    pub lifted: Vec<FreezeName>,
    /// The rule that permitted it; nothing when the very intent had lifted them before.
    pub rule: Option<String>,
    /// How many nodes wanted it.
    pub signers: usize,
    /// Who has heard of it.
    pub told: Told,
}

pub(crate) fn frozen(r: v1::FreezeResponse) -> Result<Frozen, BadField> {
    Ok(Frozen { freeze: freeze(r.freeze.ok_or(BadField("freeze"))?)?, rule: some(r.rule), told: told(r.told)? })
}

pub(crate) fn unfrozen(r: v1::UnfreezeResponse) -> Result<Unfrozen, BadField> {
    Ok(Unfrozen {
        lifted: r.lifted.into_iter().map(name).collect::<Result<_, _>>()?,
        rule: some(r.rule),
        signers: r.certificate.len(),
        told: told(r.told)?,
    })
}

pub(crate) fn freezes(all: Vec<v1::Freeze>) -> Result<Vec<FreezeInfo>, BadField> {
    all.into_iter().map(freeze).collect()
}

fn freeze(f: v1::Freeze) -> Result<FreezeInfo, BadField> {
    let scope = match f.scope.as_str() {
        "all" => Scope::All,
        "key" => Scope::Key(KeyName::parse(&f.key).map_err(|_| BadField("freeze.key"))?),
        _ => return Err(BadField("freeze.scope")),
    };
    Ok(FreezeInfo {
        name: name(f.name.ok_or(BadField("freeze.name"))?)?,
        scope,
        time: UnixMillis(f.time_ms),
        intent_digest: Digest::from_slice(&f.intent_digest).ok_or(BadField("freeze.intent_digest"))?,
    })
}

fn name(n: v1::FreezeName) -> Result<FreezeName, BadField> {
    let by = NodeName::parse(&n.node).map_err(|_| BadField("freeze.name.node"))?;
    Ok(FreezeName { by, id: FreezeId::from_slice(&n.id).ok_or(BadField("freeze.name.id"))? })
}

pub(super) fn told(t: Option<v1::Told>) -> Result<Told, BadField> {
    let t = t.ok_or(BadField("told"))?;
    let names = |names: Vec<String>| {
        let names: Result<_, _> = names.iter().map(|n| NodeName::parse(n)).collect();
        names.map_err(|_| BadField("told"))
    };
    Ok(Told { acknowledged: names(t.acknowledged)?, waiting: names(t.waiting)? })
}
