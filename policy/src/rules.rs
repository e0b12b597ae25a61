//! `policy.cedar`: rules that Cedar accepts against the schema, that say nothing we would ignore, and that name only
//! what exists.

mod conditions;
mod references;
mod scopes;
mod source;

pub(crate) use references::Known;
pub(crate) use source::numbers as rule_numbers;

use crate::bundle::{Groups, Quorum, is_call, parse_quorums, plain_name};
use crate::error::{BundleError, Problem};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, Entities, Policy, PolicyId, PolicySet, Request, Schema, ValidationMode, Validator,
};
use conditions::Conditions;
use scopes::Scopes;
use source::{Readable, Token};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::str::FromStr;

/// Most rules of a bundle. A decision looks at each: 1,000 take about two milliseconds, less than an ECDSA signature.
pub const RULES_MAX: usize = 1_000;

/// Longest rule that a person still reads.
pub const RULE_MAX_BYTES: usize = 8 * 1024;

/// Deepest expression of a rule (S-2.2 step 12), counted in brackets, operators that join, and links of an attribute.
/// Cedar recurses over it, in a debug build with up to 50 KiB of stack a level: where the stack runs short its parser
/// aborts, its validator *passes* the rule, and its evaluator gives an error. At this depth all three fit into the 2 MiB
/// of a worker thread with room to spare. Many destinations belong into a list.
pub const DEPTH_MAX: usize = 24;

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Permits, unless something forbids.
    Permit,
    /// Forbids, whatever permits.
    Forbid,
}

/// All rules, ready to decide and to explain.
pub(crate) struct Rules {
    list: Vec<Rule>,
    scopes: Scopes,
    conditions: Conditions,
}

/// A rule.
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What it does.
    pub effect: Effect,
    /// Who must approve; empty for a rule that asks nobody.
    pub approvals: Vec<Quorum>,
    /// What it says, in Cedar's JSON, without annotations.
    pub meaning: serde_json::Value,
    /// Its scope's number in [`Scopes`].
    scope: usize,
    /// The numbers of its conditions in [`Conditions`], in its order.
    conditions: Vec<usize>,
}

/// What Cedar said.
pub(crate) struct Answer<'a> {
    /// Whether a permit matched and no forbid did.
    pub(crate) permitted: bool,
    /// The permits or forbids that decided, in the order of the file.
    pub(crate) decided_by: Vec<&'a Rule>,
    /// Rules that could not be evaluated.
    pub(crate) errors: Vec<String>,
    /// Numbers of the scopes that match.
    scopes: BTreeSet<usize>,
}

/// The text of the file while it is checked.
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn error(&self, byte: usize, problem: Problem) -> BundleError {
        BundleError::at(self.name, self.text, byte, problem)
    }

    /// Cedar's error about text that starts at `base`.
    fn cedar(&self, base: usize, readable: &Readable, e: &DetailedError) -> BundleError {
        let byte = e.source_locations.first().map_or(0, |label| readable.original(label.loc.start));
        self.error(base + byte, Problem::Cedar { message: e.message.clone(), help: e.help.clone() })
    }
}

/// One rule while it is checked.
struct Draft<'a> {
    tokens: &'a [Token<'a>],
    start: usize,
    readable: Readable,
    id: String,
    approvals: Vec<Quorum>,
    policy: Policy,
}

impl Rules {
    pub(crate) fn load(name: &str, text: &str, schema: &Schema, known: &Known<'_>) -> Result<Self, BundleError> {
        let file = File { name, text };
        let tokens = source::tokens(text);
        let pieces = source::rules(&tokens);
        check_sizes(&file, &pieces)?;
        check_syntax(&file, &tokens, pieces.len())?;
        let drafts = pieces.into_iter().map(|p| draft(&file, known.approvers, p)).collect::<Result<Vec<_>, _>>()?;
        let mut ids = BTreeSet::new();
        let mut policies = PolicySet::new();
        for d in &drafts {
            let duplicate = || Problem::Duplicate { what: "rule", value: d.id.clone() };
            if !ids.insert(&d.id) {
                return Err(file.error(source::annotation(d.tokens, "id").unwrap_or(d.start), duplicate()));
            }
            policies.add(d.policy.clone()).map_err(|_| file.error(d.start, duplicate()))?;
        }
        validate(&file, schema, &policies, &drafts)?;
        for d in &drafts {
            check_references(&file, known, d)?;
        }
        let mut rules = Self { list: Vec::new(), scopes: Scopes::default(), conditions: Conditions::default() };
        for d in &drafts {
            let rule = rules.rule(d).map_err(|problem| file.error(d.start, problem))?;
            rules.list.push(rule);
        }
        Ok(rules)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Effect)> {
        self.list.iter().map(|r| (r.id.as_str(), r.effect))
    }

    /// All rules, in the order of the file.
    pub(crate) fn list(&self) -> &[Rule] {
        &self.list
    }

    /// Default deny, and a forbid wins: what [`cedar_policy::Authorizer`] says of all rules at once.
    pub(crate) fn ask(&self, request: &Request, entities: &Entities) -> Answer<'_> {
        let mut matched = self.scopes.ask(request, entities);
        matched.errors.sort();
        let is = |effect| move |rule: &&Rule| rule.effect == effect;
        let rules = self.list.iter().filter(|rule| matched.rules.contains(&rule.id));
        let forbids: Vec<_> = rules.clone().filter(is(Effect::Forbid)).collect();
        let permitted = forbids.is_empty() && rules.clone().next().is_some();
        let decided_by = if forbids.is_empty() { rules.collect() } else { forbids };
        Answer { permitted, decided_by, errors: matched.errors, scopes: matched.scopes }
    }

    /// For every permit whose scope matches, the first condition that does not hold: (rule, condition). The permit that
    /// came nearest, by how much of it holds before that, comes first.
    pub(crate) fn near_misses(&self, answer: &Answer<'_>, request: &Request, entities: &Entities) -> Vec<(&str, &str)> {
        let mut asked = self.conditions.ask(request, entities);
        let near = self.list.iter().filter(|r| r.effect == Effect::Permit && answer.scopes.contains(&r.scope));
        let mut misses: Vec<_> = near
            .filter_map(|rule| {
                let (met, failed) = rule.conditions.iter().enumerate().find(|(_, c)| !asked.holds(**c))?;
                Some((met, (rule.id.as_str(), self.conditions.shown(*failed))))
            })
            .collect();
        misses.sort_by_key(|(met, _)| Reverse(*met));
        misses.into_iter().map(|(_, miss)| miss).collect()
    }

    fn rule(&mut self, draft: &Draft<'_>) -> Result<Rule, Problem> {
        let effect = match draft.policy.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        };
        let mut meaning = draft.policy.to_json().map_err(|_| Problem::Internal { what: "rule as JSON" })?;
        if let Some(fields) = meaning.as_object_mut() {
            fields.remove("annotations");
        }
        let conditions = source::conditions(draft.tokens).into_iter().map(|c| self.conditions.add(c));
        Ok(Rule {
            id: draft.id.clone(),
            effect,
            approvals: draft.approvals.clone(),
            meaning,
            conditions: conditions.collect::<Result<_, _>>()?,
            scope: self.scopes.add(&draft.policy)?,
        })
    }
}

/// Bounds what Cedar's recursive parser is given.
fn check_sizes(file: &File<'_>, pieces: &[&[Token<'_>]]) -> Result<(), BundleError> {
    let start = |tokens: &[Token<'_>]| tokens.first().map_or(0, |t| t.start);
    if let Some(first_too_many) = pieces.get(RULES_MAX) {
        let problem = Problem::TooLarge { what: "the number of rules", limit: RULES_MAX };
        return Err(file.error(start(first_too_many), problem));
    }
    for tokens in pieces {
        if source::span(file.text, tokens).len() > RULE_MAX_BYTES {
            let problem = Problem::TooLarge { what: "the rule's size in bytes", limit: RULE_MAX_BYTES };
            return Err(file.error(start(tokens), problem));
        }
        if source::depth(tokens) > DEPTH_MAX {
            let what = "the rule's depth (brackets, operators and links of an attribute)";
            let problem = Problem::TooLarge { what, limit: DEPTH_MAX };
            return Err(file.error(start(tokens), problem));
        }
    }
    Ok(())
}

/// Lets Cedar read the file as a whole, so that a syntax error is placed where the author made it.
fn check_syntax(file: &File<'_>, tokens: &[Token<'_>], pieces: usize) -> Result<(), BundleError> {
    let readable = Readable::new(file.text);
    let set = PolicySet::from_str(&readable.text).map_err(|e| file.cedar(0, &readable, &DetailedError::from(&e)))?;
    if set.num_of_templates() > 0 {
        let slot = tokens.iter().find(|t| t.text == "?").map_or(0, |t| t.start);
        return Err(file.error(slot, Problem::Template));
    }
    if set.num_of_policies() != pieces {
        return Err(BundleError::whole(file.name, Problem::Internal { what: "rules are counted differently" }));
    }
    Ok(())
}

fn draft<'a>(file: &File<'_>, approvers: &Groups, tokens: &'a [Token<'a>]) -> Result<Draft<'a>, BundleError> {
    let start = tokens.first().map_or(0, |t| t.start);
    let readable = Readable::new(source::span(file.text, tokens));
    let policy =
        Policy::parse(None, &readable.text).map_err(|e| file.cedar(start, &readable, &DetailedError::from(&e)))?;
    for (name, _) in policy.annotations() {
        if !matches!(name, "id" | "description" | "approvals") {
            let at = source::annotation(tokens, name).unwrap_or(start);
            return Err(file.error(at, Problem::UnknownAnnotation { name: name.into() }));
        }
    }
    let id = policy.annotation("id").ok_or_else(|| file.error(start, Problem::NoId))?;
    let id = plain_name(id).ok_or_else(|| {
        let want = "1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_`, `-`";
        let problem = Problem::Value { what: "rule id", given: id.into(), want };
        file.error(source::annotation(tokens, "id").unwrap_or(start), problem)
    })?;
    let permits_all = policy.effect() == cedar_policy::Effect::Permit;
    if permits_all && policy.action_constraint() == ActionConstraint::Any {
        return Err(file.error(start, Problem::PermitAnyAction));
    }
    let approvals = approvals(&policy, approvers)
        .map_err(|problem| file.error(source::annotation(tokens, "approvals").unwrap_or(start), problem))?;
    let policy = policy.new_id(PolicyId::new(&id));
    Ok(Draft { tokens, start, readable, id, approvals, policy })
}

fn approvals(policy: &Policy, approvers: &Groups) -> Result<Vec<Quorum>, Problem> {
    match policy.annotation("approvals") {
        None => Ok(Vec::new()),
        Some(_) if policy.effect() == cedar_policy::Effect::Forbid => Err(Problem::ForbidWithApprovals),
        Some(text) => match unsigned_action(policy) {
            Some(action) => Err(Problem::ApprovalsOfAction { action }),
            None => parse_quorums(text, approvers),
        },
    }
}

/// An action of a permit for which no node waits. A request to sign or to reveal says all that is done, and is the same when
/// persons have approved it; what else is asked for is done while the client is there, or not at all.
fn unsigned_action(policy: &Policy) -> Option<String> {
    let actions = match policy.action_constraint() {
        ActionConstraint::Any => Vec::new(),
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    let mut names = actions.iter().map(|action| action.id().unescaped().to_owned());
    names.find(|name| name != "sign" && !name.starts_with("sign_") && !is_call(name) && name != "reveal")
}

/// Strict validation. A warning is an error here: a rule that can never match does not do what its author meant.
fn validate(file: &File<'_>, schema: &Schema, set: &PolicySet, drafts: &[Draft<'_>]) -> Result<(), BundleError> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|e| (e.policy_id(), DetailedError::from(e)));
    let warnings = result.validation_warnings().map(|w| (w.policy_id(), DetailedError::from(w)));
    let found = errors.chain(warnings).filter_map(|(id, e)| {
        let position = drafts.iter().position(|d| PolicyId::new(&d.id) == *id)?;
        let draft = drafts.get(position)?;
        let breadth = e.source_locations.first().map_or(usize::MAX, |l| l.loc.end.saturating_sub(l.loc.start));
        Some(((position, breadth), file.cedar(draft.start, &draft.readable, &e)))
    });
    // The first in the file, and of one rule the one that Cedar places best: one bundle always gives one error.
    let first = found.min_by_key(|(order, e)| (*order, e.place.map(|p| (p.line, p.column))));
    match first {
        Some((_, e)) => Err(e),
        None if result.validation_passed() => Ok(()),
        None => Err(BundleError::whole(file.name, Problem::Internal { what: "validation" })),
    }
}

fn check_references(file: &File<'_>, known: &Known<'_>, draft: &Draft<'_>) -> Result<(), BundleError> {
    let internal = |_| file.error(draft.start, Problem::Internal { what: "rule as JSON" });
    let json = draft.policy.to_json().map_err(internal)?;
    match references::first_unknown(&json, known) {
        Some(wrong) => {
            let at = source::string(draft.tokens, &wrong.name).unwrap_or(draft.start);
            Err(file.error(at, wrong.problem))
        }
        None => Ok(()),
    }
}
