//! Whether enough voters are there for a limit, before anything of the limit is taken for a round that cannot end well.

use crate::greet::greet;
use crate::node::Node;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::{Electorate, NodeName, Quorum, Reason, Refusal};
use tally_signer::admit::Permit;

/// Longest wait for a sign of life from a voter that did not answer last time: many times what one that is back takes.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Looks whether a quorum is there, if a limit needs one; those that did not answer last time are asked once more.
///
/// # Errors
/// `VOTERS`, with those that are away.
pub(super) async fn enough(node: &Arc<Node>, permit: &Permit) -> Result<(), Refusal> {
    if permit.charges().is_empty() {
        return Ok(());
    }
    let bundle = node.bundle();
    let electorate = Electorate::from(bundle.roster());
    let here = present(node, &electorate);
    if electorate.reached(&here) {
        return Ok(());
    }
    let away = electorate.voters();
    let probes = away.difference(&here).map(|voter| tokio::time::timeout(PROBE_MAX, greet(node, voter)));
    join_all(probes).await;
    let here = present(node, &electorate);
    if electorate.reached(&here) {
        return Ok(());
    }
    let names: Vec<_> = away.difference(&here).map(NodeName::as_str).collect();
    Err(Refusal::new(Reason::Voters)
        .with("node", names.join(","))
        .with("needed", Quorum::of(bundle.roster()).votes().to_string())
        .with("available", here.len().to_string()))
}

fn present(node: &Node, electorate: &Electorate) -> BTreeSet<NodeName> {
    let mut voters = electorate.voters();
    voters.retain(|voter| {
        let seen = node.peers.seen(voter);
        voter == node.name() || (seen.reachable && !seen.fenced)
    });
    voters
}
