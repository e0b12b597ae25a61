//! Names of keys in HSMs among nodes: a home announces its key, every other node gives the name once and for ever, and all
//! are told once a majority has.

use crate::convert;
use crate::decisions;
use crate::hsm_keys::HsmHeld;
use crate::node::{Node, now};
use crate::participate;
use crate::reply;
use prost::Message as _;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::key::KeyState;
use tally_domain::{HsmKeyRecord, NodeName, Reason, Refusal};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::hsm_key::{activate_step, name_step};

/// Announcements in one round of housekeeping: some milliseconds each, so that the rest of the round is not held up.
const SPREAD_MAX: usize = 64;

/// An announcement.
pub fn request(intent: &Envelope, statements: &[Statement]) -> v1::AnnounceKeyRequest {
    v1::AnnounceKeyRequest {
        intent: Some(convert::envelope_out(intent)),
        statements: statements.iter().map(convert::statement_out).collect(),
    }
}

/// Answers an announcement: gives the name to the key if it is free here, and keeps the certificate if there is one.
///
/// # Errors
/// `KEY_EXISTS`, `PROTOCOL_VIOLATION`, or why the intent is not believed.
pub async fn announced(
    node: &Arc<Node>,
    from: NodeName,
    request: v1::AnnounceKeyRequest,
) -> Result<v1::AnnounceKeyResponse, Refusal> {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "announce");
    let origin = Origin::Peer(from.clone());
    if request.statements.len() > roster.nodes.len() {
        return Err(bad());
    }
    let opened = participate::open(node, request.intent, &origin).await?;
    tracing::Span::current().record("request", opened.intent().request_id.to_string());
    let statements: Vec<Statement> = request.statements.into_iter().map(convert::statement_in).collect();
    let first = statements.first().ok_or_else(bad)?;
    let record = tally_signer::hsm_key::announced(&opened, first, &from, roster)?;
    let certificate = match statements.len() {
        1 => None,
        _ => Some(HsmKeyCertificate { statements }),
    };
    if certificate.as_ref().is_some_and(|c| c.open(roster).ok().as_ref() != Some(&record)) {
        return Err(bad());
    }
    let held = given(node, &opened, &record, origin).await?;
    if let Some(certificate) = certificate.filter(|_| held.state() == KeyState::Pending) {
        node.commit(activate_step(&record, &certificate, &node.boot, now())).await?;
        node.hsm_keys.put(record.clone(), Some(certificate));
    }
    let statement = record.sign(node.boot.key(), node.boot.cert());
    Ok(v1::AnnounceKeyResponse { statement: Some(convert::statement_out(&statement)) })
}

/// Gives the name to the key, durably; or finds that it has.
async fn given(node: &Arc<Node>, opened: &Opened, record: &HsmKeyRecord, origin: Origin) -> Result<HsmHeld, Refusal> {
    match node.hsm_keys.get(&record.name) {
        Some(held) if *held.record == *record => return Ok(held),
        None if node.keys.get(&record.name).is_none() => {}
        _ => {
            tracing::warn!(key = %record.name, home = %record.home, "announced, but the name is another key's here");
            return Err(Reason::KeyExists.into());
        }
    }
    let mut step = name_step(opened, record, &node.boot, now());
    step.leaves.insert(0, decisions::received(node, opened, origin));
    node.commit(step).await?;
    Ok(node.hsm_keys.put(record.clone(), None))
}

/// Tells peers that are there of this node's active keys, those that have not been told since this start.
pub async fn spread(node: &Arc<Node>) {
    let own = node.hsm_keys.all().into_iter().filter(|held| held.record.home == *node.name());
    let untold = |held: &HsmHeld| {
        held.certificate.is_some() && reachable(node).any(|peer| !node.hsm_keys.is_told(&held.record.name, &peer))
    };
    for held in own.filter(untold).take(SPREAD_MAX) {
        spread_one(node, &held).await;
    }
}

/// Tells peers that are there of one active key.
pub async fn spread_one(node: &Arc<Node>, held: &HsmHeld) {
    let (Some(certificate), name) = (&held.certificate, &held.record.name) else { return };
    let request = match stored_intent(node, held) {
        Ok(intent) => request(&intent, &home_first(node, held, certificate)),
        Err(refusal) => return tracing::error!(key = %name, %refusal, "the key cannot be announced"),
    };
    let untold: Vec<NodeName> = reachable(node).filter(|peer| !node.hsm_keys.is_told(name, peer)).collect();
    for peer in untold {
        let request = request.clone();
        match node.peers.call(&peer, |mut p| async move { p.announce_key(request).await }).await {
            Ok(_) => node.hsm_keys.note_told(name, &peer),
            Err(refusal) => {
                // A peer that has given the name elsewhere says so every time; it is told again after a restart.
                if refusal.reason == Reason::KeyExists {
                    node.hsm_keys.note_told(name, &peer);
                }
                tracing::warn!(key = %name, peer = %peer, reason = refusal.reason.as_str(), "the key is not announced");
            }
        }
    }
}

fn reachable(node: &Node) -> impl Iterator<Item = NodeName> {
    node.peers.by_reachability().into_iter().filter(|peer| node.peers.seen(peer).reachable)
}

/// An announcement begins with the home's statement.
fn home_first(node: &Node, held: &HsmHeld, certificate: &HsmKeyCertificate) -> Vec<Statement> {
    let by_home = |statement: &Statement| {
        HsmKeyRecord::open(statement, node.bundle().roster()).is_ok_and(|(by, _)| by == held.record.home)
    };
    let (mut statements, others): (Vec<_>, Vec<_>) = certificate.statements.iter().cloned().partition(by_home);
    statements.extend(others);
    statements
}

fn stored_intent(node: &Node, held: &HsmHeld) -> Result<Envelope, Refusal> {
    let row = node.store.hsm_key(&held.record.name).map_err(|e| reply::of_store(&e))?.ok_or(Reason::Tampered)?;
    Envelope::decode(row.intent.as_slice()).map_err(|_| Reason::Tampered.into())
}
