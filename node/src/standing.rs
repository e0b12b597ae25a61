//! How the lines stand that a request is charged on, as far as this node knows: for the log, and for whoever asks. Votes
//! decide, not this.

use crate::limits::look;
use crate::node::{Node, now};
use tally_audit::event::LineStood;
use tally_domain::claim::{Claimant, LineMemory};
use tally_domain::{Charge, Interval, Reason, Refusal, UnixMillis};
use tally_signer::claims::{self, Placer, Room};

/// How lines stand when something is permitted that is charged on them. A line that does not read is left out: it explains
/// a decision, and what is decided by it reads it again.
pub fn stood(node: &Node, by: &Claimant, charges: &[Charge]) -> Vec<LineStood> {
    let at = now();
    let one = |charge: &Charge| look(node, charge.line, |memory| claims::stood(charge, by, memory, &[], at)).ok();
    charges.iter().filter_map(one).collect()
}

/// How lines stand for a request, with when there is room on those that have none.
pub fn stands(node: &Node, by: &Claimant, charges: &[Charge], at: UnixMillis) -> Vec<LineStood> {
    charges.iter().filter_map(|charge| stands_for(node, by, charge, &[], at)).collect()
}

/// How lines stand that have no room for a request, by what voters have said, too.
pub fn full(node: &Node, by: &Claimant, charges: &[Charge], placer: &Placer, why: &Refusal) -> Vec<LineStood> {
    let at = now();
    let one = |charge: &Charge| stands_for(node, by, charge, placer.heard(charge.line), at);
    without_room(charges.iter().filter_map(one).collect(), why, at)
}

fn stands_for(node: &Node, by: &Claimant, charge: &Charge, heard: &[Interval], at: UnixMillis) -> Option<LineStood> {
    let stands = |memory: &LineMemory, room: &mut Room| LineStood {
        taken: claims::stood(charge, by, memory, heard, at).taken,
        ..claims::stands(charge, by, memory, room, at)
    };
    node.lines.room(&*node.store, charge, at, stands).ok()
}

/// The same for a node's own work.
pub fn full_here(node: &Node, by: &Claimant, charges: &[Charge], why: &Refusal) -> Vec<LineStood> {
    let at = now();
    without_room(stands(node, by, charges, at), why, at)
}

/// Others may know of more than this node: the limit that the refusal names has no room, whatever is remembered of it here.
fn without_room(mut all: Vec<LineStood>, why: &Refusal, at: UnixMillis) -> Vec<LineStood> {
    let named = why.metadata.get("limit").filter(|_| why.reason == Reason::VelocityLimit);
    if all.iter().all(|line| line.room_at.is_none()) {
        all.iter_mut().filter(|line| named.is_some_and(|limit| line.limit.as_str() == limit)).for_each(|line| {
            line.room_at = Some(at);
        });
    }
    all
}
