//! Why this node decided about a request as it did, from its own log, and where the request stands.

use crate::bundles;
use crate::judgements::{Sight, judged, judgement_out, lines_out};
use crate::node::{Node, now};
use crate::past::{self, Happened, Logged, Past, look_back};
use crate::reply;
use std::sync::Arc;
use tally_audit::event::{Origin, Verdict};
use tally_domain::approval;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::RequestRow;
use tally_domain::{Approval, Digest, Intent, Reason, Refusal, RequestId, Tenant, UnixMillis};
use tally_policy::Bundle;
use tally_proto::v1;
use tally_signer::judge::People;

/// How far before and after a request's own times its decisions are looked for: clocks step, and other nodes ask again.
const SLACK_MS: u64 = 10 * 60 * 1_000;

/// What the log says of one request.
struct Story {
    decisions: Vec<v1::Decided>,
    said: Vec<Statement>,
    /// The last decision's intent, its digest, bundle and time.
    last: Option<(Intent, Digest, Digest, UnixMillis)>,
}

/// What a person has signed, and where the log has it.
struct Statement {
    leaf: u64,
    time: UnixMillis,
    approval: Approval,
    envelope: Envelope,
}

/// Every decision of this node about a request, what the bundle of that time says of it in full, and what persons have said.
/// While the request waits, what they have said is held against the active bundle.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn explained(node: &Node, row: &RequestRow, waits: bool, sight: Sight) -> Result<v1::ExplainResponse, Refusal> {
    let (tenant, request) = (&row.claim.tenant, row.claim.request);
    let Story { decisions, said, last } = story(node, tenant, request, row, sight)?;
    let judged = last.and_then(|(intent, digest, bundle, time)| {
        let (bundle, time) = if waits { (node.bundle(), now()) } else { (bundle_of(node, bundle)?, time) };
        let envelopes: Vec<_> = said.iter().map(|statement| statement.envelope.clone()).collect();
        judged(node, &intent, People::Signed(digest, &envelopes), &bundle, time).ok()?
    });
    let void = |statement: &Statement| {
        let found = judged.as_ref()?.said.iter().find(|(approval, _)| *approval == statement.approval)?;
        found.1.map(|void| void.to_string())
    };
    let said = said.iter().map(|statement| heard_out(statement, void(statement).unwrap_or_default())).collect();
    Ok(v1::ExplainResponse { decisions, said, outcome: None })
}

fn story(node: &Node, tenant: &Tenant, request: RequestId, row: &RequestRow, sight: Sight) -> Result<Story, Refusal> {
    let (first, last) = (row.claim.at.minus(SLACK_MS), row.updated_at.plus(SLACK_MS));
    let mut story = Story { decisions: Vec::new(), said: Vec::new(), last: None };
    look_back(node, first, past::size(node)?, |past| {
        let more = past.time <= last;
        if more && past.tenant == *tenant && past.request == request {
            story.add(node, past, sight);
        }
        Ok(more)
    })?;
    Ok(story)
}

impl Story {
    fn add(&mut self, node: &Node, past: Past, sight: Sight) {
        let Past { leaf, time, what, .. } = past;
        match what {
            Happened::Said(said) => {
                let (approval, envelope) = *said;
                self.said.push(Statement { leaf, time, approval, envelope });
            }
            Happened::Decided(logged) => {
                self.decisions.push(self.decided_out(node, leaf, time, &logged, sight));
                if let Some(intent) = logged.intent {
                    self.last = Some((intent, logged.digest, logged.bundle, time));
                }
            }
            Happened::Completed => {}
        }
    }

    fn decided_out(&self, node: &Node, leaf: u64, time: UnixMillis, logged: &Logged, sight: Sight) -> v1::Decided {
        let (verdict, reason, rule, condition) = match logged.verdict.clone() {
            Verdict::Permitted { rule } => ("permit", String::new(), rule, String::new()),
            Verdict::Refused { reason, rule, condition } => ("deny", reason, rule, condition),
        };
        let mut out = v1::Decided {
            leaf,
            time_ms: time.0,
            from: match &logged.from {
                Some(Origin::Client(client)) => format!("client {client}"),
                Some(Origin::Peer(peer)) => format!("node {peer}"),
                None => String::new(),
            },
            bundle: logged.bundle.0.to_vec(),
            verdict: verdict.into(),
            reason,
            summary: logged.summary.clone(),
            ..v1::Decided::default()
        };
        if sight == Sight::Rules {
            (out.rule, out.condition) = (rule, condition);
            let bundle = bundle_of(node, logged.bundle);
            let envelopes: Vec<_> = self.said.iter().map(|said| said.envelope.clone()).collect();
            let people = People::Signed(logged.digest, &envelopes);
            let again = logged.intent.as_ref().zip(bundle.as_deref());
            let again =
                again.and_then(|(intent, bundle)| Some((judged(node, intent, people, bundle, time).ok()??, bundle)));
            let lines = again.as_ref().map(|(judged, _)| judged.lines.as_slice()).unwrap_or_default();
            out.limits = lines_out(bundle.as_deref(), lines, &logged.limits);
            out.again = again.map(|(judged, bundle)| judgement_out(bundle, &judged, None, sight));
        }
        out
    }
}

fn bundle_of(node: &Node, digest: Digest) -> Option<Arc<Bundle>> {
    let active = node.bundle();
    if active.digest() == digest { Some(active) } else { bundles::reopened(node, &digest).ok() }
}

fn heard_out(statement: &Statement, void: String) -> v1::Heard {
    let verdict = match statement.approval.verdict {
        approval::Verdict::Approve => "approved",
        approval::Verdict::Reject => "rejected",
    };
    v1::Heard {
        person: statement.approval.person.to_string(),
        verdict: verdict.into(),
        at_ms: statement.time.0,
        leaf: statement.leaf,
        bundle: statement.approval.bundle.0.to_vec(),
        void,
    }
}

/// The request, whose decisions are to be explained.
///
/// # Errors
/// `REQUEST_NOT_FOUND`, `STORAGE`, `TAMPERED`.
pub fn asked_about(node: &Node, tenant: &Tenant, request: RequestId) -> Result<RequestRow, Refusal> {
    let row = node.store.request(tenant, &request).map_err(|e| reply::of_store(&e))?;
    row.ok_or_else(|| Reason::RequestNotFound.into())
}

/// Where a request stands, in one word and a reason.
pub fn outcome(request: &v1::Request) -> v1::Outcome {
    let refused = |reason: &str| match Reason::parse(reason) {
        Some(Reason::Rejected) => "rejected",
        Some(Reason::Cancelled) => "cancelled",
        Some(Reason::Expired) => "expired",
        _ => "refused",
    };
    let mut out = v1::Outcome { reason: request.reason.clone(), ..v1::Outcome::default() };
    let state = match request.state() {
        v1::RequestState::Completed => "completed",
        v1::RequestState::Refused => refused(&request.reason),
        v1::RequestState::AwaitingApproval => match &request.pending {
            Some(pending) => {
                out.reason.clone_from(&pending.reason);
                out.limit.clone_from(&pending.limit);
                out.room_at_ms = pending.room_at_ms;
                out.missing = pending.needs.iter().flat_map(|need| need.paths.iter().map(missing)).collect();
                match pending.state.as_str() {
                    "waiting" => "awaiting-approval",
                    other => other,
                }
            }
            None => "awaiting-approval",
        },
        v1::RequestState::Received | v1::RequestState::Unspecified => "received",
    };
    if state == "awaiting-approval" {
        out.reason = Reason::ApprovalsRequired.as_str().into();
    }
    out.state = state.into();
    out
}

fn missing(path: &v1::ApprovalPath) -> String {
    let quorums: Vec<_> = path.missing.iter().map(|q| format!("{} of {}", q.persons, q.group)).collect();
    format!("{}: {}", path.rule, quorums.join(", "))
}
