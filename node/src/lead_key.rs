//! Creating a key: all signer nodes of the roster admit, generate and certify it; otherwise there is no key.

use crate::convert;
use crate::deadline;
use crate::decisions;
use crate::drive::{Failed, drive};
use crate::hsm_keys::HsmHeld;
use crate::lead_hsm_key;
use crate::node::{Node, fresh_rng, now};
use crate::recover;
use crate::sessions::{Seat, SessionKey};
use crate::{keys::Held, reply};
use futures_util::future::join_all;
use prost::Message as _;
use rand::Rng as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_audit::event::Origin;
use tally_domain::dsse::Envelope;
use tally_domain::key::{KeyCertificate, KeyRecord, KeyState};
use tally_domain::{Action, ClientId, KeyName, NodeName, PartyIndex, Reason, Refusal};
use tally_proto::v1;
use tally_signer::admit::{self, CreatePermit, Opened};
use tally_signer::keygen_session::{Created, KeygenSession, Start, activate_step};
use tally_signer::session::Members;

/// Longest time for one key generation; DKLs23 among 16 nodes computes for many seconds.
const CREATE_DEADLINE: Duration = Duration::from_secs(120);

/// Longest wait for the peers to have a new key active: they are a message and a durable write behind the leader.
const ACTIVE_MAX: Duration = Duration::from_secs(2);

/// How often a peer is asked.
const ACTIVE_POLL: Duration = Duration::from_millis(10);

/// Creates a key for a client, or gives the one that this very intent has created.
///
/// # Errors
/// A [`Refusal`].
pub async fn create(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<(v1::Key, String), Refusal> {
    let (opened, origin) = decisions::opened(node, caller, envelope).await?;
    let work = async {
        if opened.intent().action == Action::CreateHsmKey {
            let (held, rule) = lead_hsm_key::create(node, opened, origin).await?;
            return Ok((convert::hsm_key_out(&held), rule));
        }
        node.check_signer()?;
        lead(node, opened, origin).await.map(|(held, rule)| (convert::key_out(&held, None), rule))
    };
    tokio::time::timeout(CREATE_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

/// Makes a token domain for a client, or gives the one that this very intent has made.
///
/// # Errors
/// A [`Refusal`].
pub async fn create_domain(
    node: &Arc<Node>,
    caller: ClientId,
    envelope: Envelope,
) -> Result<(HsmHeld, String), Refusal> {
    let (opened, origin) = decisions::opened_for(Action::CreateDomain, node, caller, envelope).await?;
    let work = lead_hsm_key::create(node, opened, origin);
    tokio::time::timeout(CREATE_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

/// Creates a KEK for a client, or gives the one that this very intent has created.
///
/// # Errors
/// A [`Refusal`].
pub async fn create_kek(node: &Arc<Node>, caller: ClientId, envelope: Envelope) -> Result<(HsmHeld, String), Refusal> {
    let (opened, origin) = decisions::opened_for(Action::CreateKek, node, caller, envelope).await?;
    let work = lead_hsm_key::create(node, opened, origin);
    tokio::time::timeout(CREATE_DEADLINE, work).await.unwrap_or(Err(Reason::Deadline.into()))
}

async fn lead(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<(Held, String), Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    sync_key(node, &intent.key).await;
    if recover::completed(node, &opened)?.is_some() {
        let held = node.keys.get(&intent.key).ok_or(Reason::Tampered)?;
        return Ok((held, String::new()));
    }
    let permit = admitted(node, &opened, origin).await?;
    let rule = permit.rule().to_owned();
    let members = members(node)?;
    let mut key: SessionKey = [0; 16];
    fresh_rng().fill_bytes(&mut key);
    let seat = node.sessions.open(key, &members)?;
    let request = v1::ProposeKeyRequest {
        session: key.to_vec(),
        intent: Some(convert::envelope_out(opened.envelope())),
        participants: members.names().iter().map(ToString::to_string).collect(),
        bundle_digest: node.bundle().digest().0.to_vec(),
    };
    let others: Vec<NodeName> = members.others().map(|(_, n)| n.clone()).collect();
    let answers = join_all(others.iter().map(|peer| {
        let request = request.clone();
        node.peers.call(peer, |mut p| async move { p.propose_key(request).await })
    }))
    .await;
    for answer in answers {
        let response = answer.map_err(|refusal| match refusal.reason {
            Reason::Signers => Refusal { reason: Reason::Participants, ..refusal },
            _ => refusal,
        })?;
        if !response.certificate.is_empty() {
            // A peer has it already; this node's share of it is pending.
            let certificate = convert::key_certificate_in(response.certificate);
            return adopt(node, &opened.intent().key, certificate).await.map(|held| (held, rule));
        }
    }
    let created = take_part(node, seat, members, permit).await.map_err(|f: Failed| f.refusal)?;
    join_all(others.iter().map(|peer| active_at(node, peer, &intent.key))).await;
    let held = Held { record: Arc::new(created.record), state: KeyState::Active };
    Ok((held, rule))
}

/// Waits until a peer has the key active too, so that whoever was told of the key finds it at every node. A peer that is not
/// there in time learns of it when it is next asked.
async fn active_at(node: &Arc<Node>, peer: &NodeName, name: &KeyName) {
    let until = Instant::now() + ACTIVE_MAX;
    while Instant::now() < until {
        let request = v1::FetchKeyRequest { name: name.to_string() };
        match node.peers.call(peer, |mut p| async move { p.fetch_key(request).await }).await {
            Err(refusal) if refusal.reason == Reason::KeyNotActive => tokio::time::sleep(ACTIVE_POLL).await,
            Ok(_) | Err(_) => return,
        }
    }
}

/// Decides here, and writes it down. The name must be free, or pending from this very request.
///
/// # Errors
/// A [`Refusal`].
pub async fn admitted(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<CreatePermit, Refusal> {
    let taken = node
        .keys
        .get(&opened.intent().key)
        .filter(|held| held.state == KeyState::Active || held.record.request_id != opened.intent().request_id);
    let outcome = match taken {
        Some(held) if held.state == KeyState::Pending => {
            // Its own request can still complete it; nobody else may take the name from it.
            Err(Refusal::new(Reason::KeyExists).with("pending_request", held.record.request_id.to_string()))
        }
        Some(_) => Err(Refusal::from(Reason::KeyExists)),
        None if node.hsm_keys.get(&opened.intent().key).is_some() => Err(Refusal::from(Reason::KeyExists)),
        None => admit::admit_create(opened.clone(), &node.freezes.known(), &node.bundle(), now()),
    };
    match outcome {
        Ok(permit) => {
            let (spec, t, n) = (permit.spec(), permit.spec().threshold.t(), permit.spec().threshold.n());
            let summary = format!("create {} {t} of {n} for {}", spec.scheme, spec.purpose);
            decisions::permitted(node, opened, origin, permit.rule(), &summary, Vec::new()).await?;
            Ok(permit)
        }
        Err(refusal) => Err(decisions::refused(node, opened, origin, refusal).await),
    }
}

/// All share-holders of a new key: the roster's signers, in its order.
///
/// # Errors
/// `NOT_A_SIGNER` when this node is not one of them.
pub fn members(node: &Node) -> Result<Members, Refusal> {
    node.check_signer()?;
    let bundle = node.bundle();
    let names = bundle.roster().signers().map(|n| n.name.clone());
    let numbered: std::collections::BTreeMap<PartyIndex, NodeName> =
        (1u8..).zip(names).filter_map(|(i, n)| Some((PartyIndex::new(i).ok()?, n))).collect();
    let me = numbered.iter().find(|(_, n)| *n == node.name()).map(|(p, _)| *p).ok_or(Reason::NotASigner)?;
    Ok(Members::new(me, numbered))
}

/// This node's side of a key generation.
///
/// # Errors
/// [`Failed`].
pub async fn take_part(
    node: &Arc<Node>,
    seat: Seat,
    members: Members,
    permit: CreatePermit,
) -> Result<Created, Failed> {
    let (me, names) = (members.me().get(), members.names());
    let start = Start { permit, boot: node.boot.clone(), bundle: node.bundle(), members };
    let (session, actions) = KeygenSession::start(start, &mut fresh_rng());
    let created = drive(node, seat, me, names, session, actions).await?;
    node.keys.put(created.record.clone(), KeyState::Active);
    tracing::info!(key = %created.record.name, scheme = %created.record.scheme, "key is active");
    Ok(created)
}

/// The certificate of an active key, for the request that created it.
///
/// # Errors
/// `KEY_EXISTS` when another request created it.
pub fn certificate_for(node: &Node, opened: &Opened, held: &Held) -> Result<v1::ProposeKeyResponse, Refusal> {
    if held.record.request_id != opened.intent().request_id {
        return Err(Reason::KeyExists.into());
    }
    let row = node.store.key(&held.record.name).map_err(|e| reply::of_store(&e))?.ok_or(Reason::KeyNotFound)?;
    let certificate =
        KeyCertificate::decode(row.certificate.unwrap_or_default().as_slice()).map_err(|_| Reason::Tampered)?;
    Ok(v1::ProposeKeyResponse { certificate: certificate.statements.iter().map(convert::statement_out).collect() })
}

/// Activates a pending key that another node proves to be certified by all.
async fn adopt(node: &Arc<Node>, name: &KeyName, certificate: KeyCertificate) -> Result<Held, Refusal> {
    let bad = || Refusal::new(Reason::ProtocolViolation).with("round", "certify");
    let record: KeyRecord = certificate.open(node.bundle().roster()).map_err(|_| bad())?;
    let row = node.store.key(name).map_err(|e| reply::of_store(&e))?.ok_or(Reason::KeyNotFound)?;
    if record.name != *name || row.record != record.to_bytes() {
        return Err(bad());
    }
    node.commit(activate_step(&Created { record: record.clone(), certificate }, &node.boot, now())).await?;
    node.keys.put(record.clone(), KeyState::Active);
    Ok(Held { record: Arc::new(record), state: KeyState::Active })
}

/// Asks the peers for the certificate of a key that is pending here; does nothing for other keys.
pub async fn sync_key(node: &Arc<Node>, name: &KeyName) {
    let row = match node.store.key(name) {
        Ok(Some(row)) if row.state == KeyState::Pending => row,
        _ => return,
    };
    for peer in node.peers.by_reachability() {
        let request = v1::FetchKeyRequest { name: name.to_string() };
        let Ok(answer) = node.peers.call(&peer, |mut p| async move { p.fetch_key(request).await }).await else {
            continue;
        };
        let certificate = convert::key_certificate_in(answer.certificate);
        match adopt(node, name, certificate).await {
            Ok(_) => return,
            Err(refusal) => {
                tracing::warn!(key = %name, peer = %peer, reason = refusal.reason.as_str(), pending = row.record.len(), "the peer's certificate does not fit the pending key");
            }
        }
    }
}
