//! Freezes, and what lifts them, among nodes: whoever has one tells every other, until each has it on its disk; who was away
//! asks before it serves.

use crate::convert;
use crate::freezes::{Heard, Item};
use crate::lead_hsm::commit;
use crate::node::{Node, now};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::boot::Statement;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::{Freeze, NodeName, Reason, Refusal};
use tally_proto::v1;
use tally_signer::freeze::{Frozen, lift_step};

/// How long a caller waits for the others to have heard. They are told in any case; a node that is there answers in
/// milliseconds, one that hangs would take the time-out of a call.
const HEARING_MAX: Duration = Duration::from_secs(2);

/// Freezes in one answer to a node that was away: some 50 KiB of a peer message.
const PAGE: usize = 64;

/// Pages that one peer is asked for. A node has at most 128 freezes in force, of keys and of everything, and there are at
/// most 16 nodes.
const PAGES_MAX: u32 = 32;

/// Tells every other node of an item, and of whatever else it has not been told; gives who has it, and who has not yet.
pub async fn tell_all(node: &Arc<Node>, item: &Item) -> v1::Told {
    let tellings = node.peers.by_reachability().into_iter().map(|peer| {
        let node = node.clone();
        tokio::spawn(async move { tell(&node, &peer).await })
    });
    // Those that have not come to an end go on.
    let _ = tokio::time::timeout(HEARING_MAX, join_all(tellings)).await;
    let bundle = node.bundle();
    let others = bundle.roster().nodes.iter().map(|n| &n.name).filter(|name| *name != node.name());
    let (has, waiting) = others.partition::<Vec<_>, _>(|peer| node.freezes.heard(item, peer) == Some(Heard::Took));
    let names = |names: Vec<&NodeName>| names.into_iter().map(ToString::to_string).collect();
    v1::Told { acknowledged: names(has), waiting: names(waiting) }
}

/// Tells peers that are there of what they have not been told since this start.
pub fn spread(node: &Arc<Node>) {
    for peer in node.peers.by_reachability().into_iter().filter(|peer| node.peers.seen(peer).reachable) {
        let node = node.clone();
        tokio::spawn(async move { tell(&node, &peer).await });
    }
}

/// Tells one peer what it has not been told since this start, until it is away.
pub async fn tell(node: &Arc<Node>, peer: &NodeName) {
    for item in node.freezes.untold(peer) {
        let Some(request) = announcement(node, &item) else { continue };
        match node.peers.call(peer, |mut p| async move { p.announce_freeze(request).await }).await {
            Ok(_) => node.freezes.note_heard(item, peer, Heard::Took),
            Err(refusal) => {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), ?item, "the peer has not taken it");
                match refusal.reason {
                    Reason::ProtocolViolation | Reason::Overloaded => {
                        node.freezes.note_heard(item, peer, Heard::Refused);
                    }
                    _ => return,
                }
            }
        }
    }
}

fn announcement(node: &Node, item: &Item) -> Option<v1::AnnounceFreezeRequest> {
    let known = node.freezes.known();
    match item {
        Item::Freeze(name) => {
            // Lifted in between: then that is told.
            let frozen = known.in_force().find(|frozen| frozen.name() == *name)?;
            let freeze = Some(convert::statement_out(&frozen.statement));
            Some(v1::AnnounceFreezeRequest { freeze, unfreeze: Vec::new() })
        }
        Item::Lift(intent) => {
            let unfreeze = convert::unfreeze_out(&*node.freezes.lift(intent)?);
            Some(v1::AnnounceFreezeRequest { freeze: None, unfreeze })
        }
    }
}

/// Answers an announcement: it is on this node's disk, and holds.
///
/// # Errors
/// `PROTOCOL_VIOLATION` when it is not believed; `OVERLOADED` when one node freezes too much; `STORAGE`.
pub async fn announced(node: &Arc<Node>, from: NodeName, request: v1::AnnounceFreezeRequest) -> Result<(), Refusal> {
    let news = match (request.freeze, request.unfreeze) {
        (Some(freeze), unfreeze) if unfreeze.is_empty() => learn(node, &from, convert::statement_in(freeze)).await?,
        (None, unfreeze) if unfreeze.len() <= node.bundle().roster().nodes.len() => {
            learn_lift(node, &from, convert::unfreeze_in(unfreeze)).await?
        }
        _ => return Err(not_believed()),
    };
    if news {
        // Whoever told it may die before it has told everyone.
        spread(node);
    }
    Ok(())
}

fn not_believed() -> Refusal {
    Refusal::new(Reason::ProtocolViolation).with("round", "freeze")
}

/// Believes a freeze of any node of the roster, whoever tells it; gives whether it is news.
async fn learn(node: &Arc<Node>, from: &NodeName, statement: Statement) -> Result<bool, Refusal> {
    let (by, freeze) = Freeze::open(&statement, node.bundle().roster()).map_err(|_| not_believed())?;
    let frozen = Frozen { by, freeze, statement };
    node.freezes.note_heard(Item::Freeze(frozen.name()), from, Heard::Took);
    let _learning = node.freezes.learning().await;
    let known = node.freezes.known();
    if known.knows(&frozen.name()) {
        return Ok(false);
    }
    known.check_room(&frozen.by, &frozen.freeze.scope)?;
    commit(node, frozen.step(&node.boot, now())).await?;
    tracing::warn!(scope = %frozen.freeze.scope, freeze = %frozen.name(), told_by = %from, "frozen");
    node.freezes.note(frozen);
    Ok(true)
}

/// Believes a majority; gives whether it is news.
async fn learn_lift(node: &Arc<Node>, from: &NodeName, certificate: UnfreezeCertificate) -> Result<bool, Refusal> {
    let unfreeze = certificate.open(node.bundle().roster()).map_err(|_| not_believed())?;
    node.freezes.note_heard(Item::Lift(unfreeze.intent), from, Heard::Took);
    let _learning = node.freezes.learning().await;
    let known = node.freezes.known();
    if unfreeze.lifts.iter().all(|name| known.is_lifted(name)) {
        return Ok(false);
    }
    commit(node, lift_step(&unfreeze, &certificate, &node.boot, now())).await?;
    tracing::warn!(freezes = unfreeze.lifts.len(), told_by = %from, "freezes are lifted");
    node.freezes.note_lift(&unfreeze, certificate);
    Ok(true)
}

/// Asks a peer what is frozen.
pub async fn fetch(node: &Arc<Node>, peer: &NodeName) {
    let mut skip = 0;
    for _ in 0..PAGES_MAX {
        let request = v1::FetchFreezesRequest { skip };
        let Ok(answer) = node.peers.call(peer, |mut p| async move { p.fetch_freezes(request).await }).await else {
            return;
        };
        let count = answer.freezes.len();
        for statement in answer.freezes {
            if let Err(refusal) = learn(node, peer, convert::statement_in(statement)).await {
                tracing::warn!(peer = %peer, reason = refusal.reason.as_str(), "a freeze that the peer knows is not taken");
            }
        }
        if count < PAGE {
            return;
        }
        skip = skip.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// This node's freezes in force, after those that the caller has been given.
pub fn page(node: &Node, skip: u32) -> v1::FetchFreezesResponse {
    let known = node.freezes.known();
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let freezes = known.in_force().skip(skip).take(PAGE).map(|frozen| convert::statement_out(&frozen.statement));
    v1::FetchFreezesResponse { freezes: freezes.collect() }
}
