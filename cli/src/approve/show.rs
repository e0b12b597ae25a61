//! Requests that wait for persons, as they are printed.

use crate::output::{Out, Shown, field};
use crate::policy::now;
use crate::words::{lasting, utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tally_client::{Client, PathInfo, PendingInfo, SaidInfo};
use tally_domain::UnixMillis;

/// `tally approvals`
#[derive(Debug, clap::Args)]
pub struct Approvals {
    /// Also those that nobody can approve any more: rejected, denied or expired.
    #[arg(long)]
    all: bool,
}

impl Approvals {
    /// Runs it: those that any endpoint knows. Scripts are given the text of each too, and who is asked.
    pub async fn run(self, client: &Client, out: Out) -> anyhow::Result<Shown> {
        let now = crate::policy::now();
        let (mut listed, over): (Vec<_>, Vec<_>) =
            known(client, self.all).await?.into_iter().partition(|p| waits(p, now));
        let left_out = if self.all { 0 } else { over.len() };
        if self.all {
            listed.extend(over);
        }
        if out.is_json() {
            for one in &mut listed {
                // One that ends just now is listed without.
                if let Ok(whole) = client.summary(one.request_id).await {
                    (one.summary, one.approvers) = (whole.summary, whole.approvers);
                }
            }
        }
        Ok(listing(&listed, left_out, now))
    }
}

/// Whether persons can still decide, or the nodes have yet to sign what they decided.
fn waits(p: &PendingInfo, now: UnixMillis) -> bool {
    ["waiting", "approved"].contains(&p.state.as_str()) && now < p.expires_at
}

fn listing(listed: &[PendingInfo], left_out: usize, now: UnixMillis) -> Shown {
    let mut lines: Vec<_> = listed.iter().map(|p| line(p, now)).collect();
    if lines.is_empty() {
        lines.push("nothing waits for approvals".into());
    }
    if left_out > 0 {
        lines.push(format!("{left_out} rejected, denied or expired: see them with --all"));
    }
    let requests: Vec<_> = listed.iter().map(to_json).collect();
    Shown::done(lines.join("\n"), json!({ "requests": requests, "left_out": left_out }))
}

async fn known(client: &Client, all: bool) -> anyhow::Result<Vec<PendingInfo>> {
    let nodes = (0..client.endpoints().count()).filter_map(|i| client.only(i));
    let of = async |one: Client| if all { one.once().pending_and_ended().await } else { one.once().pending().await };
    let answers = join_all(nodes.map(of)).await;
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
    Ok(known.into_values().collect())
}

fn line(p: &PendingInfo, now: UnixMillis) -> String {
    let missing: Vec<_> = p.needs.iter().filter_map(|paths| paths.first()).map(missing).collect();
    let why = why_not(p).map(|why| format!(", {why}")).unwrap_or_default();
    let state = if p.expires_at <= now {
        if ["rejected", "cancelled"].contains(&p.state.as_str()) { p.state.clone() } else { "expired".into() }
    } else if missing.is_empty() {
        format!("{}{why}", p.state)
    } else {
        format!("needs {}", missing.join(" and "))
    };
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

#[cfg(test)]
mod tests {
    use super::super::agree::tests::{agreed_on, told};
    use super::*;

    fn request(state: &str, expires_at: u64) -> PendingInfo {
        agreed_on(told("node-1", "pay bob"), |p| {
            p.state = state.into();
            p.expires_at = UnixMillis(expires_at);
        })
        .shown
    }

    #[test]
    fn only_what_can_still_be_signed_waits() {
        let now = UnixMillis(10);
        for (state, expires_at, expected) in [
            ("waiting", 11, true),
            ("approved", 11, true),
            ("waiting", 10, false),
            ("rejected", 11, false),
            ("denied", 11, false),
        ] {
            assert_eq!(waits(&request(state, expires_at), now), expected, "{state} {expires_at}");
        }
        assert!(line(&request("waiting", 10), now).ends_with("expired"));
        // A node that is asked for what has ended says so by itself.
        assert!(!waits(&request("expired", 11), now) && line(&request("expired", 11), now).ends_with("expired"));
        for state in ["rejected", "cancelled"] {
            assert!(line(&request(state, 10), now).ends_with(state));
        }
    }

    #[test]
    fn what_is_left_out_of_the_list_is_counted() {
        let now = UnixMillis(0);
        let text = |listed: &[PendingInfo], left_out| format!("{:?}", listing(listed, left_out, now));
        assert!(text(&[], 0).contains("nothing waits for approvals") && !text(&[], 0).contains("--all"));
        assert!(text(&[], 2).contains("2 rejected, denied or expired: see them with --all"));
        assert!(text(&[request("waiting", 1)], 0).contains("pay bob"));
    }
}
