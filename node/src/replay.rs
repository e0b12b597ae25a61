//! What a draft would have done with the requests of the past: each request of the log once, at the time of its decision.

use crate::judgements::{Logged, codes, judged, look_back, rules};
use crate::node::Node;
use std::collections::HashSet;
use std::sync::Arc;
use tally_audit::event::Verdict;
use tally_domain::{Reason, Refusal, RequestId, Tenant, UnixMillis};
use tally_policy::Bundle;
use tally_proto::v1;
use tally_proto::v1::replay_response::Part;
use tokio::sync::mpsc;
use tonic::Status;

/// A decision that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    verdict: &'static str,
    reason: String,
    rule: String,
}

impl Outcome {
    /// As it was logged; nothing where no rule was asked.
    fn of(verdict: &Verdict) -> Option<Self> {
        let (verdict, reason, rule) = match verdict {
            Verdict::Permitted { rule } => ("permit", String::new(), rule.clone()),
            Verdict::Refused { reason, rule, .. } => {
                let verdict = match Reason::parse(reason)? {
                    Reason::PolicyDenied | Reason::TxOpaque | Reason::BundleExpired => "deny",
                    Reason::ApprovalsRequired => "needs-approval",
                    _ => return None,
                };
                (verdict, reason.clone(), rule.clone())
            }
        };
        Some(Self { verdict, reason, rule })
    }

    /// How far it lets a request go.
    fn reach(&self) -> u8 {
        match self.verdict {
            "permit" => 2,
            "needs-approval" => 1,
            _ => 0,
        }
    }

    fn words(&self) -> String {
        if self.reason.is_empty() { self.verdict.into() } else { format!("{} {}", self.verdict, self.reason) }
    }
}

/// Sends each change; gives the counts. Blocks: for a thread of its own.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn replay(
    node: &Node,
    draft: &Arc<Bundle>,
    since: UnixMillis,
    out: &mpsc::Sender<Result<v1::ReplayResponse, Status>>,
) -> Result<v1::ReplayCounts, Refusal> {
    let mut counts = v1::ReplayCounts::default();
    let mut seen: HashSet<(Tenant, RequestId)> = HashSet::new();
    let mut listening = true;
    look_back(node, since, |logged| {
        if !seen.insert((logged.tenant.clone(), logged.request)) {
            return Ok(true);
        }
        counts.requests += 1;
        if let Some(change) = compared(node, draft, &logged, &mut counts) {
            let response = v1::ReplayResponse { part: Some(Part::Change(change)) };
            listening = out.blocking_send(Ok(response)).is_ok();
        }
        Ok(listening)
    })?;
    Ok(counts)
}

fn compared(node: &Node, draft: &Bundle, logged: &Logged, counts: &mut v1::ReplayCounts) -> Option<v1::ReplayChange> {
    let judged = logged.intent.as_ref().map(|intent| judged(node, intent, draft, logged.time));
    let now = match judged {
        Some(Ok(Some(judged))) => {
            let (verdict, reason) = codes(&judged.decision);
            let rule = rules(&judged.decision).join(",");
            Some(Outcome { verdict, reason: reason.map(|r| r.as_str().into()).unwrap_or_default(), rule })
        }
        // The draft's roster does not have the client any more: that is a denial, too.
        Some(Err(refused)) if refused.reason == Reason::UnknownClient => {
            Some(Outcome { verdict: "deny", reason: refused.reason.as_str().into(), rule: String::new() })
        }
        Some(Ok(None) | Err(_)) | None => None,
    };
    let (Some(was), Some(now)) = (Outcome::of(&logged.verdict), now) else {
        counts.skipped += 1;
        return None;
    };
    // Of a denial the log has the nearest rule, and the draft only those that forbid.
    let same_rule = was.verdict == "deny" || was.rule == now.rule;
    if was.words() == now.words() && same_rule {
        counts.unchanged += 1;
        return None;
    }
    match now.reach().cmp(&was.reach()) {
        std::cmp::Ordering::Less => counts.tightened += 1,
        std::cmp::Ordering::Greater => counts.loosened += 1,
        std::cmp::Ordering::Equal => counts.otherwise += 1,
    }
    Some(v1::ReplayChange {
        time_ms: logged.time.0,
        tenant: logged.tenant.to_string(),
        request_id: logged.request.0.to_vec(),
        summary: logged.summary.clone(),
        was: was.words(),
        was_rule: was.rule,
        now: now.words(),
        now_rule: now.rule,
    })
}
