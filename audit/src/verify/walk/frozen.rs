//! What one log says of freezes: nothing that a freeze in force stops is done after it, and every word has its reason.

use super::Walk;
use crate::verify::finding::{FreezeProblem, Problem, Witness};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::boot::Statement;
use tally_domain::dsse::content_digest;
use tally_domain::freeze::{FreezeSpec, Unfreeze, UnfreezeCertificate, UnfreezeSpec};
use tally_domain::{
    Action, Digest, Freeze, FreezeName, Intent, KekNumber, KeyName, NodeName, RequestId, Scope, UnixMillis,
};

/// What a log says of freezes.
#[derive(Default)]
pub(in crate::verify) struct Trace {
    in_force: BTreeMap<FreezeName, Scope>,
    lifted: BTreeSet<FreezeName>,
    /// Words of the log's own node, as digests: signatures carry hints that others may change.
    pub(in crate::verify) own: BTreeSet<Digest>,
    /// Words of other nodes.
    pub(in crate::verify) others: Vec<Word>,
}

/// What another node said, and where it stands.
pub(in crate::verify) struct Word {
    pub(in crate::verify) by: NodeName,
    pub(in crate::verify) digest: Digest,
    pub(in crate::verify) time: UnixMillis,
    pub(in crate::verify) leaf: u64,
}

impl Walk<'_> {
    pub(super) fn frozen(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (by, freeze) = Freeze::open(statement, self.roster).map_err(FreezeProblem::Statement)?;
        let name = FreezeName { by: by.clone(), id: freeze.id };
        let asked = |intent: &Intent| {
            let spec = FreezeSpec::from_bytes(&intent.content);
            intent.action == Action::Freeze && spec.is_ok_and(|spec| spec.scope == freeze.scope)
        };
        let own = by == self.report.node;
        self.word(by, statement);
        if !self.freezes.lifted.contains(&name) {
            self.freezes.in_force.insert(name, freeze.scope.clone());
        }
        if own { self.was_asked(freeze.intent, asked) } else { Ok(()) }
    }

    pub(super) fn unfreezing(&mut self, statement: &Statement) -> Result<(), Problem> {
        let (by, unfreeze) = Unfreeze::open(statement, self.roster).map_err(FreezeProblem::Statement)?;
        if by != self.report.node {
            return Err(FreezeProblem::NotItsOwn { by }.into());
        }
        self.word(by, statement);
        let asked = |intent: &Intent| {
            let spec = UnfreezeSpec::from_bytes(&intent.content);
            intent.action == Action::Unfreeze && spec.is_ok_and(|spec| spec.lifts == unfreeze.lifts)
        };
        self.was_asked(unfreeze.intent, asked)
    }

    pub(super) fn unfrozen(&mut self, certificate: &UnfreezeCertificate) -> Result<(), Problem> {
        let unfreeze = certificate.open(self.roster).map_err(FreezeProblem::NoMajority)?;
        for name in unfreeze.lifts {
            self.freezes.in_force.remove(&name);
            self.freezes.lifted.insert(name);
        }
        let mut missing = Ok(());
        for statement in &certificate.statements {
            let (by, _) = Unfreeze::open(statement, self.roster).map_err(FreezeProblem::Statement)?;
            if by != self.report.node {
                self.word(by, statement);
            } else if !self.freezes.own.contains(&digest(statement)) {
                let shown_by = Witness { node: by.clone(), leaf: self.leaf };
                missing = Err(FreezeProblem::WordRemoved { by, shown_by }.into());
            }
        }
        missing
    }

    /// Nothing is done for a request whose key this node has written down as frozen.
    pub(super) fn is_not_frozen(&self, key: &KeyName, request: RequestId) -> Result<(), Problem> {
        match self.freeze_of(key).cloned() {
            Some(freeze) => Err(FreezeProblem::UsedWhileFrozen { request, key: key.clone(), freeze }.into()),
            None => Ok(()),
        }
    }

    /// Nor does a version of such a KEK come to its end.
    pub(super) fn is_not_destroyed_frozen(&self, kek: &KeyName, number: KekNumber) -> Result<(), Problem> {
        match self.freeze_of(kek).cloned() {
            Some(freeze) => Err(FreezeProblem::DestroyedWhileFrozen { kek: kek.clone(), number, freeze }.into()),
            None => Ok(()),
        }
    }

    fn freeze_of(&self, key: &KeyName) -> Option<&FreezeName> {
        self.freezes.in_force.iter().find(|(_, scope)| scope.covers(key)).map(|(freeze, _)| freeze)
    }

    /// The same for an intent that is known.
    pub(super) fn intent_is_not_frozen(&self, intent: Digest) -> Result<(), Problem> {
        match self.intents.get(&intent) {
            Some(Ok(intent)) => self.is_not_frozen(&intent.key, intent.request_id),
            _ => Ok(()),
        }
    }

    fn word(&mut self, by: NodeName, statement: &Statement) {
        let digest = digest(statement);
        if by == self.report.node {
            self.freezes.own.insert(digest);
        } else {
            self.freezes.others.push(Word { by, digest, time: self.time, leaf: self.leaf });
        }
    }

    /// An own word needs an intent that asks for just that, and a permit of it.
    fn was_asked(&self, digest: Digest, asked: impl Fn(&Intent) -> bool) -> Result<(), Problem> {
        let intent = self.intents.get(&digest).and_then(|intent| intent.as_ref().ok());
        let permitted = intent.is_some_and(|intent| {
            asked(intent) && self.has_permitted(&(intent.tenant.clone(), intent.request_id), digest)
        });
        if permitted { Ok(()) } else { Err(FreezeProblem::NotPermitted.into()) }
    }
}

fn digest(statement: &Statement) -> Digest {
    statement.signed.as_ref().map_or(Digest([0; 32]), content_digest)
}
