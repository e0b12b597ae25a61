//! What earlier attempts at a request left behind, here and at the peers: own votes that were not released are given up,
//! everyone is asked, and `tally_signer::recovery` says what to do next.

use crate::convert;
use crate::node::{Node, now};
use crate::reply;
use futures_util::future::join_all;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::ports::store::{AttemptRow, AttemptState, RequestState};
use tally_domain::vote::{Abandonment, Certificate, VoteBody};
use tally_domain::{Attempt, NodeName, PartyIndex, Reason, Refusal, SignerSet};
use tally_proto::v1;
use tally_signer::admit::{Opened, Subject};
use tally_signer::recovery::{End, Next, Report, next};
use tally_signer::release::sign_input;
use tally_signer::result;
use tally_signer::sign_session::abandon_step;

/// What is known of a request after everyone has been asked.
pub enum Known {
    /// It is done; these are the result's bytes.
    Completed(Vec<u8>),
    /// It is not.
    Next(Next),
}

/// The stored result, if the request is done here.
///
/// # Errors
/// `REQUEST_ID_CONFLICT` when the id names another intent.
pub fn completed(node: &Node, opened: &Opened) -> Result<Option<Vec<u8>>, Refusal> {
    let intent = opened.intent();
    let row = node.store.request(&intent.tenant, &intent.request_id).map_err(|e| reply::of_store(&e))?;
    match row {
        Some(row) if row.claim.intent_digest != opened.digest() => {
            // The store looks once more when the id is taken.
            if row.yields_to(&intent.client) { Ok(None) } else { Err(Reason::RequestIdConflict.into()) }
        }
        Some(row) => match row.state {
            RequestState::Completed(bytes) => Ok(Some(bytes)),
            RequestState::Received | RequestState::Refused(_) => Ok(None),
        },
        None => Ok(None),
    }
}

/// Own attempts as reports; those that were voted for and not released are given up first, durably.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub async fn own_reports(node: &Arc<Node>, opened: &Opened) -> Result<Vec<Report>, Refusal> {
    let intent = opened.intent();
    let rows = node.store.attempts(&intent.tenant, &intent.request_id).map_err(|e| reply::of_store(&e))?;
    for row in &rows {
        if let AttemptState::Voted(_) = row.state {
            let promise =
                Abandonment { tenant: intent.tenant.clone(), request_id: intent.request_id, attempt: row.attempt };
            node.commit(abandon_step(&promise, &node.boot, now())).await?;
        }
    }
    let rows = node.store.attempts(&intent.tenant, &intent.request_id).map_err(|e| reply::of_store(&e))?;
    rows.iter().filter_map(|row| own_report(node.name(), row).transpose()).collect()
}

fn own_report(me: &NodeName, row: &AttemptRow) -> Result<Option<Report>, Refusal> {
    let Some(body) = &row.vote_body else { return Ok(None) };
    let vote = VoteBody::from_bytes(body).map_err(|_| Reason::Tampered)?;
    let end = match &row.state {
        AttemptState::Voted(_) => return Ok(None),
        AttemptState::Released { partial, certificate } => End::Released {
            partial: partial.clone(),
            certificate: Certificate::decode(certificate.as_slice()).map_err(|_| Reason::Tampered)?,
        },
        AttemptState::Abandoned(bytes) => {
            End::Abandoned(Statement::decode(bytes.as_slice()).map_err(|_| Reason::Tampered)?)
        }
    };
    Ok(Some(Report { node: me.clone(), vote, end }))
}

/// Refuses to take part in an attempt that no honest node comes to.
///
/// # Errors
/// `PARAMETER_RANGE`.
pub fn check_possible(attempt: Attempt) -> Result<(), Refusal> {
    if attempt.is_possible() {
        return Ok(());
    }
    let detail = format!("attempt {} is outside 1 to {}", attempt.0, Attempt::LAST.0);
    Err(Refusal::new(Reason::ParameterRange).with("field", "attempt").with("detail", detail))
}

/// Asks every share-holder of the key, and decides. Attempts whose stored partials make no signature are left out.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub async fn gather(node: &Arc<Node>, subject: &Subject, hopeless: &BTreeSet<Attempt>) -> Result<Known, Refusal> {
    let mut reports = own_reports(node, subject.opened()).await?;
    let others: Vec<&NodeName> = subject.record().participants.iter().filter(|p| *p != node.name()).collect();
    let answers = join_all(others.iter().map(|peer| {
        let request = v1::RecoverRequest { intent: Some(convert::envelope_out(subject.opened().envelope())) };
        node.peers.call(peer, |mut p| async move { p.recover(request).await })
    }))
    .await;
    for (peer, answer) in others.iter().zip(answers) {
        let Ok(answer) = answer else { continue };
        if !answer.result.is_empty() && result::check(&answer.result, subject, node.bundle().roster()).is_ok() {
            return Ok(Known::Completed(answer.result));
        }
        reports.extend(answer.attempts.into_iter().filter_map(|a| believed(node, subject, peer, a)));
    }
    let known = reports.iter().map(|r| r.vote.attempt).max();
    reports.retain(|r| !hopeless.contains(&r.vote.attempt));
    Ok(Known::Next(match (next(&reports), known) {
        // The numbers of hopeless attempts are used up all the same.
        (Next::Start { attempt, abandonments }, Some(last)) if attempt <= last => {
            Next::Start { attempt: Attempt(last.0.saturating_add(1)), abandonments }
        }
        (decided, _) => decided,
    }))
}

/// A peer's report, if its statement or certificate proves it.
fn believed(node: &Node, subject: &Subject, peer: &NodeName, a: v1::RecoveredAttempt) -> Option<Report> {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let vote = VoteBody::from_bytes(&a.vote).ok()?;
    let intent = subject.intent();
    let about_this = vote.tenant == intent.tenant
        && vote.request_id == intent.request_id
        && vote.intent_digest == subject.opened().digest()
        && vote.attempt.0 == a.attempt
        && vote.attempt.is_possible()
        && vote.signers.contains(peer);
    if !about_this {
        return None;
    }
    if let Some(statement) = a.abandonment {
        let statement = convert::statement_in(statement);
        let (who, promise) = Abandonment::open(&statement, roster).ok()?;
        let fits = who == *peer
            && promise.attempt == vote.attempt
            && promise.request_id == vote.request_id
            && promise.tenant == vote.tenant;
        return fits.then(|| Report { node: peer.clone(), vote, end: End::Abandoned(statement) });
    }
    let certificate = convert::certificate_in(a.certificate?);
    (certificate.open(roster).ok()? == vote).then(|| Report {
        node: peer.clone(),
        vote,
        end: End::Released { partial: a.partial, certificate },
    })
}

/// Combines stored partials of an earlier attempt into the request's result.
///
/// # Errors
/// `SESSION_ABORTED` when they do not make a signature.
pub fn combine(
    subject: &Subject,
    vote: &VoteBody,
    certificate: Certificate,
    partials: &BTreeMap<NodeName, Vec<u8>>,
) -> Result<result::SignResult, Refusal> {
    let bad = || Refusal::new(Reason::SessionAborted).with("round", "recover");
    let record = subject.record();
    let by_party: BTreeMap<PartyIndex, Vec<u8>> =
        partials.iter().filter_map(|(n, p)| Some((record.party(n)?, p.clone()))).collect();
    let parties: Vec<PartyIndex> = vote.signers.iter().filter_map(|s| record.party(s)).collect();
    let signers = SignerSet::new(record.threshold, &parties).map_err(|_| bad())?;
    let input = sign_input(subject, &vote.session, &vote.nonce_binding);
    let signature = tally_mpc::combine(&by_party, record, &signers, &input).map_err(|_| bad())?;
    result::build(subject, &vote.rule, &signature, certificate)
}
