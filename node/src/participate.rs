//! Taking part in what another node leads. Everything is admitted again, by this node alone.

use crate::approve;
use crate::bundle_news;
use crate::cancel;
use crate::convert;
use crate::deadline;
use crate::decisions;
use crate::drive::drive;
use crate::holds::Hold;
use crate::inflight::Guard;
use crate::lead_hsm;
use crate::lead_key;
use crate::lead_sign::pending_check;
use crate::lead_token;
use crate::limits;
use crate::node::{Node, fresh_rng, now};
use crate::recover;
use crate::reply;
use crate::sessions::{Seat, SessionKey};
use crate::signed::Part;
use crate::standing;
use prost::Message as _;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::key::KeyState;
use tally_domain::ports::store::{AttemptState, Step};
use tally_domain::vote::VoteBody;
use tally_domain::{Attempt, NodeName, PartyIndex, Reason, Refusal, Scheme, SignerSet};
use tally_proto::v1;
use tally_signer::admit::{self, Opened, Permit, Subject};
use tally_signer::claims::claim;
use tally_signer::recovery::{End, proves_dead};
use tally_signer::result::{check, complete_step};
use tally_signer::session::Members;
use tally_signer::sign_session::{SignSession, Start};
use tracing::Instrument as _;

/// Answers a proposal to sign: joins, gives the result that is there already, or refuses.
///
/// # Errors
/// A [`Refusal`].
pub async fn propose_sign(
    node: &Arc<Node>,
    leader: NodeName,
    request: v1::ProposeSignRequest,
) -> Result<v1::ProposeSignResponse, Refusal> {
    node.check_signer()?;
    same_bundle(node, &leader, &request.bundle_digest).await?;
    let attempt = Attempt(request.attempt);
    recover::check_possible(attempt)?;
    let origin = Origin::Peer(leader.clone());
    let said = convert::envelopes_in(request.approvals);
    let opened = open(node, request.intent, &origin).await?.with_said(said);
    tracing::Span::current().record("request", opened.intent().request_id.to_string());
    if let Some(result) = recover::completed(node, &opened)? {
        return Ok(v1::ProposeSignResponse { result, ..Default::default() });
    }
    let intent = opened.intent();
    let guard = node.inflight.try_take(&intent.tenant, intent.request_id).ok_or(Reason::Contention)?;
    // Between the first look and the guard, whoever had it may have finished.
    if let Some(result) = recover::completed(node, &opened)? {
        return Ok(v1::ProposeSignResponse { result, ..Default::default() });
    }
    cancel::is_not(node, &intent.tenant, intent.request_id)?;
    let session: SessionKey = convert::session(&request.session)?;
    let held = node.keys.get(&intent.key);
    let key = held.as_ref().map(|h| (&*h.record, h.state));
    let charges = |subject: &Subject| limits::charges(&node.bundle(), subject);
    let admitted = admit::admit_sign(opened.clone(), key, &node.freezes.known(), &node.bundle(), now(), charges)
        .and_then(|permit| {
            let (members, signers) = join(node, &leader, &permit, &request.signers)?;
            Ok((claim(permit, limits::claims_in(&request.claims)?, now())?, members, signers))
        });
    let (claimed, members, signers) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(decisions::refused(node, &opened, origin, refusal).await),
    };
    let abandonments: Vec<Statement> = request.abandonments.into_iter().map(convert::statement_in).collect();
    let permit = claimed.permit();
    fit_attempt(node, permit.subject(), attempt, &abandonments)?;
    let found = limits::in_the_way(node, permit.subject(), claimed.claims())?;
    if !found.is_empty() {
        return Ok(v1::ProposeSignResponse { in_the_way: limits::in_the_way_out(&found), ..Default::default() });
    }
    let hold = limits::hold(node, permit.subject(), claimed.claims())?;
    let record = permit.subject().record();
    let share = node.keys.share(record, node.name(), &*node.store, &*node.hsm).await?;
    // A leader that has given up meanwhile would not answer in the session.
    deadline::check()?;
    let seat = node.sessions.open(session, &members)?;
    let mut also = match record.scheme {
        Scheme::EcdsaSecp256k1 => vec![pending_check(node, permit, session, &members)],
        Scheme::Ed25519 | Scheme::Taproot => Vec::new(),
    };
    also.extend(limits::names(node, permit));
    let summary = tally_policy::summary(&node.bundle(), permit.subject().facts());
    let stood = || standing::stood(node, &limits::claimant(permit.subject()), permit.charges());
    decisions::permitted_on(node, &opened, origin, permit.rule(), &summary, also, stood).await?;
    approve::adopt(node, &opened, permit.approvals()).await?;
    let (boot, bundle) = (node.boot.clone(), node.bundle());
    let start = Start { claimed, share, boot, bundle, members, signers, attempt, leader };
    take_part(node, (guard, hold), seat, start);
    Ok(v1::ProposeSignResponse::default())
}

/// Runs this node's side of a session in the background.
fn take_part(node: &Arc<Node>, held: (Guard, Hold), seat: Seat, start: Start) {
    let (me, names) = (start.members.me().get(), start.members.names());
    let key = start.claimed.permit().subject().intent().key.clone();
    let node = node.clone();
    let work = async move {
        tracing::info!(attempt = start.attempt.0, "joins");
        let (session, actions) = SignSession::start(start, &mut fresh_rng());
        // A failure has been logged and told to the others by the driver.
        if drive(&node, seat, me, names, session, actions).await.is_ok() {
            node.note_signed(&key, Part::Took);
        }
        drop(held);
    };
    tokio::spawn(work.instrument(tracing::Span::current()));
}

/// Who S is, and that this node and the leader belong to it and nobody in it is banned here.
fn join(node: &Node, leader: &NodeName, permit: &Permit, signers: &[u8]) -> Result<(Members, SignerSet), Refusal> {
    let record = permit.subject().record();
    let range = || Refusal::new(Reason::ParameterRange).with("field", "signers");
    let parties: Vec<PartyIndex> =
        signers.iter().map(|p| PartyIndex::new(*p)).collect::<Result<_, _>>().map_err(|_| range())?;
    let set = SignerSet::new(record.threshold, &parties).map_err(|_| range())?;
    let me = record.party(node.name()).filter(|p| set.contains(*p)).ok_or_else(range)?;
    record.party(leader).filter(|p| set.contains(*p)).ok_or_else(range)?;
    let names: std::collections::BTreeMap<_, _> =
        set.iter().filter_map(|p| Some((p, record.node(p)?.clone()))).collect();
    names.values().try_for_each(|n| node.peers.check_fence(n))?;
    if let Some(banned) = names.values().find(|n| node.keys.banned(record, n)) {
        return Err(Refusal::new(Reason::PeerBanned).with("peer", banned.as_str()));
    }
    Ok((Members::new(me, names), set))
}

/// Whether this attempt may start: this node has not voted in it, and every earlier one that it voted in is proved dead.
fn fit_attempt(node: &Node, subject: &Subject, attempt: Attempt, promises: &[Statement]) -> Result<(), Refusal> {
    let intent = subject.intent();
    let rows = node.store.attempts(&intent.tenant, &intent.request_id).map_err(|e| reply::of_store(&e))?;
    if attempt.0 == 0 || rows.iter().any(|r| r.attempt >= attempt) {
        return Err(Reason::InDoubt.into());
    }
    let mut voted = Vec::new();
    for row in rows.iter().filter(|r| !matches!(r.state, AttemptState::Abandoned(_))) {
        let body = row.vote_body.as_deref().ok_or(Reason::Tampered)?;
        voted.push((row.attempt, VoteBody::from_bytes(body).map_err(|_| Reason::Tampered)?.signers));
    }
    if proves_dead(&voted, attempt, subject, promises, node.bundle().roster()) {
        Ok(())
    } else {
        Err(Reason::InDoubt.into())
    }
}

/// Answers what this node did for a request, after giving up what it has not released.
///
/// # Errors
/// A [`Refusal`].
pub async fn recover(
    node: &Arc<Node>,
    peer: NodeName,
    request: v1::RecoverRequest,
) -> Result<v1::RecoverResponse, Refusal> {
    let opened = open(node, request.intent, &Origin::Peer(peer)).await?;
    let intent = opened.intent();
    // A session that runs here may still complete; it is not pulled from under its feet.
    let _guard = node.inflight.try_take(&intent.tenant, intent.request_id).ok_or(Reason::Contention)?;
    if let Some(result) = recover::completed(node, &opened)? {
        return Ok(v1::RecoverResponse { result, attempts: Vec::new() });
    }
    // A partial that was released before the freeze may never have arrived: it does not leave now.
    node.freezes.known().check(&intent.key)?;
    let attempts = recover::own_reports(node, &opened)
        .await?
        .into_iter()
        .map(|report| {
            let mut out = v1::RecoveredAttempt {
                attempt: report.vote.attempt.0,
                vote: report.vote.to_bytes(),
                ..v1::RecoveredAttempt::default()
            };
            match report.end {
                End::Released { partial, certificate } => {
                    out.partial = partial;
                    out.certificate = Some(convert::certificate_out(&certificate));
                }
                End::Abandoned(statement) => out.abandonment = Some(convert::statement_out(&statement)),
            }
            out
        })
        .collect();
    Ok(v1::RecoverResponse { result: Vec::new(), attempts })
}

/// Keeps a finished request that another node tells of, if it checks.
///
/// # Errors
/// A [`Refusal`].
pub async fn complete(node: &Arc<Node>, peer: NodeName, request: v1::CompleteRequest) -> Result<(), Refusal> {
    let origin = Origin::Peer(peer.clone());
    let opened = open(node, request.intent, &origin).await?;
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    if recover::completed(node, &opened)?.is_some() {
        return Ok(());
    }
    if let Some(held) = node.hsm_keys.get(&intent.key) {
        if held.is_domain() {
            return lead_token::keep(node, &opened, &peer, &held, request.result).await;
        }
        return lead_hsm::keep(node, &opened, origin, &held, &request.result).await;
    }
    let held = node.keys.get(&intent.key);
    let subject = admit::subject(opened.clone(), held.as_ref().map(|h| (&*h.record, h.state)))?;
    let result = check(&request.result, &subject, node.bundle().roster())?;
    let done = complete_step(&subject, &result, &node.boot, now());
    let mut step =
        Step { writes: vec![decisions::claim(&opened)], leaves: vec![decisions::received(node, &opened, origin)] };
    step.writes.extend(done.writes);
    step.leaves.extend(done.leaves);
    node.commit(step).await?;
    node.note_signed(&intent.key, Part::Heard);
    Ok(())
}

/// Answers a proposal to create a key: joins, gives the certificate that is there already, or refuses.
///
/// # Errors
/// A [`Refusal`].
pub async fn propose_key(
    node: &Arc<Node>,
    leader: NodeName,
    request: v1::ProposeKeyRequest,
) -> Result<v1::ProposeKeyResponse, Refusal> {
    same_bundle(node, &leader, &request.bundle_digest).await?;
    let origin = Origin::Peer(leader);
    let opened = open(node, request.intent, &origin).await?;
    let intent = opened.intent();
    tracing::Span::current().record("request", intent.request_id.to_string());
    let guard = node.inflight.try_take(&intent.tenant, intent.request_id).ok_or(Reason::Contention)?;
    if let Some(held) = node.keys.get(&intent.key).filter(|h| h.state == KeyState::Active) {
        return lead_key::certificate_for(node, &opened, &held);
    }
    let permit = lead_key::admitted(node, &opened, origin).await?;
    let members = lead_key::members(node)?;
    let theirs: Vec<&str> = request.participants.iter().map(String::as_str).collect();
    if members.names().iter().map(NodeName::as_str).ne(theirs) {
        return Err(Refusal::new(Reason::ParameterRange).with("field", "participants"));
    }
    deadline::check()?;
    let seat = node.sessions.open(convert::session(&request.session)?, &members)?;
    let node = node.clone();
    let work = async move {
        let outcome = lead_key::take_part(&node, seat, members, permit).await;
        if let Err(failed) = outcome {
            tracing::warn!(reason = failed.refusal.reason.as_str(), "key generation failed");
        }
        drop(guard);
    };
    tokio::spawn(work.instrument(tracing::Span::current()));
    Ok(v1::ProposeKeyResponse { certificate: Vec::new() })
}

/// That the leader's bundle is ours, after asking the leader for what this node may have missed.
async fn same_bundle(node: &Arc<Node>, leader: &NodeName, theirs: &[u8]) -> Result<(), Refusal> {
    if node.same_bundle(leader, theirs).is_err() {
        bundle_news::catch_up(node, leader).await;
    }
    node.same_bundle(leader, theirs)
}

/// Opens what a peer has brought; an intent that cannot be opened is written down.
///
/// # Errors
/// A [`Refusal`].
pub async fn open(node: &Arc<Node>, envelope: Option<v1::Envelope>, origin: &Origin) -> Result<Opened, Refusal> {
    let envelope: Envelope = convert::envelope_in(envelope)?;
    match admit::open(&node.bundle(), envelope.clone()) {
        Ok(opened) => Ok(opened),
        Err(refusal) => Err(decisions::refuse_unopened(node, &envelope, origin.clone(), refusal).await),
    }
}

/// The certificate of a key that this node signs with.
///
/// # Errors
/// `KEY_NOT_FOUND`, `KEY_NOT_ACTIVE`, `STORAGE`, `TAMPERED`.
pub fn fetch_key(node: &Node, request: &v1::FetchKeyRequest) -> Result<v1::FetchKeyResponse, Refusal> {
    let name = tally_domain::KeyName::parse(&request.name).map_err(|_| Reason::KeyNotFound)?;
    let row = node.store.key(&name).map_err(|e| reply::of_store(&e))?.ok_or(Reason::KeyNotFound)?;
    let active = node.keys.get(&name).is_some_and(|held| held.state == KeyState::Active);
    let bytes = row.certificate.filter(|_| active).ok_or(Reason::KeyNotActive)?;
    let certificate =
        tally_domain::key::KeyCertificate::decode(bytes.as_slice()).map_err(|_| Refusal::from(Reason::Tampered))?;
    Ok(v1::FetchKeyResponse { certificate: certificate.statements.iter().map(convert::statement_out).collect() })
}
