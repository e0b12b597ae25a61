//! What a bundle says of requests: asked before, afterwards, and under drafts. Reads the node's own log; consumes nothing.

use crate::bundles;
use crate::lead_bundle::refusal;
use crate::node::{Node, now};
use crate::reply;
use std::sync::Arc;
use tally_audit::event::{Event, Origin, Verdict, What};
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Digest, Intent, Reason, Refusal, RequestId, Tenant, UnixMillis};
use tally_policy::{Bundle, Decision, Denied, Need, SignedBundle, Trust};
use tally_proto::v1;
use tally_signer::judge::{Judged, KeyView, judge};

/// Leaves read from the store at once.
const BATCH: u32 = 256;

/// How far before and after a request's own times its decisions are looked for: clocks step, and other nodes ask again.
const SLACK_MS: u64 = 10 * 60 * 1_000;

/// How much of a judgement a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Verdict and reason.
    Codes,
    /// Also the rules.
    Rules,
}

/// A bundle that somebody drafts: nobody need have signed it.
///
/// # Errors
/// `OVERSIZED`, `BUNDLE_INVALID`, `BUNDLE_CHAIN` when it is for another cluster.
pub fn draft(node: &Node, bytes: &[u8]) -> Result<Arc<Bundle>, Refusal> {
    if bytes.len() > bundles::BUNDLE_MAX_BYTES {
        return Err(Refusal::new(Reason::Oversized).with("limit", bundles::BUNDLE_MAX_BYTES.to_string()));
    }
    let signed = SignedBundle::from_bytes(bytes).map_err(|e| refusal(&e))?;
    let bundle = signed.open(Trust::Reopened(signed.digest()), now()).map_err(|e| refusal(&e))?;
    if bundle.header().cluster != node.boot.cluster {
        return Err(Refusal::new(Reason::BundleChain).with("detail", "the draft is for another cluster"));
    }
    Ok(Arc::new(bundle.timeless()))
}

/// What would become of an intent.
///
/// # Errors
/// `MALFORMED` when it is none, `PARAMETER_RANGE` when it cannot be simulated.
pub fn simulated(node: &Node, intent: &Intent, bundle: &Bundle, sight: Sight) -> Result<v1::Judgement, Refusal> {
    let judged = node.freezes.known().check(&intent.key).and_then(|()| judged(node, intent, bundle, now()));
    let detail = "what is wrapped, and the versions of KEKs, do not travel in an intent: this cannot be simulated";
    let unknown = || Refusal::new(Reason::ParameterRange).with("detail", detail);
    match judged {
        Ok(judged) => Ok(judgement_out(bundle, &judged.ok_or_else(unknown)?, sight)),
        Err(refused) => Ok(v1::Judgement {
            bundle: bundle.digest().0.to_vec(),
            version: bundle.version(),
            verdict: "deny".into(),
            reason: refused.reason.as_str().into(),
            ..v1::Judgement::default()
        }),
    }
}

/// Asks a bundle, with what this node knows of the key.
///
/// # Errors
/// As [`judge`].
pub fn judged(node: &Node, intent: &Intent, bundle: &Bundle, now: UnixMillis) -> Result<Option<Judged>, Refusal> {
    if let Some(held) = node.hsm_keys.get(&intent.key) {
        return judge(intent, KeyView::Hsm(&held.record), bundle, now);
    }
    let held = node.keys.get(&intent.key);
    judge(intent, held.as_ref().map_or(KeyView::None, |held| KeyView::Threshold(&held.record)), bundle, now)
}

fn judgement_out(bundle: &Bundle, judged: &Judged, sight: Sight) -> v1::Judgement {
    let (verdict, reason) = codes(&judged.decision);
    let mut out = v1::Judgement {
        bundle: bundle.digest().0.to_vec(),
        version: bundle.version(),
        verdict: verdict.into(),
        reason: reason.map(|r| r.as_str().into()).unwrap_or_default(),
        facts: judged.shown.clone(),
        ..v1::Judgement::default()
    };
    if sight == Sight::Rules {
        add_rules(&mut out, judged);
    }
    out
}

/// A decision as verdict and reason.
pub fn codes(decision: &Decision) -> (&'static str, Option<Reason>) {
    match decision {
        Decision::Permit { .. } => ("permit", None),
        Decision::NeedsApproval(_) => ("needs-approval", Some(Reason::ApprovalsRequired)),
        Decision::Deny(denied) => ("deny", Some(denied.reason)),
    }
}

/// The rules that decided, or whose approvals are missing.
pub fn rules(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Permit { rule } => rule.split(',').map(str::to_owned).collect(),
        Decision::NeedsApproval(needs) => needs.iter().flat_map(|n| n.paths.iter().map(|p| p.rule.clone())).collect(),
        Decision::Deny(Denied { forbidden_by, .. }) => forbidden_by.clone(),
    }
}

fn add_rules(out: &mut v1::Judgement, judged: &Judged) {
    out.rules = rules(&judged.decision);
    match &judged.decision {
        Decision::Permit { .. } => {}
        Decision::NeedsApproval(needs) => out.missing = needs.iter().flat_map(missing).collect(),
        Decision::Deny(denied) => {
            let near = denied.near_misses.iter();
            out.near_misses =
                near.map(|n| v1::NearMiss { rule: n.rule.clone(), condition: n.condition.clone() }).collect();
            out.errors = denied.errors.iter().chain(&denied.why_opaque).cloned().collect();
        }
    }
    let charge = |c: &tally_domain::Charge| v1::LimitCharge {
        limit: c.limit.to_string(),
        amount: c.amount.to_string(),
        max: c.max.to_string(),
        window_ms: c.window_ms,
    };
    out.charges = judged.charges.iter().map(charge).collect();
}

fn missing(need: &Need) -> impl Iterator<Item = String> {
    need.paths.iter().map(|path| {
        let quorums: Vec<_> = path.missing.iter().map(|q| format!("{} of {}", q.needed, q.group)).collect();
        format!("{}: {}", path.rule, quorums.join(", "))
    })
}

/// What a node has logged of one decision.
pub struct Logged {
    /// Index of the leaf.
    pub leaf: u64,
    /// When.
    pub time: UnixMillis,
    /// Who brought the intent.
    pub from: Option<Origin>,
    /// The intent, unless it was too long ago in the log.
    pub intent: Option<Intent>,
    /// Whose request.
    pub tenant: Tenant,
    /// The request.
    pub request: RequestId,
    /// What was decided.
    pub verdict: Verdict,
    /// By which bundle.
    pub bundle: Digest,
    /// What the node decoded.
    pub summary: String,
}

/// Gives every decision in the log from a time on to `see`, until it has seen enough.
///
/// # Errors
/// `STORAGE`, `TAMPERED`, and what `see` gives.
pub fn look_back(
    node: &Node,
    since: UnixMillis,
    mut see: impl FnMut(Logged) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let mut next = first_since(node, since)?;
    // An intent stands just before what was decided about it.
    let mut last: Option<(Digest, Envelope, Origin)> = None;
    loop {
        let leaves = node.store.leaves(next, BATCH).map_err(|e| reply::of_store(&e))?;
        if leaves.is_empty() {
            return Ok(());
        }
        for (leaf, bytes) in (next..).zip(&leaves) {
            let event = Event::from_leaf(bytes).map_err(|_| Reason::Tampered)?;
            match event.what {
                What::IntentReceived { envelope, from, .. } => last = Some((content_digest(&envelope), envelope, from)),
                What::Decided { tenant, request_id, intent_digest, verdict, bundle, summary } => {
                    let brought = last.as_ref().filter(|(digest, ..)| *digest == intent_digest);
                    let logged = Logged {
                        leaf,
                        time: event.time,
                        from: brought.map(|(_, _, from)| from.clone()),
                        intent: brought.and_then(|(_, envelope, _)| Intent::read_unverified(envelope).ok()),
                        tenant,
                        request: request_id,
                        verdict,
                        bundle,
                        summary,
                    };
                    if !see(logged)? {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        next += leaves.len() as u64;
    }
}

/// The first leaf that is not before a time, by halves: leaves are in the order of the node's clock.
fn first_since(node: &Node, since: UnixMillis) -> Result<u64, Refusal> {
    let (mut low, mut high) = (0, node.store.log_size().map_err(|e| reply::of_store(&e))?);
    while low < high {
        let middle = low + (high - low) / 2;
        let leaves = node.store.leaves(middle, 1).map_err(|e| reply::of_store(&e))?;
        let leaf = leaves.first().ok_or(Reason::Tampered)?;
        let time = Event::from_leaf(leaf).map_err(|_| Reason::Tampered)?.time;
        if time < since { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Every decision of this node about a request, and what the bundle of that time says of it in full.
///
/// # Errors
/// `REQUEST_NOT_FOUND`, `STORAGE`, `TAMPERED`.
pub fn explained(node: &Node, tenant: &Tenant, request: RequestId, sight: Sight) -> Result<Vec<v1::Decided>, Refusal> {
    let row = node.store.request(tenant, &request).map_err(|e| reply::of_store(&e))?.ok_or(Reason::RequestNotFound)?;
    let (first, last) = (row.claim.at.minus(SLACK_MS), row.updated_at.plus(SLACK_MS));
    let mut decisions = Vec::new();
    look_back(node, first, |logged| {
        let more = logged.time <= last;
        if more && logged.tenant == *tenant && logged.request == request {
            decisions.push(decided_out(node, logged, sight));
        }
        Ok(more)
    })?;
    Ok(decisions)
}

fn decided_out(node: &Node, logged: Logged, sight: Sight) -> v1::Decided {
    let again = logged.intent.as_ref().filter(|_| sight == Sight::Rules).and_then(|intent| {
        let active = node.bundle();
        let bundle = match active.digest() == logged.bundle {
            true => active,
            false => bundles::reopened(node, &logged.bundle).ok()?,
        };
        let judged = judged(node, intent, &bundle, logged.time).ok()??;
        Some(judgement_out(&bundle, &judged, sight))
    });
    let (verdict, reason, rule, condition) = match logged.verdict {
        Verdict::Permitted { rule } => ("permit", String::new(), rule, String::new()),
        Verdict::Refused { reason, rule, condition } => ("deny", reason, rule, condition),
    };
    let seen = |text: String| if sight == Sight::Rules { text } else { String::new() };
    v1::Decided {
        leaf: logged.leaf,
        time_ms: logged.time.0,
        from: match logged.from {
            Some(Origin::Client(client)) => format!("client {client}"),
            Some(Origin::Peer(peer)) => format!("node {peer}"),
            None => String::new(),
        },
        bundle: logged.bundle.0.to_vec(),
        verdict: verdict.into(),
        reason,
        summary: logged.summary,
        rule: seen(rule),
        condition: seen(condition),
        again,
    }
}
