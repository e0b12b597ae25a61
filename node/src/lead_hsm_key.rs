//! Creating a key in this node's HSM, one that signs or one that wraps: admit, write down, make it on the token, give it its name here, and have a majority
//! of nodes give it the same name.

use crate::convert;
use crate::deadline;
use crate::decisions;
use crate::hsm_keys::HsmHeld;
use crate::hsm_names;
use crate::lead_hsm::commit;
use crate::lead_kek;
use crate::node::{Node, now};
use crate::recover;
use crate::reply;
use crate::vault;
use futures_util::future::join_all;
use std::sync::Arc;
use tally_audit::event::Origin;
use tally_domain::Digest;
use tally_domain::boot::Statement;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::ports::hsm::{HsmError, ObjectId};
use tally_domain::ports::store::Write;
use tally_domain::ports::store::tokens::VaultWrite;
use tally_domain::{HsmKeyRecord, HsmScheme, KekNumber, Material, PublicKey, Reason, Refusal};
use tally_signer::admit::Opened;
use tally_signer::freeze::unless_frozen;
use tally_signer::hsm_key::{CreateHsmPermit, Wish, activate_step, admit_create_hsm, complete_write, name_step};
use tally_signer::kek::{new_version, with_first_version};

/// How often the token is asked for one key. Making an RSA key may outlast the time for one operation; then it is not known
/// whether the key was made, and asking again finds it.
const TOKEN_TRIES_MAX: u32 = 5;

/// Creates a key for a client, or gives the one that this very intent has created.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE`, of which nothing is written down here, when the client wants the key elsewhere.
pub async fn create(node: &Arc<Node>, opened: Opened, origin: Origin) -> Result<(HsmHeld, String), Refusal> {
    let intent = opened.intent();
    let _guard = node.inflight.take(&intent.tenant, intent.request_id).await;
    deadline::check()?;
    if recover::completed(node, &opened)?.is_some() {
        let held = node.hsm_keys.get(&intent.key).ok_or(Reason::Tampered)?;
        return Ok((held, String::new()));
    }
    let permit = admitted(node, &opened, origin.clone()).await?;
    let record = match node.hsm_keys.get(&intent.key) {
        Some(held) => (*held.record).clone(),
        None => named(node, &permit).await?,
    };
    let certificate = match certified(node, &opened, &record).await {
        Ok(certificate) => certificate,
        Err(refusal) if refusal.reason == Reason::KeyExists => {
            return Err(decisions::refused(node, &opened, origin, refusal).await);
        }
        Err(refusal) => return Err(refusal),
    };
    let mut step = activate_step(&record, &certificate, &node.boot, now());
    step.writes.push(complete_write(&record, now()));
    commit(node, step).await?;
    tracing::info!(key = %record.name, algorithm = record.algorithm(), "key is active in the HSM");
    let held = node.hsm_keys.put(record, Some(certificate));
    let (node, told) = (node.clone(), held.clone());
    tokio::spawn(async move { hsm_names::spread_one(&node, &told).await });
    Ok((held, permit.rule().to_owned()))
}

/// Decides here, and writes it down. The name must be free, or given to this very request's key.
async fn admitted(node: &Arc<Node>, opened: &Opened, origin: Origin) -> Result<CreateHsmPermit, Refusal> {
    let intent = opened.intent();
    let known = node.freezes.known();
    let outcome = admit_create_hsm(opened.clone(), node.name(), &known, &node.bundle(), now()).and_then(|permit| {
        let own = |held: &HsmHeld| (&held.record.tenant, held.record.request_id) == (&intent.tenant, intent.request_id);
        let free = node.keys.get(&intent.key).is_none() && node.hsm_keys.get(&intent.key).is_none_or(|held| own(&held));
        if free { Ok(permit) } else { Err(Reason::KeyExists.into()) }
    });
    match outcome {
        Ok(permit) => {
            let summary = permit.wish().to_string();
            decisions::permitted(node, opened, origin, permit.rule(), &summary, Vec::new()).await?;
            Ok(permit)
        }
        Err(refusal) if refusal.reason == Reason::HomeNode => Err(refusal),
        Err(refusal) => Err(decisions::refused(node, opened, origin, refusal).await),
    }
}

/// The key on the token, with its name given here.
async fn named(node: &Arc<Node>, permit: &CreateHsmPermit) -> Result<HsmKeyRecord, Refusal> {
    match permit.wish() {
        Wish::Signing(spec) => {
            let public_key = signing_key(node, permit.object(), spec.scheme).await?;
            let record = permit.record(Material::Signing(public_key), &node.boot)?;
            commit(node, name_step(permit.opened(), &record, &node.boot, now())).await?;
            node.hsm_keys.put(record.clone(), None);
            Ok(record)
        }
        Wish::Kek { .. } => {
            let (id, made) = lead_kek::on_token(node).await?;
            let record = permit.record(Material::Kek { id, check_value: made.check_value }, &node.boot)?;
            let version = new_version(KekNumber::FIRST, id, &made, now());
            let step = name_step(permit.opened(), &record, &node.boot, now());
            let transfer = made.transfer.clone();
            let step = with_first_version(step, permit.opened(), &version, transfer, &node.boot, now());
            commit(node, step).await?;
            node.keks.put(&record.name, version, made.transfer);
            node.hsm_keys.put(record.clone(), None);
            Ok(record)
        }
        Wish::Tokens(checked) => {
            let record =
                permit.record(Material::Tokens { spec: Digest::of(&checked.spec().to_bytes()) }, &node.boot)?;
            let new = vault::first_keys(node, checked, &record.name, now()).await?;
            let mut step = name_step(permit.opened(), &record, &node.boot, now());
            step.writes.push(Write::Vault(VaultWrite::PutDomain(new)));
            commit(node, unless_frozen(step, &record.name)).await?;
            node.hsm_keys.put(record.clone(), None);
            Ok(record)
        }
    }
}

async fn signing_key(node: &Arc<Node>, id: ObjectId, scheme: HsmScheme) -> Result<PublicKey, Refusal> {
    let mut outcome = Err(HsmError::Busy);
    for _ in 0..TOKEN_TRIES_MAX {
        outcome = node.hsm.create_signing_key(id, scheme).await;
        if !matches!(outcome, Err(HsmError::Deadline { .. })) {
            break;
        }
    }
    outcome.map_err(|e| reply::of_hsm(&e))
}

/// The statements of a majority of nodes, this one's among them.
async fn certified(node: &Arc<Node>, opened: &Opened, record: &HsmKeyRecord) -> Result<HsmKeyCertificate, Refusal> {
    let bundle = node.bundle();
    let roster = bundle.roster();
    let own = record.sign(node.boot.key(), node.boot.cert());
    let request = hsm_names::request(opened.envelope(), std::slice::from_ref(&own));
    let peers = node.peers.by_reachability();
    let answers = join_all(peers.iter().map(|peer| {
        let request = request.clone();
        node.peers.call(peer, |mut p| async move { p.announce_key(request).await })
    }))
    .await;
    let mut statements: Vec<Statement> = vec![own];
    let mut refused = None;
    for (peer, answer) in peers.iter().zip(answers) {
        let answer = answer.and_then(|a| {
            let statement = convert::statement_in(a.statement.unwrap_or_default());
            let believed = HsmKeyRecord::open(&statement, roster).is_ok_and(|(by, r)| by == *peer && r == *record);
            if believed {
                Ok(statement)
            } else {
                Err(Refusal::new(Reason::ProtocolViolation).with("node", peer.as_str()))
            }
        });
        match answer {
            Ok(statement) => statements.push(statement),
            Err(refusal) if refusal.reason == Reason::KeyExists => refused = Some(refusal),
            Err(refusal) => {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), "the peer does not sign the key's name");
            }
        }
    }
    let needed = roster.majority();
    match (statements.len() >= needed, refused) {
        (true, _) => Ok(HsmKeyCertificate { statements }),
        (false, Some(taken)) => Err(taken),
        (false, None) => Err(Refusal::new(Reason::Participants)
            .with("needed", needed.to_string())
            .with("available", statements.len().to_string())),
    }
}
