//! What a bundle says of requests: asked before, afterwards, and under drafts. Consumes nothing.

use crate::bundles;
use crate::lead_bundle::refusal;
use crate::node::{Node, now};
use crate::standing;
use std::sync::Arc;
use tally_audit::event::LineStood;
use tally_domain::claim::Claimant;
use tally_domain::ports::store::NamedLine;
use tally_domain::{Charge, ClusterId, Intent, Reason, Refusal, UnixMillis};
use tally_policy::{Bundle, Decision, Denied, Need, SignedBundle, Trust};
use tally_proto::v1;
use tally_signer::judge::{Judged, KeyView, People, judge};

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
/// `OVERSIZED`, `BUNDLE_INVALID`, `PARAMETER_RANGE` when it is for another cluster.
pub fn draft(node: &Node, bytes: &[u8]) -> Result<Arc<Bundle>, Refusal> {
    if bytes.len() > bundles::BUNDLE_MAX_BYTES {
        return Err(Refusal::new(Reason::Oversized).with("limit", bundles::BUNDLE_MAX_BYTES.to_string()));
    }
    let signed = SignedBundle::from_bytes(bytes).map_err(|e| refusal(&e))?;
    let bundle = signed.open(Trust::Reopened(signed.digest()), now()).map_err(|e| refusal(&e))?;
    of_cluster(&bundle.header().cluster, &node.boot.cluster)?;
    Ok(Arc::new(bundle.timeless()))
}

/// A draft follows nothing, and nobody signs it: all that can be wrong here is which cluster it names.
fn of_cluster(named: &ClusterId, own: &ClusterId) -> Result<(), Refusal> {
    if named == own {
        return Ok(());
    }
    let detail =
        format!("the draft is for cluster `{named}`, and this node is of `{own}`; name that in its roster.toml");
    Err(Refusal::new(Reason::ParameterRange).with("detail", detail))
}

/// What would become of an intent, as far as this node knows what is left of limits.
///
/// # Errors
/// `MALFORMED` when it is none, `PARAMETER_RANGE` when it cannot be simulated.
pub fn simulated(node: &Node, intent: &Intent, bundle: &Bundle, sight: Sight) -> Result<v1::Judgement, Refusal> {
    let at = now();
    // Another tenant's key is not there, frozen or not.
    let judged = judged(node, intent, People::Silent, bundle, at);
    let judged = judged.and_then(|judged| node.freezes.known().check(&intent.key).map(|()| judged));
    let detail = "what is wrapped, and the versions of KEKs, do not travel in an intent: this cannot be simulated";
    let unknown = || Refusal::new(Reason::ParameterRange).with("detail", detail);
    match judged {
        Ok(judged) => {
            let judged = judged.ok_or_else(unknown)?;
            let by = Claimant { tenant: intent.tenant.clone(), request: intent.request_id };
            let lines = standing::stands(node, &by, &judged.charges, at);
            Ok(judgement_out(bundle, &judged, Some(&lines), sight))
        }
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
pub fn judged(
    node: &Node,
    intent: &Intent,
    people: People<'_>,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<Option<Judged>, Refusal> {
    if let Some(held) = node.hsm_keys.get(&intent.key) {
        return judge(intent, KeyView::Hsm(&held.record), people, bundle, now);
    }
    let held = node.keys.get(&intent.key);
    let key = held.as_ref().map_or(KeyView::None, |held| KeyView::Threshold(&held.record));
    judge(intent, key, people, bundle, now)
}

/// A judgement; with how the lines stand, what is permitted and finds no room is denied.
pub fn judgement_out(bundle: &Bundle, judged: &Judged, stands: Option<&[LineStood]>, sight: Sight) -> v1::Judgement {
    let (mut verdict, mut reason) = codes(&judged.decision);
    let full = stands.is_some_and(|lines| lines.iter().any(|line| line.room_at.is_some()));
    if full && verdict == "permit" {
        (verdict, reason) = ("deny", Some(Reason::VelocityLimit));
    }
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
        out.charges = match stands {
            Some(stands) => lines_out(Some(bundle), &judged.lines, stands),
            None => judged.charges.iter().map(|charge| charge_out(Some(bundle), &judged.lines, charge)).collect(),
        };
    }
    out
}

/// Lines as they stand or stood.
pub fn lines_out(bundle: Option<&Bundle>, named: &[NamedLine], stood: &[LineStood]) -> Vec<v1::LimitCharge> {
    let one = |stood: &LineStood| {
        let LineStood { limit, line, max, window_ms, amount, .. } = stood.clone();
        v1::LimitCharge {
            taken: Some(stood.taken.to_string()),
            left: Some(max.saturating_sub(stood.taken).to_string()),
            full: stood.room_at.is_some(),
            room_at_ms: stood.room_at.map_or(0, |at| at.0),
            ..charge_out(bundle, named, &Charge { limit, line, max, window_ms, amount })
        }
    };
    stood.iter().map(one).collect()
}

/// What is taken of a line.
pub fn charge_out(bundle: Option<&Bundle>, named: &[NamedLine], charge: &Charge) -> v1::LimitCharge {
    let limits = bundle.map(Bundle::limits_shown).unwrap_or_default();
    let decimals = limits.into_iter().find(|limit| limit.id == charge.limit).and_then(|limit| limit.decimals);
    let by = named.iter().find(|named| named.line == charge.line).map(|named| named.by.as_slice()).unwrap_or_default();
    let field = |(name, value): &(String, String)| v1::Field { name: name.clone(), value: value.clone() };
    v1::LimitCharge {
        limit: charge.limit.to_string(),
        amount: charge.amount.to_string(),
        max: charge.max.to_string(),
        window_ms: charge.window_ms,
        by: by.iter().map(field).collect(),
        decimals: decimals.map(u32::from),
        ..v1::LimitCharge::default()
    }
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
        Decision::NeedsApproval(_) => {
            out.missing = missing(&judged.decision);
            out.approvers = judged.asked.iter().map(ToString::to_string).collect();
        }
        Decision::Deny(denied) => {
            let near = denied.near_misses.iter();
            out.near_misses =
                near.map(|n| v1::NearMiss { rule: n.rule.clone(), condition: n.condition.clone() }).collect();
            out.errors = denied.errors.iter().chain(&denied.why_opaque).cloned().collect();
        }
    }
}

/// What must still be approved, a way a line.
pub fn missing(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::NeedsApproval(needs) => needs.iter().flat_map(ways).collect(),
        Decision::Permit { .. } | Decision::Deny(_) => Vec::new(),
    }
}

fn ways(need: &Need) -> impl Iterator<Item = String> {
    need.paths.iter().map(|path| {
        let quorums: Vec<_> = path.missing.iter().map(|q| format!("{} of {}", q.needed, q.group)).collect();
        format!("{}: {}", path.rule, quorums.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_for_another_cluster_is_told_to_name_this_one() {
        let of = |name| ClusterId::parse(name).unwrap();
        assert!(of_cluster(&of("prod"), &of("prod")).is_ok());
        let refused = of_cluster(&of("test"), &of("prod")).unwrap_err();
        assert_eq!(refused.reason, Reason::ParameterRange, "nothing is to be signed again");
        let detail = &refused.metadata["detail"];
        assert!(detail.contains("`test`") && detail.contains("`prod`"), "{detail}");
    }
}
