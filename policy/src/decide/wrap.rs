//! What rules are asked about KEKs.

use super::{Case, Decision, Fields, text};
use cedar_policy::RestrictedExpression;
use tally_domain::{KekChange, KekNumber, WrapFacts};

const MS_PER_HOUR: u64 = 3_600 * 1_000;

impl Case<'_> {
    pub(super) fn wrap(&self, facts: &WrapFacts<'_>) -> Decision {
        let pairs = facts.context.pairs().map(|(key, value)| text(&format!("{key}={value}")));
        let bytes = i64::try_from(facts.bytes).unwrap_or(i64::MAX);
        let record = vec![
            ("context".into(), RestrictedExpression::new_set(pairs)),
            ("bytes".into(), RestrictedExpression::new_long(bytes)),
            ("plaintext".into(), RestrictedExpression::new_bool(facts.plaintext)),
            ("version".into(), RestrictedExpression::new_long(facts.version.0.into())),
        ];
        self.ask(facts.kind.as_str(), "wrap", record)
    }

    pub(super) fn create_kek(&self) -> Decision {
        self.ask("create_kek", "kek", kek_record("create", KekNumber::FIRST, 0))
    }

    /// A rotation is asked about with the number that the new version will have. Hours are rounded down: a rule that
    /// demands a day gets a day.
    pub(super) fn change_kek(&self, change: KekChange, version: KekNumber) -> Decision {
        let hours = change.delay_ms().unwrap_or(0) / MS_PER_HOUR;
        let hours = i64::try_from(hours).unwrap_or(i64::MAX);
        self.ask("change_kek", "kek", kek_record(change.as_str(), version, hours))
    }
}

fn kek_record(change: &str, version: KekNumber, delay_hours: i64) -> Fields {
    vec![
        ("change".into(), text(change)),
        ("version".into(), RestrictedExpression::new_long(version.0.into())),
        ("delay_hours".into(), RestrictedExpression::new_long(delay_hours)),
    ]
}
