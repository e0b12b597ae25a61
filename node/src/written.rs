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
        self.is_news_of(&name(opened), decision)
    }

    /// Whether the last thing that was written is that there is no room.
    pub fn had_no_room(&self, opened: &Opened) -> bool {
        self.had_no_room_for(&name(opened))
    }

    /// Notes what is on the disk.
    pub fn note(&self, opened: &Opened, decision: Decision) {
        self.note_of(name(opened), decision);
    }

    fn is_news_of(&self, name: &(Tenant, RequestId), decision: &Decision) -> bool {
        let all = self.all();
        let Some(known) = all.get(name) else { return true };
        let again = known.last == *decision;
        let before_room = decision.is_permit() && known.permit.as_ref() == Some(decision) && known.last.found_no_room();
        !(again || before_room)
    }

    fn had_no_room_for(&self, name: &(Tenant, RequestId)) -> bool {
        self.all().get(name).is_some_and(|known| known.last.found_no_room())
    }

    fn note_of(&self, name: (Tenant, RequestId), decision: Decision) {
        let mut all = self.all();
        if all.len() >= REQUESTS_MAX && !all.contains_key(&name) {
            all.clear();
        }
        let before = all.remove(&name).and_then(|known| known.permit);
        let permit = if decision.is_permit() { Some(decision.clone()) } else { before };
        all.insert(name, Last { permit, last: decision });
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(Tenant, RequestId), Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(opened: &Opened) -> (Tenant, RequestId) {
    (opened.intent().tenant.clone(), opened.intent().request_id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;

    fn name(n: u8) -> (Tenant, RequestId) {
        (Tenant::parse("acme").unwrap(), RequestId([n; 16]))
    }

    fn decision(verdict: Verdict, bundle: u8, said: &[u8]) -> Decision {
        let said = said.iter().map(|n| Digest([*n; 32])).collect();
        Decision { intent: Digest([1; 32]), bundle: Digest([bundle; 32]), verdict, said, missing: BTreeMap::new() }
    }

    fn refused(reason: Reason) -> Verdict {
        Verdict::Refused { reason: reason.as_str().into(), rule: String::new(), condition: String::new() }
    }

    #[test]
    fn a_decision_is_news_once_for_each_verdict_bundle_and_what_was_said() {
        let written = Written::default();
        let permit = |bundle, said: &[u8]| decision(Verdict::Permitted { rule: "r".into() }, bundle, said);
        let full = decision(refused(Reason::VelocityLimit), 1, &[]);
        let tell = |n: u8, decision: &Decision| {
            let is_news = written.is_news_of(&name(n), decision);
            if is_news {
                written.note_of(name(n), decision.clone());
            }
            is_news
        };
        assert!(tell(1, &permit(1, &[])) && !tell(1, &permit(1, &[])) && tell(2, &permit(1, &[])));
        assert!(tell(1, &permit(2, &[])) && tell(1, &permit(2, &[7])), "another bundle, another approval");
        assert!(tell(2, &full) && written.had_no_room_for(&name(2)));
        // Permitted and without room again and again.
        assert!(!tell(2, &permit(1, &[])) && !tell(2, &full) && tell(2, &permit(2, &[])) && tell(2, &full));
        let denied = decision(refused(Reason::PolicyDenied), 1, &[]);
        assert!(tell(1, &denied) && tell(1, &permit(2, &[7])) && tell(1, &denied), "a verdict that changes is news");
    }
}
