//! Rules in the shape in which a decision asks Cedar about them.
//!
//! Most rules of a bundle share their scope (who, what, with which key) with others, and Cedar alone looks at it again for
//! each rule. Here each scope is a policy of its own, and a rule is asked about only when its scope matches, by its
//! conditions alone. The answers are the same: a rule is its scope `&&` its conditions, and Cedar looks at nothing behind a
//! part that does not hold.

use crate::error::Problem;
use cedar_policy::pst::{self, ActionConstraint, Effect, PrincipalConstraint, ResourceConstraint, Template};
use cedar_policy::{Authorizer, Entities, Policy, PolicyId, PolicySet, Request};
use std::collections::BTreeSet;

/// All scopes of a bundle and the rules of each.
#[derive(Default)]
pub(super) struct Scopes {
    list: Vec<Scope>,
    /// Each as a permit without conditions, named by its number in `list`.
    policies: PolicySet,
}

struct Scope {
    permit: Template,
    id: PolicyId,
    /// Its rules without their scope.
    rules: PolicySet,
}

/// What Cedar said.
#[derive(Default)]
pub(super) struct Matched {
    /// Numbers of the scopes that match.
    pub(super) scopes: BTreeSet<usize>,
    /// Rules that match. Where a forbid of a scope does, no permit of that scope is named.
    pub(super) rules: BTreeSet<String>,
    /// Rules that could not be evaluated.
    pub(super) errors: Vec<String>,
}

impl Scopes {
    /// Takes a rule in and says the number of its scope.
    pub(super) fn add(&mut self, rule: &Policy) -> Result<usize, Problem> {
        let internal = || Problem::Internal { what: "scope of a rule" };
        let whole = rule.to_pst().map_err(|_| internal())?;
        let whole = whole.body();
        let permit = Template::new(
            "scope",
            Effect::Permit,
            whole.principal.clone(),
            whole.action.clone(),
            whole.resource.clone(),
        );
        let everything = (PrincipalConstraint::Any, ActionConstraint::Any, ResourceConstraint::Any);
        let conditions = Template::new(whole.id.clone(), whole.effect, everything.0, everything.1, everything.2)
            .try_with_clauses(whole.clauses().iter().cloned())
            .map_err(|_| internal())?;
        let known = self.list.iter().position(|scope| scope.permit == permit);
        let number = known.map_or_else(|| self.new_scope(permit).ok_or_else(internal), Ok)?;
        let scope = self.list.get_mut(number).ok_or_else(internal)?;
        scope.rules.add(policy(conditions).ok_or_else(internal)?).map_err(|_| internal())?;
        Ok(number)
    }

    fn new_scope(&mut self, permit: Template) -> Option<usize> {
        let number = self.list.len();
        let id = PolicyId::new(number.to_string());
        self.policies.add(policy(permit.clone())?.new_id(id.clone())).ok()?;
        self.list.push(Scope { permit, id, rules: PolicySet::new() });
        Some(number)
    }

    /// Asks about all rules.
    pub(super) fn ask(&self, request: &Request, entities: &Entities) -> Matched {
        let mut matched = Matched::default();
        let scopes = matched.ask(request, &self.policies, entities);
        for (number, scope) in self.list.iter().enumerate().filter(|(_, scope)| scopes.contains(&scope.id)) {
            matched.scopes.insert(number);
            let rules = matched.ask(request, &scope.rules, entities);
            matched.rules.extend(rules.iter().map(ToString::to_string));
        }
        matched
    }
}

impl Matched {
    /// Notes the errors and gives the policies that decide.
    fn ask(&mut self, request: &Request, policies: &PolicySet, entities: &Entities) -> BTreeSet<PolicyId> {
        let response = Authorizer::new().is_authorized(request, policies, entities);
        self.errors.extend(response.diagnostics().errors().map(ToString::to_string));
        response.diagnostics().reason().cloned().collect()
    }
}

fn policy(body: Template) -> Option<Policy> {
    Policy::from_pst(pst::Policy::Static(pst::StaticPolicy::try_from(body).ok()?)).ok()
}
