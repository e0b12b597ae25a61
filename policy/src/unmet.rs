//! Permits whose approvals nobody can give for some client: who operates it does not approve, and the others are too few.

use crate::approvals::Approvals;
use crate::bundle::{Bundle, Quorum};
use crate::rules::Rule;
use cedar_policy::{EntityUid, Policy, PrincipalConstraint};
use std::collections::BTreeSet;
use tally_domain::{ClientId, PersonName};

/// What a client asks under a permit and never gets, whoever approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The permit.
    pub rule: String,
    /// The client that asks.
    pub client: ClientId,
    /// What the permit asks of a group.
    pub asked: Quorum,
    /// How many of these are missing when everyone has approved who may.
    pub missing: usize,
    /// Whom the permit could ask but for their operating the client.
    pub operators: Vec<PersonName>,
}

impl Bundle {
    /// Every permit, client and group of which too few persons are left. Only a rule's scope is looked at: one whose
    /// conditions leave the client out is named all the same.
    pub fn unmet(&self) -> Vec<Unmet> {
        let asking = self.rules_in_full().iter().filter(|rule| !rule.approvals.is_empty());
        asking.flat_map(|rule| self.clients_of(rule).flat_map(|client| self.unmet_for(rule, client))).collect()
    }

    fn unmet_for(&self, rule: &Rule, client: &ClientId) -> Vec<Unmet> {
        let everyone: BTreeSet<_> = self.groups.persons().map(|(name, _)| name.clone()).collect();
        let missing = Approvals::supposed(everyone, BTreeSet::new()).missing(self, client, &rule.approvals);
        let is_asked = |name: &PersonName| {
            let mut groups = rule.approvals.iter().filter_map(|asked| self.groups.group(&asked.group));
            groups.any(|persons| persons.contains(name))
        };
        let operators: Vec<_> =
            self.operators(client).into_iter().map(|(name, _)| name).filter(|name| is_asked(name)).collect();
        let unmet = |missing: Quorum| {
            let asked = rule.approvals.iter().find(|asked| asked.group == missing.group)?.clone();
            let (rule, client, operators) = (rule.id.clone(), client.clone(), operators.clone());
            Some(Unmet { rule, client, asked, missing: missing.needed, operators })
        };
        missing.into_iter().filter_map(unmet).collect()
    }

    /// The clients that a rule's scope takes in; all where it cannot be read, because this only warns.
    fn clients_of(&self, rule: &Rule) -> impl Iterator<Item = &ClientId> {
        let policy = Policy::from_json(None, rule.meaning.clone());
        let scope = policy.map_or(PrincipalConstraint::Any, |policy| policy.principal_constraint());
        let is_in =
            |client: &EntityUid, group: &EntityUid| client == group || self.entities.is_ancestor_of(group, client);
        let takes_in = move |id: &ClientId| {
            let client = self.vocabulary.client(id.as_str());
            match &scope {
                PrincipalConstraint::Any => true,
                PrincipalConstraint::Eq(only) => client == *only,
                PrincipalConstraint::In(group) => is_in(&client, group),
                PrincipalConstraint::Is(kind) => client.type_name() == kind,
                PrincipalConstraint::IsIn(kind, group) => client.type_name() == kind && is_in(&client, group),
            }
        };
        self.roster().clients.iter().map(|client| &client.id).filter(move |id| takes_in(id))
    }
}
