//! Freezing for a client, alone and at once; and lifting freezes with a majority of nodes, each of which decides by itself.

use crate::convert;
use crate::decisions;
use crate::freeze_news::{tell, tell_all};
use crate::freezes::{Item, stored};
use crate::lead_hsm::commit;
use crate::node::{Node, fresh_rng, now};
use crate::participate;
use crate::recover;
use futures_util::future::join_all;
use prost::Message as _;
use rand::Rng as _;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::boot::Statement;
use tally_domain::dsse::Envelope;
use tally_domain::freeze::{Unfreeze, UnfreezeCertificate, UnfreezeSpec};
use tally_domain::{Action, ClientId, FreezeId, NodeName, Reason, Refusal, Tenant};
use tally_proto::v1;
use tally_signer::admit::Opened;
use tally_signer::freeze::{Frozen, UnfreezePermit, admit_freeze, admit_unfreeze, complete_write, lift_step};

/// Freezes for a client, or gives the freeze that this very intent has made here.
///
/// # Errors
/// A [`Refusal`].
pub async fn freeze(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<v1::FreezeResponse, Refusal> {
    let (opened, origin) = decisions::opened_for(Action::Freeze, node, caller, envelope).await?;
    let intent = opened.intent();
    let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    let (frozen, rule) = match done(node, &opened, &origin).await? {
        Some(bytes) => (in_force(node, stored(node.name(), &bytes)?)?, String::new()),
        None => frozen(node, &opened, origin).await?,
    };
    drop(guard);
    let told = tell_all(node, &Item::Freeze(frozen.name())).await;
    Ok(v1::FreezeResponse { freeze: Some(convert::freeze_out(&frozen)), rule, told: Some(told) })
}

/// What an intent has frozen stays frozen until it is lifted, and is not frozen by the same intent again.
fn in_force(node: &Node, frozen: Frozen) -> Result<Frozen, Refusal> {
    if node.freezes.known().is_lifted(&frozen.name()) {
        let detail = "this request's freeze has been lifted; draw a new request id to freeze again";
        return Err(Refusal::new(Reason::FreezeNotFound).with("detail", detail));
    }
    Ok(frozen)
}

async fn frozen(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<(Frozen, String), Refusal> {
    let known = node.freezes.known();
    let admitted = admit_freeze(opened.clone(), owner(node, opened).as_ref(), &node.bundle(), now())
        .and_then(|permit| known.check_room(node.name(), permit.scope()).map(|()| permit));
    let permit = match admitted {
        Ok(permit) => permit,
        Err(refusal) => return Err(decisions::refused(node, opened, origin, refusal).await),
    };
    let (rule, summary) = (permit.rule().to_owned(), format!("freeze {}", permit.scope()));
    decisions::permitted(node, opened, origin, &rule, &summary, Vec::new()).await?;
    let mut id = FreezeId([0; 16]);
    fresh_rng().fill_bytes(&mut id.0);
    let frozen = permit.freeze(id, &node.boot, now());
    let mut step = frozen.step(&node.boot, now());
    step.writes.push(complete_write(opened, frozen.statement.encode_to_vec(), now()));
    commit(node, step).await?;
    tracing::warn!(scope = %frozen.freeze.scope, freeze = %frozen.name(), "frozen for a client");
    node.freezes.note(frozen.clone());
    Ok((frozen, rule))
}

/// Lifts freezes for a client, or gives what this very intent has lifted here.
///
/// # Errors
/// A [`Refusal`]; `PARTICIPANTS` when fewer than a majority of nodes want it.
pub async fn unfreeze(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<v1::UnfreezeResponse, Refusal> {
    let (opened, origin) = decisions::opened_for(Action::Unfreeze, node, caller, envelope).await?;
    let intent = opened.intent();
    let guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    let (certificate, rule) = match done(node, &opened, &origin).await? {
        Some(bytes) => (UnfreezeCertificate::decode(bytes.as_slice()).map_err(|_| Reason::Tampered)?, String::new()),
        None => lifted(node, &opened, origin).await?,
    };
    drop(guard);
    let told = tell_all(node, &Item::Lift(opened.digest())).await;
    let lifts = UnfreezeSpec::from_bytes(&opened.intent().content)?.lifts;
    Ok(v1::UnfreezeResponse {
        lifted: lifts.iter().map(convert::freeze_name_out).collect(),
        rule,
        certificate: convert::unfreeze_out(&certificate),
        told: Some(told),
    })
}

async fn lifted(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<(UnfreezeCertificate, String), Refusal> {
    let (permit, own) = own_word(node, opened, origin).await?;
    let certificate = UnfreezeCertificate { statements: majority(node, opened, &permit, own).await? };
    let unfreeze = certificate.open(node.bundle().roster()).map_err(|_| Reason::Bug)?;
    let _learning = node.freezes.learning().await;
    let mut step = lift_step(&unfreeze, &certificate, &node.boot, now());
    step.writes.push(complete_write(opened, certificate.encode_to_vec(), now()));
    commit(node, step).await?;
    tracing::warn!(scope = %permit.scope(), freezes = unfreeze.lifts.len(), "freezes are lifted for a client");
    node.freezes.note_lift(&unfreeze, certificate.clone());
    Ok((certificate, permit.rule().to_owned()))
}

/// The words of a majority of nodes, this one's among them. Each is told first what is frozen: it gives its word only for
/// freezes that it knows.
async fn majority(
    node: &Arc<Node>,
    opened: &Opened,
    permit: &UnfreezePermit,
    own: Statement,
) -> Result<Vec<Statement>, Refusal> {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let request = v1::ProposeUnfreezeRequest { intent: Some(convert::envelope_out(opened.envelope())) };
    let peers = node.peers.by_reachability();
    let answers = join_all(peers.iter().map(|peer| {
        let request = request.clone();
        async move {
            tell(node, peer).await;
            node.peers.call(peer, |mut p| async move { p.propose_unfreeze(request).await }).await
        }
    }))
    .await;
    let (mut statements, mut refused) = (vec![own], None);
    for (peer, answer) in peers.iter().zip(answers) {
        let word = answer.and_then(|a| {
            let statement = convert::statement_in(a.statement.unwrap_or_default());
            let believed = Unfreeze::open(&statement, roster).is_ok_and(|(by, u)| by == *peer && permit.is_said_by(&u));
            if believed { Ok(statement) } else { Err(Reason::ProtocolViolation.into()) }
        });
        match word {
            Ok(statement) => statements.push(statement),
            Err(refusal) => {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), "the peer does not want it");
                refused = refused.or((refusal.reason != Reason::Signers).then_some((peer, refusal.reason)));
            }
        }
    }
    let needed = roster.majority();
    if statements.len() >= needed {
        return Ok(statements);
    }
    let refusal = Refusal::new(Reason::Participants)
        .with("needed", needed.to_string())
        .with("available", statements.len().to_string());
    Err(match refused {
        Some((peer, reason)) => refusal.with("refused_by", peer.as_str()).with("refused", reason.as_str()),
        None => refusal,
    })
}

/// Answers another node that leads: with this node's word, if it permits it.
///
/// # Errors
/// A [`Refusal`].
pub async fn propose_unfreeze(
    node: &Arc<Node>,
    leader: NodeName,
    request: v1::ProposeUnfreezeRequest,
) -> Result<v1::ProposeUnfreezeResponse, Refusal> {
    let origin = Origin::Peer(leader);
    let opened = participate::open(node, request.intent, &origin).await?;
    let intent = opened.intent();
    tracing::Span::current().record("request", intent.request_id.to_string());
    let _guard = node.inflight.try_take(&intent.tenant, intent.request_id).ok_or(Reason::Contention)?;
    let (_, statement) = own_word(node, &opened, origin).await?;
    Ok(v1::ProposeUnfreezeResponse { statement: Some(convert::statement_out(&statement)) })
}

/// Decides here, and writes down the decision and then the word.
async fn own_word(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<(UnfreezePermit, Statement), Refusal> {
    let (owner, known) = (owner(node, opened), node.freezes.known());
    let permit = match admit_unfreeze(opened.clone(), owner.as_ref(), &known, &node.bundle(), now()) {
        Ok(permit) => permit,
        Err(refusal) => return Err(decisions::refused(node, opened, origin, refusal).await),
    };
    let summary = format!("lift {} freezes of {}", permit.lifts().len(), permit.scope());
    decisions::permitted(node, opened, origin, permit.rule(), &summary, Vec::new()).await?;
    let (statement, step) = permit.word(&node.boot, now());
    node.commit(step).await?;
    Ok((permit, statement))
}

/// What this very intent has come to here.
async fn done(node: &Arc<Node>, opened: &Opened, origin: &Origin) -> Result<Option<Vec<u8>>, Refusal> {
    match recover::completed(node, opened) {
        Ok(completed) => Ok(completed),
        Err(refusal) => Err(decisions::refused(node, opened, origin.clone(), refusal).await),
    }
}

/// Whose the key is that an intent names, if this node knows it.
fn owner(node: &Node, opened: &Opened) -> Option<Tenant> {
    let key = &opened.intent().key;
    let threshold = node.keys.get(key).map(|held| held.record.tenant.clone());
    threshold.or_else(|| node.hsm_keys.get(key).map(|held| held.record.tenant.clone()))
}
