//! Greetings between nodes: who each is, which start of it this is, which bundle it holds, and how far its log has come.
//!
//! A node that shows an earlier start or a shorter log than before was restored from an older copy: it may have forgotten
//! votes, and would give others for the same objects. It is fenced, durably, until an operator of this node accepts it
//! (S-3.5, S-3.6).

use crate::bundle_news;
use crate::convert;
use crate::node::{Node, now};
use crate::peers::{LastGreeting, offset};
use crate::reply;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tally_audit::checkpoint::{Checkpoint, origin};
use tally_domain::boot::BootCert;
use tally_domain::ports::store::{Step, Write};
use tally_domain::{NodeName, Reason, Refusal, UnixMillis};
use tally_proto::v1;

/// What this node shows of itself.
///
/// # Errors
/// `HSM`, `STORAGE`, `TAMPERED`: there is no checkpoint to show.
pub async fn own(node: &Arc<Node>) -> Result<v1::Greeting, Refusal> {
    let (_, checkpoint, sequence) = node.checkpoints.numbered(node).await?;
    Ok(v1::Greeting {
        boot_cert: Some(convert::envelope_out(node.boot.cert())),
        bundle_digest: node.bundle().digest().0.to_vec(),
        time_ms: now().0,
        checkpoint,
        sequence,
        bundle_version: node.bundle().version(),
    })
}

/// Greets a peer, and learns from its answer what it is and whether it has fenced this node.
pub async fn greet(node: &Arc<Node>, peer: &NodeName) {
    let greeting = match own(node).await {
        Ok(greeting) => greeting,
        Err(refusal) => {
            tracing::warn!(%refusal, "nothing to greet with");
            return;
        }
    };
    let request = v1::GreetRequest { greeting: Some(greeting) };
    match node.peers.call(peer, |mut p| async move { p.greet(request).await }).await {
        Ok(answer) => {
            if let Err(refusal) = greeted(node, peer, answer.greeting).await {
                tracing::warn!(peer = %peer, %refusal, "the peer's greeting is not believed");
            }
        }
        Err(refusal) if refusal.reason == Reason::RolledBack => {
            if !node.recovering.swap(true, Ordering::Relaxed) {
                tracing::error!(peer = %peer, "this node was restored from an older copy: its peers have fenced it, and it takes part in nothing until their operators accept it");
            }
        }
        Err(_) => {}
    }
}

/// Notes what a peer shows of itself.
///
/// # Errors
/// `MALFORMED`, `UNKNOWN_NODE`; `ROLLED_BACK` when it shows less than before, or has at some time and was not accepted
/// since; `STORAGE`.
pub async fn greeted(node: &Arc<Node>, peer: &NodeName, greeting: Option<v1::Greeting>) -> Result<(), Refusal> {
    let greeting = greeting.ok_or_else(|| Refusal::new(Reason::Malformed).with("field", "greeting"))?;
    let bundle = node.bundle();
    let roster = bundle.roster();
    let cert = BootCert::open(&convert::envelope_in(greeting.boot_cert)?, roster).map_err(|_| Reason::UnknownNode)?;
    let identity = &roster.node(peer).ok_or(Reason::UnknownNode)?.identity;
    let origin = origin(&roster.cluster, peer);
    let shown = Checkpoint::open(&greeting.checkpoint, &origin, &origin, identity).map_err(|_| Reason::UnknownNode)?;
    if cert.node != *peer {
        return Err(Reason::UnknownNode.into());
    }
    // One at a time for each peer; one that was overtaken by a later one of the same start says nothing new, and must not
    // look like a log that shrinks.
    let mut last = node.peers.last_greeting(peer)?.lock().await;
    let same_start = last.as_ref().filter(|l| l.boot_key == cert.boot_key);
    if same_start.is_some_and(|l| greeting.sequence <= l.sequence) {
        return node.peers.check_fence(peer);
    }
    // Two keys for one start: one of them comes from a copy.
    let forked = last.as_ref().is_some_and(|l| l.incarnation == cert.incarnation && l.boot_key != cert.boot_key);
    let kept = note_shown(node, peer, &cert, &shown, forked).await;
    *last = Some(LastGreeting {
        incarnation: cert.incarnation,
        boot_key: cert.boot_key.clone(),
        sequence: greeting.sequence,
    });
    let ahead = greeting.bundle_version > bundle.version();
    let fenced = matches!(&kept, Err(refusal) if refusal.reason == Reason::RolledBack);
    node.peers.note(peer, |seen| {
        seen.reachable = true;
        seen.fenced = fenced;
        seen.incarnation = Some(cert.incarnation);
        seen.bundle_digest = greeting.bundle_digest;
        seen.clock_offset_ms = offset(UnixMillis(greeting.time_ms), now());
    });
    if ahead && kept.is_ok() {
        let (node, peer) = (node.clone(), peer.clone());
        tokio::spawn(async move { bundle_news::catch_up(&node, &peer).await });
    }
    kept
}

/// Keeps what a peer has shown, or fences it.
async fn note_shown(
    node: &Arc<Node>,
    peer: &NodeName,
    cert: &BootCert,
    shown: &Checkpoint,
    forked: bool,
) -> Result<(), Refusal> {
    let store = |e| reply::of_store(&e);
    let last_start = node.store.peer_incarnation(peer).map_err(store)?;
    let last_head = node.store.peer_head(peer).map_err(store)?;
    let earlier_start = last_start.is_some_and(|last| cert.incarnation < last);
    let shorter_log =
        last_head.is_some_and(|last| shown.size < last.size || (shown.size == last.size && shown.root != last.root));
    if last_head.is_some_and(|h| h.fenced) || forked || earlier_start || shorter_log {
        if !last_head.is_some_and(|h| h.fenced) {
            tracing::error!(peer = %peer, start = cert.incarnation.0, leaves = shown.size,
                "the peer shows less than before: it was restored from an older copy, and is fenced");
            let write = Write::FencePeer { node: peer.clone() };
            node.commit(Step { writes: vec![write], leaves: Vec::new() }).await?;
        }
        return Err(Refusal::new(Reason::RolledBack).with("node", node.name().as_str()).with("peer", peer.as_str()));
    }
    let mut writes = Vec::new();
    if last_start != Some(cert.incarnation) {
        writes.push(Write::PeerIncarnation { node: peer.clone(), incarnation: cert.incarnation });
    }
    if last_head.is_none_or(|last| last.size != shown.size) {
        writes.push(Write::PeerHead { node: peer.clone(), size: shown.size, root: shown.root });
    }
    if writes.is_empty() {
        return Ok(());
    }
    node.commit(Step { writes, leaves: Vec::new() }).await.map(|_| ())
}
