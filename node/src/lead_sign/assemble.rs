//! Choosing S: which peers to ask, asking them, and letting those go who agreed in vain.

use super::Outcome;
use crate::convert;
use crate::drive::deliver;
use crate::limits;
use crate::node::{Node, fresh_rng};
use crate::sessions::{Seat, SessionKey};
use futures_util::future::join_all;
use rand::Rng as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::key::KeyRecord;
use tally_domain::{Attempt, Claims, NodeName, Reason, Refusal, SignerSet};
use tally_proto::v1;
use tally_signer::admit::Permit;
use tally_signer::claims::Placer;
use tally_signer::session::{Members, Trouble};

/// Whom not to ask, and whom to ask last, in this call.
#[derive(Default)]
pub(super) struct Shunned {
    /// Named by a failed attempt, or refused.
    pub(super) excluded: BTreeSet<NodeName>,
    /// Were there when an attempt failed and nobody could be named.
    suspects: BTreeSet<NodeName>,
}

impl Shunned {
    /// Adds members of an attempt that failed without a name.
    pub(super) fn suspect(&mut self, members: &[NodeName]) {
        self.suspects.extend(members.iter().cloned());
    }
}

/// Peers to ask, best first: neither named nor banned nor fenced, and those without suspicion before the others.
fn candidates(node: &Node, record: &KeyRecord, shunned: &Shunned, needed: usize) -> Vec<NodeName> {
    let mut peers = node.peers.by_reachability();
    peers.retain(|p| {
        let barred = shunned.excluded.contains(p) || node.keys.banned(record, p) || node.peers.seen(p).fenced;
        record.party(p).is_some() && !barred
    });
    peers.sort_by_key(|p| shunned.suspects.contains(p));
    peers.truncate(needed);
    peers
}

/// Which try this is, and the promises that end those before it.
pub(super) struct Try<'a> {
    pub(super) attempt: Attempt,
    pub(super) abandonments: &'a [Statement],
}

/// S, all of which will take part.
pub(super) struct Assembled {
    pub(super) seat: Seat,
    pub(super) members: Members,
    pub(super) signers: SignerSet,
}

/// Finds t - 1 others that admit the request and will take part.
pub(super) async fn assemble(
    node: &Arc<Node>,
    permit: &Permit,
    claims: Option<&Claims>,
    attempt: &Try<'_>,
    shunned: &mut Shunned,
    placer: &mut Placer,
) -> Result<Assembled, Outcome> {
    let record = permit.subject().record();
    let needed = usize::from(record.threshold.t()) - 1;
    let mut away: Option<Refusal> = None;
    loop {
        let peers = candidates(node, record, shunned, needed);
        if peers.len() < needed {
            let refusal = away.filter(|r| r.reason != Reason::Signers).unwrap_or_else(|| {
                Refusal::new(Reason::Signers)
                    .with("needed", (needed + 1).to_string())
                    .with("available", (peers.len() + 1).to_string())
            });
            return Err(Outcome::Refused(refusal));
        }
        let (members, signers) = set(node, permit, &peers)?;
        let mut key: SessionKey = [0; 16];
        fresh_rng().fill_bytes(&mut key);
        let seat = node.sessions.open(key, &members)?;
        let answers = propose(node, permit, claims, attempt, key, &signers, &peers).await;
        let (mut refused, mut completed, mut met) = (Vec::new(), None, false);
        for (peer, answer) in peers.iter().zip(answers) {
            match answer {
                Ok(response) if !response.result.is_empty() => {
                    completed = Some(response.result);
                    refused.push((peer.clone(), Reason::Contention.into()));
                }
                Ok(response) if !response.in_the_way.is_empty() => {
                    placer.met(&limits::in_the_way_in(&response.in_the_way));
                    met = true;
                    refused.push((peer.clone(), Reason::Contention.into()));
                }
                Ok(_) => {}
                Err(refusal) => refused.push((peer.clone(), refusal)),
            }
        }
        if refused.is_empty() {
            return Ok(Assembled { seat, members, signers });
        }
        dismiss(node, &peers, &refused, key, members.me().get());
        if let Some(result) = completed {
            return Err(Outcome::Completed(result));
        }
        if met {
            return Err(Outcome::Met);
        }
        leave_out(refused, shunned, &mut away)?;
    }
}

/// Leaves out those who cannot take part; for whatever others would answer the same, the call ends.
fn leave_out(
    refused: Vec<(NodeName, Refusal)>,
    shunned: &mut Shunned,
    away: &mut Option<Refusal>,
) -> Result<(), Outcome> {
    for (peer, refusal) in refused {
        match refusal.reason {
            Reason::InDoubt => return Err(Outcome::Prior),
            reason if of_the_node(reason) => {
                shunned.excluded.insert(peer);
                // That a node is away says least of why there are too few.
                if away.as_ref().is_none_or(|r| r.reason == Reason::Signers) {
                    *away = Some(refusal);
                }
            }
            _ => return Err(Outcome::Refused(refusal)),
        }
    }
    Ok(())
}

/// Whether a refusal tells of the node that gives it, not of the request: another node may answer otherwise.
pub(crate) fn of_the_node(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Signers
            | Reason::Overloaded
            | Reason::Hsm
            | Reason::Storage
            | Reason::Tampered
            | Reason::PeerBanned
            | Reason::KeyNotFound
            | Reason::KeyNotActive
            | Reason::BundleMismatch
            | Reason::RolledBack
            | Reason::Recovering
            | Reason::ClockSkew
            | Reason::Deadline
            | Reason::Bug
    )
}

fn set(node: &Node, permit: &Permit, peers: &[NodeName]) -> Result<(Members, SignerSet), Outcome> {
    let record = permit.subject().record();
    let me = record.party(node.name()).ok_or(Reason::Signers).map_err(Refusal::from)?;
    let names = peers.iter().chain([node.name()]).filter_map(|n| Some((record.party(n)?, n.clone()))).collect();
    let members = Members::new(me, names);
    let parties: Vec<_> = members.pairs().into_iter().map(|(p, _)| p).collect();
    let signers = SignerSet::new(record.threshold, &parties).map_err(|_| Refusal::from(Reason::Bug))?;
    Ok((members, signers))
}

async fn propose(
    node: &Arc<Node>,
    permit: &Permit,
    claims: Option<&Claims>,
    attempt: &Try<'_>,
    key: SessionKey,
    signers: &SignerSet,
    peers: &[NodeName],
) -> Vec<Result<v1::ProposeSignResponse, Refusal>> {
    let request = v1::ProposeSignRequest {
        session: key.to_vec(),
        intent: Some(convert::envelope_out(permit.subject().opened().envelope())),
        attempt: attempt.attempt.0,
        signers: signers.to_bytes(),
        bundle_digest: permit.bundle().0.to_vec(),
        approvals: permit.approvals().iter().map(convert::envelope_out).collect(),
        claims: claims.map(Claims::to_bytes).unwrap_or_default(),
        abandonments: attempt.abandonments.iter().map(convert::statement_out).collect(),
    };
    join_all(peers.iter().map(|peer| {
        let request = request.clone();
        node.peers.call(peer, |mut p| async move { p.propose_sign(request).await })
    }))
    .await
}

/// Tells those who said yes that the session does not take place.
fn dismiss(node: &Arc<Node>, peers: &[NodeName], refused: &[(NodeName, Refusal)], key: SessionKey, me: u8) {
    let bytes = Trouble::dismissal();
    for peer in peers.iter().filter(|p| refused.iter().all(|(r, _)| r != *p)) {
        let (node, peer, bytes) = (node.clone(), peer.clone(), bytes.clone());
        tokio::spawn(async move { deliver(&node, &peer, key, me, bytes).await });
    }
}
