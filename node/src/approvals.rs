//! Requests that wait for persons, as this start of the node minds them: whom it has told of what, and when it looks next.
//! What they are and what persons have said is in the store.

use crate::backoff::Backoff;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::{NodeName, Refusal, RequestId, Tenant, UnixMillis};

/// What names a request.
pub type Name = (Tenant, RequestId);

/// How often a request is looked at though nobody has said anything new: a rule may depend on the hour.
const LOOK: Duration = Duration::from_secs(60);

/// All requests that wait here.
#[derive(Default)]
pub struct Approvals {
    minded: Mutex<HashMap<Name, Minded>>,
    /// Held while something is learnt, so that it is written down once, whoever tells it.
    learning: tokio::sync::Mutex<()>,
}

/// One of them.
#[derive(Debug)]
struct Minded {
    /// Grows with everything that is learnt of it.
    version: u64,
    /// What peers have answered.
    told: BTreeMap<NodeName, Told>,
    look: Instant,
    /// Since when this node has seen enough approvals.
    ready: Option<Instant>,
    told_again: Instant,
    leading: Backoff,
    why_not: Option<WhyNot>,
    /// This node leads it at this moment.
    led: bool,
}

/// Why it is not signed though enough have approved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhyNot {
    /// The reason's word.
    pub reason: String,
    /// The limit that has no room.
    pub limit: String,
    /// From when it has.
    pub room_at: Option<UnixMillis>,
}

impl WhyNot {
    /// What a refusal says at this moment.
    pub fn of(refusal: &Refusal, now: UnixMillis) -> Self {
        let seconds = refusal.metadata.get("room_in_s").and_then(|s| s.parse::<u64>().ok());
        Self {
            reason: refusal.reason.as_str().into(),
            limit: refusal.metadata.get("limit").cloned().unwrap_or_default(),
            room_at: seconds.map(|s| now.plus(s.saturating_mul(1_000))),
        }
    }
}

/// What a peer made of it.
#[derive(Debug, Default)]
struct Told {
    /// The last version that it has on its disk; 0 for none.
    took: u64,
    /// It may only not know the key yet, or have another bundle for a moment: it is asked again, ever less often.
    refusing: Backoff,
}

impl Minded {
    fn new(now: Instant) -> Self {
        Self {
            version: 1,
            told: BTreeMap::new(),
            look: now,
            ready: None,
            told_again: now,
            leading: Backoff::default(),
            why_not: None,
            led: false,
        }
    }
}

impl Approvals {
    /// One at a time from here on, until the guard is dropped.
    pub async fn learning(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.learning.lock().await
    }

    /// Something new is on the disk: it is looked at, and every peer told.
    pub fn changed(&self, name: &Name) {
        let now = Instant::now();
        let mut all = self.all();
        let minded = all.entry(name.clone()).or_insert_with(|| Minded::new(now));
        minded.version += 1;
        minded.look = now;
    }

    /// Minds exactly these from now on.
    pub fn keep(&self, names: &[Name]) {
        let now = Instant::now();
        let mut all = self.all();
        all.retain(|name, _| names.contains(name));
        for name in names {
            all.entry(name.clone()).or_insert_with(|| Minded::new(now));
        }
    }

    /// Those whose last version a peer has not got, with that version.
    pub fn untold(&self, peer: &NodeName) -> Vec<(Name, u64)> {
        let now = Instant::now();
        let due = |minded: &Minded| {
            let told = minded.told.get(peer);
            told.is_none_or(|told| told.took < minded.version && told.refusing.is_due(now))
        };
        let all = self.all();
        all.iter().filter(|(_, minded)| due(minded)).map(|(name, minded)| (name.clone(), minded.version)).collect()
    }

    /// A peer has a version on its disk.
    pub fn took(&self, name: &Name, peer: &NodeName, version: u64) {
        if let Some(minded) = self.all().get_mut(name) {
            minded.told.insert(peer.clone(), Told { took: version, refusing: Backoff::default() });
        }
    }

    /// A peer refuses it; whether that is news.
    pub fn refused(&self, name: &Name, peer: &NodeName, why: &str) -> bool {
        let mut all = self.all();
        let Some(minded) = all.get_mut(name) else { return true };
        minded.told.entry(peer.clone()).or_default().refusing.failed(why, Instant::now())
    }

    /// Whether it is time to look at a request, which is noted.
    pub fn looks(&self, name: &Name) -> bool {
        let now = Instant::now();
        match self.all().get_mut(name) {
            Some(minded) if minded.look <= now => {
                minded.look = now + LOOK;
                true
            }
            Some(minded) => minded.ready.is_some(),
            None => false,
        }
    }

    /// Notes whether enough persons have approved; since when, if they have.
    pub fn ready(&self, name: &Name, ready: bool) -> Option<Instant> {
        let mut all = self.all();
        let minded = all.get_mut(name)?;
        minded.ready = ready.then(|| minded.ready.unwrap_or_else(Instant::now));
        minded.ready
    }

    /// Every peer is told once more, now and then.
    pub fn tell_again(&self, name: &Name) {
        let now = Instant::now();
        if let Some(minded) = self.all().get_mut(name).filter(|minded| minded.told_again + LOOK <= now) {
            minded.told_again = now;
            minded.told.clear();
        }
    }

    /// Whether it is time to lead a request that is ready, and nobody does yet; whoever asks does from now on.
    pub fn begins(&self, name: &Name) -> bool {
        let mut all = self.all();
        let free = all.get_mut(name).filter(|minded| !minded.led && minded.leading.is_due(Instant::now()));
        free.map(|minded| minded.led = true).is_some()
    }

    /// Why this node has not signed it though enough have approved, if it has tried.
    pub fn why_not(&self, name: &Name) -> Option<WhyNot> {
        self.all().get(name).and_then(|minded| minded.why_not.clone())
    }

    /// Leading is over; whether it is news why it has failed.
    pub fn ended(&self, name: &Name, failed: Option<WhyNot>) -> bool {
        let mut all = self.all();
        let Some(minded) = all.get_mut(name) else { return failed.is_some() };
        minded.led = false;
        minded.why_not = failed;
        minded.why_not.as_ref().is_some_and(|why| minded.leading.failed(&why.reason, Instant::now()))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Name, Minded>> {
        self.minded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
