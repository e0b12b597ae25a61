//! Which decisions this start of the node has written down. A request that is tried again and again, while voters are away
//! or a limit is full, is decided anew each time and written down once for each verdict, bundle and what persons have said.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally_audit::event::Verdict;
use tally_domain::dsse::content_digest;
use tally_domain::{Digest, Reason, Refusal, RequestId, Tenant};
use tally_signer::admit::{Opened, verdict};

/// Most requests to remember, some megabytes; of those that were forgotten a decision is written once more.
const REQUESTS_MAX: usize = 10_000;

/// The last decisions about requests.
#[derive(Default)]
pub struct Written(Mutex<HashMap<(Tenant, RequestId), Last>>);

/// What makes a decision another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    intent: Digest,
    bundle: Digest,
    verdict: Verdict,
    said: Vec<Digest>,
    missing: BTreeMap<String, String>,
}

struct Last {
    permit: Option<Decision>,
    last: Decision,
}

impl Decision {
    /// A decision about an intent.
    pub fn of(opened: &Opened, outcome: Result<&str, &Refusal>) -> Self {
        let missing = match outcome {
            // As persons approve, less is missing.
            Err(refusal) if refusal.reason == Reason::ApprovalsRequired => refusal.metadata.clone(),
            _ => BTreeMap::new(),
        };
        Self {
            intent: opened.digest(),
            bundle: opened.bundle(),
            verdict: verdict(outcome),
            said: opened.said().iter().map(content_digest).collect(),
            missing,
        }
    }

    fn is_permit(&self) -> bool {
        matches!(self.verdict, Verdict::Permitted { .. })
    }

    fn found_no_room(&self) -> bool {
        matches!(&self.verdict, Verdict::Refused { reason, .. } if reason == Reason::VelocityLimit.as_str())
    }
}

impl Written {
    /// Whether a decision is another than the last one that was written. What was permitted and found no room is permitted
    /// again before room is looked for again: that says nothing new.
    pub fn is_news(&self, opened: &Opened, decision: &Decision) -> bool {
        let all = self.all();
        let Some(known) = all.get(&name(opened)) else { return true };
        let again = known.last == *decision;
        let before_room = decision.is_permit() && known.permit.as_ref() == Some(decision) && known.last.found_no_room();
        !(again || before_room)
    }

    /// Whether the last thing that was written is that there is no room.
    pub fn had_no_room(&self, opened: &Opened) -> bool {
        self.all().get(&name(opened)).is_some_and(|known| known.last.found_no_room())
    }

    /// Notes what is on the disk.
    pub fn note(&self, opened: &Opened, decision: Decision) {
        let mut all = self.all();
        if all.len() >= REQUESTS_MAX && !all.contains_key(&name(opened)) {
            all.clear();
        }
        let permit = if decision.is_permit() { Some(decision.clone()) } else { None };
        let before = all.remove(&name(opened)).and_then(|known| known.permit);
        all.insert(name(opened), Last { permit: permit.or(before), last: decision });
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(Tenant, RequestId), Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(opened: &Opened) -> (Tenant, RequestId) {
    (opened.intent().tenant.clone(), opened.intent().request_id)
}
