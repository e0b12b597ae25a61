//! `tally policy explain`: why each node decided about a request as it did, what persons said of it, how limits stood, and
//! where it stands.

use super::judgement::{When, charge, charge_json, fact_lines, to_json as judgement_json, why_lines};
use super::read;
use crate::output::{Shown, field};
use crate::profile::ProfileArg;
use crate::words::{lasting, utc};
use serde_json::{Value, json};
use tally_client::{DecidedInfo, ExplainedInfo, HeardInfo, OutcomeInfo};
use tally_domain::{Reason, RequestId, UnixMillis};

/// `tally policy explain ID`
pub async fn run(profile: &ProfileArg, id: RequestId) -> anyhow::Result<Shown> {
    let client = profile.client()?;
    let mut told: Vec<(String, ExplainedInfo)> = Vec::new();
    let mut trouble = None;
    // Each node decided by itself.
    for one in (0..client.endpoints().count()).filter_map(|i| client.only(i)) {
        let name = one.endpoints().next().unwrap_or_default().to_owned();
        match one.once().explain(id).await {
            Ok(explained) => told.push((name, explained)),
            Err(error) => trouble = Some(error),
        }
    }
    match trouble {
        Some(error) if told.is_empty() => Err(error.into()),
        _ => Ok(shown(id, &told, read::now())),
    }
}

fn shown(id: RequestId, told: &[(String, ExplainedInfo)], now: UnixMillis) -> Shown {
    let outcome = told.iter().filter_map(|(_, explained)| explained.outcome.as_ref()).min_by_key(|o| rank(o));
    let mut lines = vec![format!("{id}: {}", outcome.map_or("decided".into(), |o| outcome_words(o, now)))];
    lines.extend(outcome.iter().flat_map(|o| o.missing.iter().map(|way| field("missing", way))));
    for (node, explained) in told {
        lines.extend(node_lines(node, explained, now));
    }
    let decisions = told.iter().flat_map(|(node, e)| e.decisions.iter().map(|d| decided_json(node, d)));
    let nodes = told.iter().map(|(node, e)| {
        json!({
            "node": node, "outcome": e.outcome.as_ref().map(outcome_json),
            "said": e.said.iter().map(heard_json).collect::<Vec<_>>(),
        })
    });
    let document = json!({
        "request_id": id.to_string(), "outcome": outcome.map(outcome_json), "nodes": nodes.collect::<Vec<_>>(),
        "decisions": decisions.collect::<Vec<_>>(),
    });
    Shown::done(lines.join("\n"), document)
}

/// Which node's word says most: one that has the result, then one that knows of a rejection or a cancellation, then one that leads.
fn rank(outcome: &OutcomeInfo) -> usize {
    let order = ["completed", "rejected", "cancelled", "expired", "approved", "awaiting-approval", "refused", "denied"];
    order.iter().position(|state| *state == outcome.state).unwrap_or(order.len())
}

/// Where a request stands, in words.
fn outcome_words(o: &OutcomeInfo, now: UnixMillis) -> String {
    // A state that is a reason is said once.
    let reason = o.reason.as_deref().filter(|reason| !reason.eq_ignore_ascii_case(&o.state));
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let limit = o.limit.as_deref().map(|limit| format!(", limit {limit} has no room")).unwrap_or_default();
    let room = o.room_at.map(|at| format!("; room in {}", lasting(at.0.saturating_sub(now.0)))).unwrap_or_default();
    match o.state.as_str() {
        "approved" if reason.is_empty() => "APPROVED, not signed yet".into(),
        "approved" => format!("APPROVED, not signed yet:{reason}{limit}{room}"),
        "received" => "RECEIVED, no result yet".into(),
        state => format!("{}{reason}{limit}{room}", state.to_uppercase().replace('-', " ")),
    }
}

fn node_lines(node: &str, explained: &ExplainedInfo, now: UnixMillis) -> Vec<String> {
    let mut lines = Vec::new();
    match &explained.outcome {
        Some(outcome) => lines.push(format!("{node}: {}", outcome_words(outcome, now))),
        None => lines.push(format!("{node}: has voted on it; its home tells what became of it")),
    }
    // In the order of the log; what was decoded is said once, for it does not change.
    let mut told: Vec<(u64, Vec<String>)> = Vec::new();
    for (nth, decided) in explained.decisions.iter().enumerate() {
        told.push((decided.leaf, decided_lines(decided, nth == 0)));
    }
    told.extend(explained.said.iter().map(|heard| (heard.leaf, vec![heard_line(heard)])));
    told.sort_by_key(|(leaf, _)| *leaf);
    lines.extend(told.into_iter().flat_map(|(_, lines)| lines));
    lines
}

fn decided_lines(d: &DecidedInfo, with_facts: bool) -> Vec<String> {
    let verdict = match d.reason.as_deref() {
        Some(reason) if reason == Reason::ApprovalsRequired.as_str() => "needs approvals".to_owned(),
        Some(reason) => format!("{} {reason}", d.verdict),
        None => d.verdict.clone(),
    };
    let mut lines = vec![field("decided", format!("{verdict} at {}, brought by {}", utc(d.time), d.from))];
    lines.push(field("bundle", d.bundle));
    lines.extend(d.rule.as_ref().map(|rule| field("rule", rule)));
    lines.extend(d.condition.as_ref().map(|condition| field("condition", condition)));
    match &d.again {
        Some(again) => {
            lines.extend(with_facts.then(|| fact_lines(again)).into_iter().flatten());
            lines.extend(why_lines(again));
        }
        None if with_facts => lines.push(field("facts", &d.summary)),
        None => {}
    }
    // What was not written down is what the bundle of that time says.
    let written = !d.limits.is_empty();
    let charges = if written { &d.limits } else { d.again.as_ref().map_or(&d.limits, |again| &again.charges) };
    lines.extend(charges.iter().map(|c| field("limit", charge(c, When::Then(d.time)))));
    lines
}

fn heard_line(h: &HeardInfo) -> String {
    let counts = h.void.as_deref().map_or("counts".to_owned(), |why| format!("void: {why}"));
    field(&h.verdict, format!("by {} at {}; {counts}", h.person, utc(h.at)))
}

fn outcome_json(o: &OutcomeInfo) -> Value {
    json!({
        "state": o.state, "reason": o.reason, "limit": o.limit, "room_at_ms": o.room_at.map(|at| at.0), "missing": o.missing,
    })
}

fn heard_json(h: &HeardInfo) -> Value {
    json!({
        "person": h.person.as_str(), "verdict": h.verdict, "at_ms": h.at.0, "leaf": h.leaf, "bundle": h.bundle.to_string(),
        "counts": h.void.is_none(), "void": h.void,
    })
}

fn decided_json(node: &str, d: &DecidedInfo) -> Value {
    json!({
        "node": node, "leaf": d.leaf, "time_ms": d.time.0, "from": d.from, "bundle": d.bundle.to_string(),
        "verdict": d.verdict, "reason": d.reason, "rule": d.rule, "condition": d.condition, "summary": d.summary,
        "again": d.again.as_ref().map(judgement_json), "limits": d.limits.iter().map(charge_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_request_stands_is_said_in_words() {
        let now = UnixMillis(1_795_298_460_000);
        let outcome = |state: &str, reason: Option<&str>| OutcomeInfo {
            state: state.into(),
            reason: reason.map(str::to_owned),
            limit: None,
            room_at: None,
            missing: Vec::new(),
        };
        let full = OutcomeInfo {
            limit: Some("hour".into()),
            room_at: Some(now.plus(90_000)),
            ..outcome("approved", Some("VELOCITY_LIMIT"))
        };
        let approved = "APPROVED, not signed yet: VELOCITY_LIMIT, limit hour has no room; room in 1 min 30 s";
        assert_eq!(outcome_words(&full, now), approved);
        assert_eq!(outcome_words(&outcome("approved", None), now), "APPROVED, not signed yet");
        assert_eq!(outcome_words(&outcome("refused", Some("VELOCITY_LIMIT")), now), "REFUSED VELOCITY_LIMIT");
        assert_eq!(outcome_words(&outcome("expired", Some("EXPIRED")), now), "EXPIRED");
        let waits = outcome("awaiting-approval", Some("APPROVALS_REQUIRED"));
        assert_eq!(outcome_words(&waits, now), "AWAITING APPROVAL APPROVALS_REQUIRED");
        // Whoever has the result knows more than whoever still waits.
        let all = [waits, outcome("received", None), outcome("completed", None), full];
        assert_eq!(all.iter().min_by_key(|o| rank(o)).unwrap().state, "completed");
    }

    /// Nodes that have not heard yet still lead it; what is final at one of them is final.
    #[test]
    fn whoever_knows_of_a_rejection_or_a_cancellation_is_believed() {
        let told = |node: &str, state: &str, reason: Reason| {
            let (reason, missing) = (Some(reason.as_str().to_owned()), Vec::new());
            let outcome = OutcomeInfo { state: state.into(), reason, limit: None, room_at: None, missing };
            let explained = ExplainedInfo { outcome: Some(outcome), decisions: Vec::new(), said: Vec::new() };
            (node.to_owned(), explained)
        };
        for (word, reason) in [("cancelled", Reason::Cancelled), ("rejected", Reason::Rejected)] {
            let told = [
                told("node-1", "awaiting-approval", Reason::ApprovalsRequired),
                told("node-2", word, reason),
                told("node-3", "approved", Reason::VelocityLimit),
                told("node-4", "expired", Reason::ApprovalsRequired),
            ];
            let shown = format!("{:?}", shown(RequestId([7; 16]), &told, UnixMillis(0)));
            let head = format!("{}: {}", RequestId([7; 16]), word.to_uppercase());
            assert!(shown.contains(&head), "{head}: {shown}");
            assert!(shown.contains("node-1: AWAITING APPROVAL") && shown.contains("node-4: EXPIRED"), "{shown}");
        }
    }
}
