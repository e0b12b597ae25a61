//! The freezes that a node knows, and what they stop.

use super::{Frozen, refusal};
use std::collections::BTreeMap;
use tally_domain::freeze::{IN_FORCE_MAX, Unfreeze};
use tally_domain::{FreezeName, KeyName, NodeName, Reason, Refusal, Scope};

/// All freezes that a node knows. One that is lifted stays lifted.
#[derive(Debug, Clone, Default)]
pub struct Freezes(BTreeMap<FreezeName, Known>);

/// What is known of one freeze.
#[derive(Debug, Clone)]
enum Known {
    InForce(Box<Frozen>),
    Lifted,
}

impl Freezes {
    /// Refuses what uses a key that a freeze in force covers.
    ///
    /// # Errors
    /// `FROZEN` with scope, who froze, and the freeze's id.
    pub fn check(&self, key: &KeyName) -> Result<(), Refusal> {
        match self.in_force().find(|frozen| frozen.freeze.scope.covers(key)) {
            Some(frozen) => Err(refusal(&frozen.name(), &frozen.freeze.scope)),
            None => Ok(()),
        }
    }

    /// Whether this node knows it, in force or lifted.
    pub fn knows(&self, name: &FreezeName) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it has been lifted.
    pub fn is_lifted(&self, name: &FreezeName) -> bool {
        matches!(self.0.get(name), Some(Known::Lifted))
    }

    /// What it stops, while it is in force.
    pub fn scope(&self, name: &FreezeName) -> Option<&Scope> {
        match self.0.get(name)? {
            Known::InForce(frozen) => Some(&frozen.freeze.scope),
            Known::Lifted => None,
        }
    }

    /// All that are in force, by who made them and their ids.
    pub fn in_force(&self) -> impl Iterator<Item = &Frozen> {
        self.0.values().filter_map(|known| match known {
            Known::InForce(frozen) => Some(&**frozen),
            Known::Lifted => None,
        })
    }

    /// Refuses one more freeze of a node that has too many in force. Those of single keys and those of everything are
    /// counted apart, so that everything can be frozen when no more keys can.
    ///
    /// # Errors
    /// `OVERLOADED`.
    pub fn check_room(&self, by: &NodeName, scope: &Scope) -> Result<(), Refusal> {
        let same = |frozen: &&Frozen| frozen.by == *by && frozen.freeze.scope.as_str() == scope.as_str();
        if self.in_force().filter(same).count() < IN_FORCE_MAX {
            return Ok(());
        }
        let detail = format!("{by} has {IN_FORCE_MAX} freezes in force; freeze everything, or ask another node");
        Err(Refusal::new(Reason::Overloaded).with("detail", detail))
    }

    /// Notes a freeze, after it is durable. One that is known stays what it is.
    pub fn note(&mut self, frozen: Frozen) {
        self.0.entry(frozen.name()).or_insert_with(|| Known::InForce(Box::new(frozen)));
    }

    /// Notes what a majority has lifted, after it is durable.
    pub fn lift(&mut self, unfreeze: &Unfreeze) {
        unfreeze.lifts.iter().for_each(|name| self.note_lifted(name.clone()));
    }

    /// Notes that one freeze is lifted.
    pub fn note_lifted(&mut self, name: FreezeName) {
        self.0.insert(name, Known::Lifted);
    }
}
