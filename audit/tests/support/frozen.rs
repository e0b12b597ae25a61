//! Freezes in the cluster of [`World`].

use super::world::*;
use std::collections::BTreeSet;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::freeze::{FreezeSpec, Unfreeze, UnfreezeCertificate, UnfreezeSpec};
use tally_domain::*;

pub fn freeze_name(i: usize, id: u8) -> FreezeName {
    FreezeName { by: node_name(i), id: FreezeId([id; 16]) }
}

pub fn of_key(name: &str) -> Scope {
    Scope::Key(key_name(name))
}

impl World {
    /// Request `n`, to freeze.
    pub fn freeze_intent(&self, n: u8, scope: &Scope) -> Intent {
        Intent {
            action: Action::Freeze,
            kind: ContentKind::FreezeSpec,
            key: scope.intent_key().unwrap(),
            content: FreezeSpec { scope: scope.clone() }.to_bytes(),
            path: DerivationPath::default(),
            ..self.intent(n, NOTES)
        }
    }

    /// Request `n`, to lift freezes.
    pub fn unfreeze_intent(&self, n: u8, scope: &Scope, lifts: &[FreezeName]) -> Intent {
        let lifts: BTreeSet<_> = lifts.iter().cloned().collect();
        Intent {
            action: Action::Unfreeze,
            kind: ContentKind::UnfreezeSpec,
            content: UnfreezeSpec { scope: scope.clone(), lifts }.to_bytes(),
            ..self.freeze_intent(n, scope)
        }
    }

    /// The word of node `i` that it freezes, under id `n`, for request `n`.
    pub fn freeze_word(&self, i: usize, n: u8, scope: &Scope) -> Statement {
        let freeze = Freeze {
            cluster: self.roster.cluster.clone(),
            scope: scope.clone(),
            id: FreezeId([n; 16]),
            intent: self.freeze_intent(n, scope).digest(),
            time: UnixMillis(1_000),
        };
        freeze.sign(&self.boots[i].0, &self.boots[i].1)
    }

    pub fn frozen(&self, i: usize, n: u8, scope: &Scope) -> What {
        What::Frozen { statement: self.freeze_word(i, n, scope) }
    }

    /// The word of node `i` for what an intent asks.
    pub fn unfreeze_word(&self, i: usize, intent: &Intent) -> Statement {
        let lifts = UnfreezeSpec::from_bytes(&intent.content).unwrap().lifts;
        let unfreeze = Unfreeze { cluster: self.roster.cluster.clone(), intent: intent.digest(), lifts };
        unfreeze.sign(&self.boots[i].0, &self.boots[i].1)
    }

    pub fn unfreezing(&self, i: usize, intent: &Intent) -> What {
        What::Unfreezing { statement: self.unfreeze_word(i, intent) }
    }

    pub fn unfrozen(&self, intent: &Intent, by: &[usize]) -> What {
        let statements = by.iter().map(|i| self.unfreeze_word(*i, intent)).collect();
        What::Unfrozen { certificate: UnfreezeCertificate { statements } }
    }
}
