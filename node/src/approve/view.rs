//! A request that waits, as clients and persons see it.

use super::{Read, read_row, said};
use crate::approvals::WhyNot;
use crate::convert;
use crate::node::{Node, now};
use crate::reply;
use std::sync::Arc;
use tally_domain::approval::Verdict;
use tally_domain::ports::store::{ApprovalRow, RequestRow, RequestState, WaitingRow};
use tally_domain::{Reason, Refusal, Tenant};
use tally_policy::{ApprovalPath, Need, Quorum};
use tally_proto::v1;
use tally_signer::approval::Standing;

/// The state of what enough persons have approved.
const APPROVED: &str = "approved";

/// One request in full.
///
/// # Errors
/// A [`Refusal`] when this node cannot decode it.
pub async fn view(node: &Arc<Node>, row: &WaitingRow) -> Result<v1::PendingRequest, Refusal> {
    let read = read_row(node, row).await?;
    let said = said(node, &row.tenant, row.request)?;
    Ok(shown(node, row, &read, &said))
}

/// The tenant's requests, without what is shown of them. One that this node cannot decode now is left out.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub async fn list(node: &Arc<Node>, tenant: &Tenant) -> Result<Vec<v1::PendingRequest>, Refusal> {
    let rows = node.store.all_waiting().map_err(|e| reply::of_store(&e))?;
    let mut all = Vec::new();
    let at = now();
    let open =
        |row: &&WaitingRow| !super::is_past(row, at) && crate::cancel::is_not(node, &row.tenant, row.request).is_ok();
    for row in rows.iter().filter(|row| row.tenant == *tenant).filter(open) {
        if let Ok(read) = read_row(node, row).await {
            let said = said(node, &row.tenant, row.request)?;
            all.push(v1::PendingRequest {
                summary: String::new(),
                approvers: Vec::new(),
                initiators: Vec::new(),
                ..shown(node, row, &read, &said)
            });
        }
    }
    Ok(all)
}

/// The tenant's requests whose time is over, as they were: nobody decides about them any more.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn ended(node: &Node, tenant: &Tenant) -> Result<Vec<v1::PendingRequest>, Refusal> {
    // Read in this order, one that ends in between is in both.
    let (mut past, at) = (node.store.all_waiting().map_err(|e| reply::of_store(&e))?, now());
    let mut rows = node.store.ended_waiting(tenant).map_err(|e| reply::of_store(&e))?;
    past.retain(|row| row.tenant == *tenant && super::is_past(row, at));
    past.retain(|row| !rows.iter().any(|ended| ended.request == row.request));
    rows.extend(past);
    let mut all = Vec::new();
    for row in rows {
        let request = node.store.request(&row.tenant, &row.request).map_err(|e| reply::of_store(&e))?;
        let said = said(node, &row.tenant, row.request)?;
        let over = super::is_open(node, &row.tenant, row.request, &said).err().map(|refusal| refusal.reason);
        let state = match over {
            None => "expired",
            Some(Reason::Rejected) => "rejected",
            Some(Reason::Cancelled) => "cancelled",
            Some(other) => return Err(other.into()),
        };
        all.extend(request.map(|request| v1::PendingRequest {
            node: node.name().to_string(),
            tenant: row.tenant.to_string(),
            request_id: row.request.0.to_vec(),
            client: request.claim.client.to_string(),
            key: request.claim.key.to_string(),
            intent_digest: request.claim.intent_digest.0.to_vec(),
            bundle_digest: row.bundle.0.to_vec(),
            summary_digest: row.summary.0.to_vec(),
            expires_at_ms: row.expires_at.0,
            owner: row.owner.to_string(),
            state: state.into(),
            said: said.iter().map(person_said).collect(),
            ..v1::PendingRequest::default()
        }));
    }
    Ok(all)
}

/// Adds to a request what persons have said, and while it waits what is missing.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub async fn of_request(node: &Arc<Node>, mut request: v1::Request, tenant: &Tenant) -> Result<v1::Request, Refusal> {
    let Some(id) = tally_domain::RequestId::from_slice(&request.request_id) else { return Ok(request) };
    let rows = said(node, tenant, id)?;
    request.said = rows.iter().map(person_said).collect();
    if let Some(row) = super::waiting(node, tenant, id)?
        && super::is_open(node, tenant, id, &rows).is_ok()
    {
        let pending = view(node, &row).await.ok();
        // What enough have approved may be signed at this moment.
        let approved = pending.as_ref().is_some_and(|pending| pending.state == APPROVED);
        if super::is_past(&row, now()) && !approved {
            expired(&mut request);
        } else {
            awaiting(&mut request);
            request.pending = pending;
        }
    }
    Ok(request)
}

fn awaiting(request: &mut v1::Request) {
    request.state = v1::RequestState::AwaitingApproval.into();
    request.reason = String::new();
}

fn expired(request: &mut v1::Request) {
    request.state = v1::RequestState::Refused.into();
    request.reason = Reason::Expired.as_str().into();
}

/// A request in a list: that it waits, and not for what.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn in_list(node: &Node, row: RequestRow) -> Result<v1::Request, Refusal> {
    let (tenant, id) = (row.claim.tenant.clone(), row.claim.request);
    let is_done = matches!(row.state, RequestState::Completed(_));
    let mut request = convert::request_out(row);
    if !is_done
        && let Some(row) = super::waiting(node, &tenant, id)?
        && super::is_open(node, &tenant, id, &said(node, &tenant, id)?).is_ok()
    {
        if super::is_past(&row, now()) { expired(&mut request) } else { awaiting(&mut request) }
    }
    Ok(request)
}

fn shown(node: &Node, row: &WaitingRow, read: &Read, said: &[ApprovalRow]) -> v1::PendingRequest {
    // One bundle for all of it: another may become active in between.
    let (question, intent, bundle, now) = (read.question(), read.opened().intent(), node.bundle(), now());
    let shown = question.shown(&bundle);
    let counting = question.counting(&bundle, said, now);
    let counts = |row: &&ApprovalRow| {
        let envelope = tally_signer::approval::envelope_of(row);
        row.verdict == Verdict::Reject || envelope.is_some_and(|e| counting.contains(&e))
    };
    let mut why_not = WhyNot::default();
    let (state, reason, needs) = match question.standing(&bundle, said, now) {
        Standing::Waiting(needs) => ("waiting", String::new(), needs),
        Standing::Approved => {
            why_not = node.approvals.why_not(&(row.tenant.clone(), row.request)).unwrap_or_default();
            (APPROVED, std::mem::take(&mut why_not.reason), Vec::new())
        }
        Standing::Rejected(_) => ("rejected", String::new(), Vec::new()),
        Standing::Denied(refusal) => ("denied", refusal.reason.as_str().into(), Vec::new()),
    };
    let approvers = bundle.approvers(&question.needs(&bundle, now), &intent.client);
    v1::PendingRequest {
        node: node.name().to_string(),
        tenant: intent.tenant.to_string(),
        request_id: intent.request_id.0.to_vec(),
        client: intent.client.to_string(),
        key: intent.key.to_string(),
        intent_digest: read.opened().digest().0.to_vec(),
        bundle_digest: bundle.digest().0.to_vec(),
        summary: shown.text,
        summary_digest: shown.digest.0.to_vec(),
        expires_at_ms: intent.expires_at.0,
        owner: row.owner.to_string(),
        signers: read.signers(),
        state: state.into(),
        reason,
        needs: needs.iter().map(need).collect(),
        said: said.iter().filter(counts).map(person_said).collect(),
        approvers: approvers.into_iter().map(|(person, keys)| approver(&person, &keys)).collect(),
        limit: why_not.limit,
        room_at_ms: why_not.room_at.map_or(0, |at| at.0),
        initiators: bundle.operators(&intent.client).iter().map(|(person, keys)| approver(person, keys)).collect(),
    }
}

fn need(need: &Need) -> v1::ApprovalNeed {
    v1::ApprovalNeed { paths: need.paths.iter().map(path).collect() }
}

fn path(path: &ApprovalPath) -> v1::ApprovalPath {
    let quorums = |all: &[Quorum]| all.iter().map(quorum).collect();
    v1::ApprovalPath { rule: path.rule.clone(), needed: quorums(&path.needed), missing: quorums(&path.missing) }
}

fn quorum(quorum: &Quorum) -> v1::GroupQuorum {
    v1::GroupQuorum { group: quorum.group.clone(), persons: u32::try_from(quorum.needed).unwrap_or(u32::MAX) }
}

fn person_said(row: &ApprovalRow) -> v1::PersonSaid {
    let verdict = match row.verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
    };
    let key = tally_signer::approval::envelope_of(row).and_then(|e| e.signatures.into_iter().next()).map(|s| s.key_id);
    v1::PersonSaid {
        person: row.person.to_string(),
        verdict: verdict.into(),
        at_ms: row.at.0,
        key: key.unwrap_or_default(),
    }
}

fn approver(person: &tally_domain::PersonName, keys: &[tally_domain::dsse::VerifyingKey]) -> v1::Approver {
    v1::Approver { person: person.to_string(), keys: keys.iter().map(ToString::to_string).collect() }
}
