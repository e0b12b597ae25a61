//! What this node's own log says of the past.

use crate::node::Node;
use crate::reply;
use tally_audit::event::{Event, LineStood, Origin, Verdict, What};
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{Approval, Digest, Intent, Reason, Refusal, RequestId, Tenant, UnixMillis};

/// Leaves read from the store at once.
const BATCH: u32 = 256;

/// Something that a node has written down about a request.
pub struct Past {
    /// Index of the leaf.
    pub leaf: u64,
    /// When.
    pub time: UnixMillis,
    /// Whose request.
    pub tenant: Tenant,
    /// The request.
    pub request: RequestId,
    /// What.
    pub what: Happened,
}

/// What.
pub enum Happened {
    /// It was decided about.
    Decided(Box<Logged>),
    /// A person has signed something about it.
    Said(Box<(Approval, Envelope)>),
    /// It was signed, or done at the home of a token domain.
    Completed,
}

/// One decision.
pub struct Logged {
    /// Who brought the intent.
    pub from: Option<Origin>,
    /// Digest of the intent.
    pub digest: Digest,
    /// The intent, unless it was too long ago in the log.
    pub intent: Option<Intent>,
    /// What was decided.
    pub verdict: Verdict,
    /// By which bundle.
    pub bundle: Digest,
    /// What the node decoded.
    pub summary: String,
    /// How the lines stood.
    pub limits: Vec<LineStood>,
}

/// An intent that came in.
struct Brought {
    digest: Digest,
    envelope: Envelope,
    from: Origin,
}

/// Gives what the log says of requests, of its leaves from a time on and before `end`, to `see`, until it has seen enough.
///
/// # Errors
/// `STORAGE`, `TAMPERED`, and what `see` gives.
pub fn look_back(
    node: &Node,
    since: UnixMillis,
    end: u64,
    mut see: impl FnMut(Past) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let mut next = first_since(node, since)?;
    // An intent stands just before what was decided about it.
    let mut last: Option<Brought> = None;
    while next < end {
        let wanted = u32::try_from(end - next).unwrap_or(BATCH).min(BATCH);
        let leaves = node.store.leaves(next, wanted).map_err(|e| reply::of_store(&e))?;
        if leaves.is_empty() {
            return Ok(());
        }
        for (leaf, bytes) in (next..).zip(&leaves) {
            let event = Event::from_leaf(bytes).map_err(|_| Reason::Tampered)?;
            if let Some(past) = past(leaf, event, &mut last)
                && !see(past)?
            {
                return Ok(());
            }
        }
        next += leaves.len() as u64;
    }
    Ok(())
}

/// How many leaves the log has.
///
/// # Errors
/// `STORAGE`.
pub fn size(node: &Node) -> Result<u64, Refusal> {
    node.store.log_size().map_err(|e| reply::of_store(&e))
}

fn past(leaf: u64, event: Event, last: &mut Option<Brought>) -> Option<Past> {
    let time = event.time;
    let (tenant, request, what) = match event.what {
        What::IntentReceived { envelope, from, .. } => {
            *last = Some(Brought { digest: content_digest(&envelope), envelope, from });
            return None;
        }
        What::Decided { tenant, request_id, intent_digest, verdict, bundle, summary, limits } => {
            let brought = last.as_ref().filter(|brought| brought.digest == intent_digest);
            let logged = Logged {
                from: brought.map(|brought| brought.from.clone()),
                digest: intent_digest,
                intent: brought.and_then(|brought| Intent::read_unverified(&brought.envelope).ok()),
                verdict,
                bundle,
                summary,
                limits,
            };
            (tenant, request_id, Happened::Decided(Box::new(logged)))
        }
        What::Said { approval: envelope } => {
            let approval = Approval::read_checked(&envelope).ok()?;
            (approval.tenant.clone(), approval.request_id, Happened::Said(Box::new((approval, envelope))))
        }
        What::Completed { tenant, request_id, .. } => (tenant, request_id, Happened::Completed),
        What::TokensUsed(used) => (used.by.tenant, used.by.request_id, Happened::Completed),
        _ => return None,
    };
    Some(Past { leaf, time, tenant, request, what })
}

/// The first leaf that is not before a time, by halves: leaves are in the order of the node's clock.
fn first_since(node: &Node, since: UnixMillis) -> Result<u64, Refusal> {
    let (mut low, mut high) = (0, size(node)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let leaves = node.store.leaves(middle, 1).map_err(|e| reply::of_store(&e))?;
        let leaf = leaves.first().ok_or(Reason::Tampered)?;
        let time = Event::from_leaf(leaf).map_err(|_| Reason::Tampered)?.time;
        if time < since { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
