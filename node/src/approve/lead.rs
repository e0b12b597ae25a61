//! Signing what enough persons have approved: at the node that the client asked, and if that does not, at another.

use super::{Read, is_open, read_row, said};
use crate::approvals::{Name, WhyNot};
use crate::decisions;
use crate::lead_sign;
use crate::node::{Node, now};
use crate::reply;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_audit::event::Origin;
use tally_domain::ports::store::WaitingRow;
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::{NodeName, Refusal};
use tally_signer::approval::Standing;
use tracing::Instrument as _;

/// How long the owner has for a request that is approved, before the next share-holder leads it, and then the next: several
/// times what a call to sign takes. Two that lead at once do no harm.
const TAKEOVER: Duration = Duration::from_secs(10);

/// Looks after all requests that wait: lets those go whose time is over, asks anew under a new bundle, signs those that are
/// approved.
pub async fn care(node: &Arc<Node>) {
    let rows = match node.store.all_waiting() {
        Ok(rows) => rows,
        Err(error) => {
            return tracing::warn!(reason = reply::of_store(&error).reason.as_str(), "cannot read what waits");
        }
    };
    node.approvals.keep(&rows.iter().map(name).collect::<Vec<_>>());
    for row in &rows {
        let cared = if now() > row.expires_at.plus(CLOCK_TOLERANCE_MS) {
            decisions::expired(node, row).await
        } else if row.bundle != node.bundle().digest() {
            ask_anew(node, row).await
        } else {
            Ok(())
        };
        match cared {
            Ok(()) => look(node, row).await,
            Err(refusal) => {
                tracing::warn!(request = %row.request, reason = refusal.reason.as_str(), "a waiting request is not cared for");
            }
        }
    }
}

fn name(row: &WaitingRow) -> Name {
    (row.tenant.clone(), row.request)
}

/// The bundle has changed: approvals that were given under the former one are void.
async fn ask_anew(node: &Arc<Node>, row: &WaitingRow) -> Result<(), Refusal> {
    if is_open(node, &row.tenant, row.request, &said(node, &row.tenant, row.request)?).is_err() {
        return Ok(());
    }
    let read = read_row(node, row).await?;
    let _learning = node.approvals.learning().await;
    node.commit(read.question().wait(&node.bundle(), &row.owner, &node.boot, now())).await?;
    node.approvals.changed(&name(row));
    Ok(())
}

/// Leads a request if enough persons have approved it and it is this node's turn.
pub async fn look(node: &Arc<Node>, row: &WaitingRow) {
    let name = name(row);
    if !node.approvals.looks(&name) {
        return;
    }
    let standing = async {
        let read = read_row(node, row).await?;
        let said = said(node, &row.tenant, row.request)?;
        let open = is_open(node, &row.tenant, row.request, &said).is_ok();
        let approved = open && read.question().standing(&node.bundle(), &said, now()) == Standing::Approved;
        Ok::<_, Refusal>((read, approved))
    };
    let (read, approved) = match standing.await {
        Ok(looked) => looked,
        Err(refusal) => {
            tracing::debug!(request = %row.request, reason = refusal.reason.as_str(), "a waiting request does not read");
            return;
        }
    };
    let Some(since) = node.approvals.ready(&name, approved) else { return };
    let Some(turn) = turn(node, &read, &row.owner) else {
        // It may have been done while this node was away: whoever is told once more answers with the result. A domain's
        // home waits for its client.
        if !is_home(node, &read) {
            node.approvals.tell_again(&name);
        }
        return;
    };
    if since + turn <= Instant::now() && node.approvals.begins(&name) {
        tokio::spawn(lead(node.clone(), read, name, row.owner.clone()));
    }
}

fn is_home(node: &Node, read: &Read) -> bool {
    node.hsm_keys.get(&read.opened().intent().key).is_some_and(|held| held.record.home == *node.name())
}

/// How long after the last approval this node leads; never without a share of the key.
fn turn(node: &Node, read: &Read, owner: &NodeName) -> Option<Duration> {
    let me = node.name();
    match read {
        Read::Hsm(subject) => (subject.record().home == *me).then_some(Duration::ZERO),
        // Whoever it is shown to asks once more.
        Read::Tokens(_) => None,
        Read::Threshold(subject) => {
            let holders = &subject.record().participants;
            if !holders.contains(me) {
                return None;
            }
            let owned = holders.contains(owner);
            let after = holders.iter().filter(|holder| *holder != owner).position(|holder| holder == me);
            let place = after.map_or(0, |at| at + usize::from(owned));
            Some(TAKEOVER.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)))
        }
    }
}

async fn lead(node: Arc<Node>, read: Read, name: Name, owner: NodeName) {
    let opened = read.opened().clone();
    let origin =
        if owner == *node.name() { Origin::Client(opened.intent().client.clone()) } else { Origin::Peer(owner) };
    let span = tracing::info_span!("approved", request = %name.1);
    let outcome = lead_sign::resume(&node, opened, origin).instrument(span).await;
    match outcome {
        Ok(_) => {
            node.approvals.ended(&name, None);
            tracing::info!(request = %name.1, "signed what was approved");
        }
        Err(refusal) if node.approvals.ended(&name, Some(WhyNot::of(&refusal, now()))) => {
            tracing::warn!(request = %name.1, reason = refusal.reason.as_str(), facts = ?refusal.metadata, "what is approved is not signed");
        }
        Err(_) => {}
    }
}
