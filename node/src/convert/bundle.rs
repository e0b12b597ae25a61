//! Bundles on the wire.

use super::statement_in;
use crate::bundles::{self, Known};
use crate::node::Node;
use prost::Message as _;
use tally_domain::activation::{BundleCertificate, BundleVote};
use tally_policy::{Change, Direction, changes};
use tally_proto::v1;

/// What activates a bundle, from the wire; whoever uses it checks it.
pub fn bundle_certificate_in(votes: Vec<v1::Statement>) -> BundleCertificate {
    BundleCertificate { votes: votes.into_iter().map(statement_in).collect() }
}

/// A bundle as clients see it.
pub fn proposal_out(node: &Node, known: &Known) -> v1::Proposal {
    let row = &known.row;
    let changes = if known.standing.is_open() { changed(node, known) } else { Vec::new() };
    v1::Proposal {
        version: row.bundle.version,
        digest: row.bundle.digest.0.to_vec(),
        previous: row.previous.map(|p| p.0.to_vec()).unwrap_or_default(),
        state: known.standing.as_str().into(),
        first_seen_ms: row.first_seen.0,
        due_ms: row.previous.map_or(0, |_| row.due.0),
        activated_ms: row.activated.as_ref().map_or(0, |(_, at)| at.0),
        tightens: row.tightens,
        vetoed_by: known.vetoes.iter().map(|v| v.by.to_string()).collect(),
        voted_by: voters(node, known),
        changes: changes.iter().map(change_out).collect(),
    }
}

/// What it changes of the active one.
fn changed(node: &Node, known: &Known) -> Vec<Change> {
    bundles::reopened(node, &known.row.bundle.digest).map(|next| changes(&node.bundle(), &next)).unwrap_or_default()
}

fn voters(node: &Node, known: &Known) -> Vec<String> {
    let certificate = known.row.activated.as_ref().map(|(bytes, _)| BundleCertificate::decode(bytes.as_slice()));
    let votes = certificate.and_then(Result::ok).map(|c| c.votes).unwrap_or_default();
    let bundle = node.bundle();
    votes.iter().filter_map(|s| Some(BundleVote::open(s, bundle.roster()).ok()?.0.to_string())).collect()
}

fn change_out(change: &Change) -> v1::Change {
    let direction = match change.direction {
        Direction::Tighter => "tighter",
        Direction::Looser => "looser",
    };
    let Change { file, item, words, .. } = change.clone();
    v1::Change { direction: direction.into(), file, item, words }
}
