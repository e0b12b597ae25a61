//! What a bundle says of a request, and what the request takes of limits, as they are printed.

use crate::output::field;
use crate::words::{lasting, units};
use serde_json::{Value, json};
use tally_client::{JudgementInfo, LimitChargeInfo, Stands};
use tally_domain::UnixMillis;
use tally_policy::span_words;

/// The moment that limits are shown of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As they stand now.
    Now(UnixMillis),
    /// As they stood.
    Then(UnixMillis),
}

/// A judgement: verdict, bundle, and what led to it.
pub fn lines(j: &JudgementInfo, when: When) -> Vec<String> {
    let reason = j.reason.as_deref().map(|r| format!(" {r}")).unwrap_or_default();
    let rules = if j.rules.is_empty() { String::new() } else { format!(" by rule {}", j.rules.join(", ")) };
    let verdict = match j.verdict.as_str() {
        "needs-approval" => "NEED APPROVALS".to_owned(),
        verdict => verdict.to_uppercase(),
    };
    let mut lines = vec![format!("WOULD {verdict}{reason}{rules}")];
    lines.push(field("bundle", format!("version {}, {}", j.bundle.version, j.bundle.digest)));
    lines.extend(fact_lines(j));
    lines.extend(why_lines(j));
    lines.extend(j.charges.iter().map(|c| field("limit", charge(c, when))));
    let full = j.charges.iter().any(|c| c.stands.is_some_and(|stands| stands.full));
    lines.extend((full && j.verdict == "needs-approval").then(|| field("then", WAITS_FOR_ROOM)));
    lines
}

/// Limits are charged when it is signed, not while persons are asked.
const WAITS_FOR_ROOM: &str = "persons can approve it now; it is signed once there is room, unless it expires before";

/// What the node decoded.
pub fn fact_lines(j: &JudgementInfo) -> Vec<String> {
    j.facts.lines().map(|line| field("facts", line.trim())).collect()
}

/// What led to it, without its limits.
pub fn why_lines(j: &JudgementInfo) -> Vec<String> {
    let near = j.near_misses.iter().map(|(rule, condition)| field("near", format!("{rule}: {condition}")));
    let mut lines: Vec<_> = near.collect();
    lines.extend(j.missing.iter().map(|way| field("missing", way)));
    let asked: Vec<_> = j.approvers.iter().map(ToString::to_string).collect();
    lines.extend((!asked.is_empty()).then(|| field("asks", asked.join(", "))));
    lines.extend(j.errors.iter().map(|e| field("error", e)));
    lines
}

/// What is taken of a line, and how the line stands for it.
pub fn charge(c: &LimitChargeInfo, when: When) -> String {
    let by: Vec<_> = c.by.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let line = if by.is_empty() { c.limit.clone() } else { format!("{} for {}", c.limit, by.join(", ")) };
    let of = |n| units(c.decimals, n);
    let takes = format!("{line}: takes {} of {} per {}", of(c.amount), of(c.max), span_words(c.window_ms));
    match (&c.stands, when) {
        (None, _) => takes,
        (Some(stands), When::Now(now)) => {
            format!("{takes}; others have taken {}, {} left{}", of(stands.taken), of(stands.left), room(stands, now))
        }
        (Some(stands), When::Then(then)) => {
            format!(
                "{takes}; others had taken {}, {} was left{}",
                of(stands.taken),
                of(stands.left),
                room(stands, then)
            )
        }
    }
}

fn room(stands: &Stands, at: UnixMillis) -> String {
    match stands.room_at.filter(|room_at| *room_at > at) {
        _ if !stands.full => String::new(),
        Some(room_at) => format!("; NO ROOM, room in {}", lasting(room_at.0 - at.0)),
        None => "; NO ROOM, as other nodes know of more".into(),
    }
}

/// The same for scripts. Numbers are in whole units.
pub fn charge_json(c: &LimitChargeInfo) -> Value {
    let of = |n| units(c.decimals, n);
    let by = c.by.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "limit": c.limit, "by": Value::Object(by), "takes": of(c.amount), "max": of(c.max), "window_ms": c.window_ms,
        "counts": c.decimals.is_none(), "taken": c.stands.map(|s| of(s.taken)), "left": c.stands.map(|s| of(s.left)),
        "full": c.stands.map(|s| s.full), "room_at_ms": c.stands.and_then(|s| s.room_at).map(|at| at.0),
    })
}

/// A judgement for scripts.
pub fn to_json(j: &JudgementInfo) -> Value {
    let near: Vec<_> = j.near_misses.iter().map(|(rule, c)| json!({ "rule": rule, "condition": c })).collect();
    json!({
        "verdict": j.verdict, "reason": j.reason, "version": j.bundle.version, "digest": j.bundle.digest.to_string(),
        "facts": j.facts, "rules": j.rules, "near_misses": near, "missing": j.missing,
        "approvers": j.approvers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "limits": j.charges.iter().map(charge_json).collect::<Vec<_>>(), "errors": j.errors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::Digest;
    use tally_domain::activation::BundleName;

    #[test]
    fn near_misses_are_shown_with_the_condition_that_does_not_hold() {
        let judgement = JudgementInfo {
            verdict: "deny".into(),
            reason: Some("POLICY_DENIED".into()),
            bundle: BundleName { version: 3, digest: Digest([3; 32]) },
            facts: "transfer on eip155:1\n  1001 USDC to 0x70".into(),
            rules: Vec::new(),
            near_misses: vec![
                ("payouts-small".into(), "context.tx.amount.lessThanOrEqual(decimal(\"1000\"))".into()),
                ("payouts-large".into(), "context.tx.to in List::\"vendors\"".into()),
            ],
            missing: Vec::new(),
            approvers: Vec::new(),
            charges: Vec::new(),
            errors: Vec::new(),
        };
        let text = lines(&judgement, When::Now(UnixMillis(0))).join("\n");
        assert!(text.starts_with("WOULD DENY POLICY_DENIED\n"), "{text}");
        let near: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("near")).map(str::trim).collect();
        let first = "payouts-small: context.tx.amount.lessThanOrEqual(decimal(\"1000\"))";
        assert_eq!(near, [first, "payouts-large: context.tx.to in List::\"vendors\""], "the nearest first");
        let json = to_json(&judgement);
        assert_eq!(
            json["near_misses"][1],
            json!({ "rule": "payouts-large", "condition": "context.tx.to in List::\"vendors\"" })
        );
        assert_eq!((&json["verdict"], &json["reason"]), (&json!("deny"), &json!("POLICY_DENIED")));
    }

    #[test]
    fn a_line_says_what_is_taken_what_is_left_and_when_there_is_room() {
        let now = UnixMillis(1_795_298_460_000);
        let stands = Stands { taken: 999_500_000, left: 500_000, full: false, room_at: None };
        let charge_of = |stands| LimitChargeInfo {
            limit: "hot-day".into(),
            by: vec![("key".into(), "hot".into())],
            decimals: Some(6),
            amount: 1_500_000,
            max: 1_000_000_000,
            window_ms: 86_400_000,
            stands,
        };
        let takes = "hot-day for key hot: takes 1.5 of 1000 per 24h";
        assert_eq!(charge(&charge_of(None), When::Now(now)), takes);
        let left = format!("{takes}; others have taken 999.5, 0.5 left");
        assert_eq!(charge(&charge_of(Some(stands)), When::Now(now)), left);
        let full = Stands { full: true, room_at: Some(now.plus(3_600_000)), ..stands };
        let had = format!("{takes}; others had taken 999.5, 0.5 was left; NO ROOM, room in 1 h");
        assert_eq!(charge(&charge_of(Some(full)), When::Then(now)), had);
        let json = charge_json(&charge_of(Some(full)));
        assert_eq!((&json["takes"], &json["left"], &json["full"]), (&json!("1.5"), &json!("0.5"), &json!(true)));
    }
}
