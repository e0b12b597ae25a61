//! How rules use a list, read from Cedar's JSON of them: whether an entry more, or less, can only deny more.

use crate::rules::{Effect, Rule};
use serde_json::Value;

/// How a list is used by all rules together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListUse {
    /// By no rule.
    Nowhere,
    /// By permits only, which ask that something is in it: an entry less permits less.
    Allow,
    /// By forbids only, which ask that something is in it: an entry more forbids more.
    Deny,
    /// By both, negated, or in a way that is not followed here.
    Mixed,
}

impl ListUse {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nowhere, used) | (used, Self::Nowhere) => used,
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }
}

/// How these rules use the list of that name.
pub(super) fn of(rules: &[Rule], name: &str) -> ListUse {
    rules.iter().map(|rule| by_rule(rule, name)).fold(ListUse::Nowhere, ListUse::and)
}

/// Whether evaluating the rule can end in an error: in strict mode only arithmetic can, by overflow. An error denies, so
/// that taking such a permit away could permit.
pub(super) fn can_fail(meaning: &Value) -> bool {
    match meaning {
        Value::Object(fields) => {
            let arithmetic = fields.keys().any(|key| matches!(key.as_str(), "+" | "-" | "*" | "neg"));
            arithmetic || fields.values().any(can_fail)
        }
        Value::Array(items) => items.iter().any(can_fail),
        _ => false,
    }
}

fn by_rule(rule: &Rule, name: &str) -> ListUse {
    let conditions = rule.meaning.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sign = |condition: &Value| match condition.get("kind").and_then(Value::as_str) {
        Some("when") => Sign::Plain,
        _ => Sign::Other,
    };
    let used = |condition: &Value| uses(condition.get("body").unwrap_or(&Value::Null), name, sign(condition));
    let signs: Vec<Sign> = conditions.iter().flat_map(used).collect();
    match rule.effect {
        _ if signs.is_empty() => ListUse::Nowhere,
        _ if signs.contains(&Sign::Other) => ListUse::Mixed,
        // With an entry less, a part that fails might no longer be looked at, and what it denied be permitted.
        Effect::Permit if can_fail(&rule.meaning) => ListUse::Mixed,
        Effect::Permit => ListUse::Allow,
        Effect::Forbid => ListUse::Deny,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// The condition holds rather when something is in the list.
    Plain,
    /// It does not, or nobody can tell.
    Other,
}

/// Each use of the list in an expression.
fn uses(expression: &Value, name: &str, sign: Sign) -> Vec<Sign> {
    let Value::Object(fields) = expression else { return mentions(expression, name) };
    let part = |of: &Value, side: &str| of.get(side).cloned().unwrap_or(Value::Null);
    let found = fields.iter().flat_map(|(operator, of)| match operator.as_str() {
        "&&" | "||" => {
            let mut both = uses(&part(of, "left"), name, sign);
            both.extend(uses(&part(of, "right"), name, sign));
            both
        }
        "in" => {
            let right = mentions(&part(of, "right"), name).into_iter().map(|_| sign);
            right.chain(mentions(&part(of, "left"), name)).collect()
        }
        _ => mentions(of, name),
    });
    found.collect()
}

/// Each place where the list is named, whatever it is there for.
fn mentions(value: &Value, name: &str) -> Vec<Sign> {
    match value {
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            let named = text("type") == Some("List") && text("id") == Some(name);
            let own = named.then_some(Sign::Other);
            own.into_iter().chain(fields.values().flat_map(|v| mentions(v, name))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|v| mentions(v, name)).collect(),
        _ => Vec::new(),
    }
}
