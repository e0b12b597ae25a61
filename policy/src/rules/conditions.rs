//! The conditions of all rules, to say which one does not hold. Rules share many of them, so each is kept once, and of one
//! request each is asked about at most once.

use super::source::{ConditionText, Readable};
use crate::error::Problem;
use cedar_policy::{Entities, EvalResult, Expression, Request, eval_expression};
use std::collections::BTreeMap;
use std::str::FromStr;

/// All conditions of a bundle.
#[derive(Default)]
pub(super) struct Conditions {
    list: Vec<Condition>,
    numbers: BTreeMap<String, usize>,
}

struct Condition {
    shown: String,
    expression: Expression,
}

/// What is known about one request.
pub(super) struct Asked<'a> {
    conditions: &'a Conditions,
    request: &'a Request,
    entities: &'a Entities,
    /// Whether each holds, where it has been looked at.
    known: Vec<Option<bool>>,
}

impl Conditions {
    /// Takes a condition in and says its number.
    pub(super) fn add(&mut self, text: ConditionText) -> Result<usize, Problem> {
        if let Some(known) = self.numbers.get(&text.shown) {
            return Ok(*known);
        }
        let expression = Expression::from_str(&Readable::new(&text.expression).text)
            .map_err(|_| Problem::Internal { what: "condition of a rule" })?;
        let number = self.list.len();
        self.numbers.insert(text.shown.clone(), number);
        self.list.push(Condition { shown: text.shown, expression });
        Ok(number)
    }

    /// The condition of this number in the author's words.
    pub(super) fn shown(&self, number: usize) -> &str {
        self.list.get(number).map_or("", |condition| &condition.shown)
    }

    pub(super) fn ask<'a>(&'a self, request: &'a Request, entities: &'a Entities) -> Asked<'a> {
        Asked { conditions: self, request, entities, known: vec![None; self.list.len()] }
    }
}

impl Asked<'_> {
    /// Whether the condition of this number holds. One that cannot be evaluated does not.
    pub(super) fn holds(&mut self, number: usize) -> bool {
        let (Some(condition), Some(known)) = (self.conditions.list.get(number), self.known.get_mut(number)) else {
            return false;
        };
        *known.get_or_insert_with(|| {
            let value = eval_expression(self.request, self.entities, &condition.expression);
            matches!(value, Ok(EvalResult::Bool(true)))
        })
    }
}
