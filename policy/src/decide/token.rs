//! What rules are asked about token domains.

use super::{Case, Decision, text};
use cedar_policy::RestrictedExpression;
use tally_domain::token::{DomainFacts, TokenFacts};

impl Case<'_> {
    pub(super) fn token(&self, facts: &TokenFacts<'_>) -> Decision {
        let record = vec![
            ("purpose".into(), text(facts.purpose)),
            ("form".into(), text(facts.form)),
            ("rows".into(), RestrictedExpression::new_long(facts.rows.into())),
        ];
        self.ask(facts.rule_action(), "token", record)
    }

    pub(super) fn manage_domain(&self, facts: &DomainFacts<'_>) -> Decision {
        let record = vec![
            ("change".into(), text(facts.change)),
            ("key".into(), text(facts.key)),
            ("mode".into(), text(facts.mode)),
            ("format".into(), text(facts.format)),
        ];
        self.ask("manage_domain", "domain", record)
    }
}
