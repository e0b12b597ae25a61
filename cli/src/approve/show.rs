//! Requests that wait for persons, as they are printed.

use crate::output::{Shown, field};
use crate::policy::now;
use crate::words::{lasting, utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tally_client::{Client, PathInfo, PendingInfo, SaidInfo};

/// Runs `tally approvals`: those that any endpoint knows.
pub async fn list(client: &Client) -> anyhow::Result<Shown> {
    let nodes = (0..client.endpoints().count()).filter_map(|i| client.only(i));
    let answers = join_all(nodes.map(async |one| one.once().pending().await)).await;
    let (mut known, mut answered, mut trouble) = (BTreeMap::new(), false, None);
    for answer in answers {
        match answer {
            Ok(pending) => {
                answered = true;
                for one in pending {
                    known.entry((one.expires_at, one.request_id)).or_insert(one);
                }
            }
            Err(error) => trouble = Some(error),
        }
    }
    if let Some(error) = trouble.filter(|_| !answered) {
        return Err(error.into());
    }
    let lines: Vec<_> = known.values().map(line).collect();
    let text = if lines.is_empty() { "nothing waits for approvals".into() } else { lines.join("\n") };
    Ok(Shown::done(text, json!({ "requests": known.values().map(to_json).collect::<Vec<_>>() })))
}

fn line(p: &PendingInfo) -> String {
    let missing: Vec<_> = p.needs.iter().filter_map(|paths| paths.first()).map(missing).collect();
    let why = why_not(p).map(|why| format!(", {why}")).unwrap_or_default();
    let state =
        if missing.is_empty() { format!("{}{why}", p.state) } else { format!("needs {}", missing.join(" and ")) };
    format!("{}  {:<16} {:<16} until {}  {state}", p.request_id, p.key.as_str(), p.client.as_str(), utc(p.expires_at))
}

fn missing(path: &PathInfo) -> String {
    let quorums: Vec<_> = path.missing.iter().map(|(group, persons)| format!("{persons} of {group}")).collect();
    quorums.join(", ")
}

/// Why it is denied, or not signed yet though enough have approved.
fn why_not(p: &PendingInfo) -> Option<String> {
    let mut why = p.reason.clone()?;
    if p.state == "approved" {
        why.insert_str(0, "not signed yet: ");
    }
    if let Some(limit) = &p.limit {
        why.push_str(&format!(", limit {limit} has no room"));
    }
    if let Some(at) = p.room_at {
        why.push_str(&format!("; room in {}", lasting(at.0.saturating_sub(now().0))));
    }
    Some(why)
}

/// What a request still waits for, and until when.
pub fn pending_lines(p: &PendingInfo) -> Vec<String> {
    let mut lines: Vec<_> = p.summary.lines().map(|line| format!("  | {line}")).collect();
    lines.push(field("until", utc(p.expires_at)));
    lines.extend(why_not(p).map(|why| field(&p.state, why)));
    lines.extend(missing_lines(p));
    lines
}

/// What is missing, by each rule that would do.
pub fn missing_lines(p: &PendingInfo) -> Vec<String> {
    let mut lines = Vec::new();
    for paths in &p.needs {
        let all: Vec<_> = paths.iter().map(|path| format!("{} (rule {})", missing(path), path.rule)).collect();
        lines.push(field("missing", all.join(", or ")));
    }
    lines
}

/// What persons have said.
pub fn said_lines(said: &[SaidInfo]) -> Vec<String> {
    said.iter().map(|s| field(&s.verdict, format!("by {} at {}", s.person, utc(s.at)))).collect()
}

/// The same for scripts.
pub fn said_json(said: &[SaidInfo]) -> Value {
    let one = |s: &SaidInfo| json!({ "person": s.person.as_str(), "verdict": s.verdict, "at": utc(s.at) });
    said.iter().map(one).collect()
}

/// A request that waits, for scripts.
pub fn to_json(p: &PendingInfo) -> Value {
    let quorums = |all: &[(String, u32)]| -> Value {
        all.iter().map(|(group, persons)| json!({ "group": group, "persons": persons })).collect()
    };
    let path = |p: &PathInfo| json!({ "rule": p.rule, "needed": quorums(&p.needed), "missing": quorums(&p.missing) });
    let needs: Vec<Value> = p.needs.iter().map(|paths| paths.iter().map(path).collect()).collect();
    json!({
        "request_id": p.request_id.to_string(), "tenant": p.tenant.as_str(), "client": p.client.as_str(),
        "key": p.key.as_str(), "state": p.state, "reason": p.reason,
        "limit": p.limit, "room_at_ms": p.room_at.map(|at| at.0), "summary": p.summary,
        "summary_digest": p.summary_digest.to_string(), "intent_digest": p.intent_digest.to_string(),
        "bundle": p.bundle.to_string(), "owner": p.owner.as_str(), "expires_at": utc(p.expires_at),
        "expires_at_ms": p.expires_at.0, "needs": needs, "said": said_json(&p.said),
        "approvers": p.approvers.iter().map(|(person, _)| person.as_str()).collect::<Vec<_>>(),
    })
}
