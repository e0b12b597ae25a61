//! One node: its disk, and while it is up, everything that dies with it.

use crate::journal::{Journal, RequestKey};
use crate::lead::Lead;
use crate::world::{World, identity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tally_audit::event::What;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::ports::store::{Step, Write};
use tally_domain::{ClusterId, Incarnation, KeyName, NodeName, SecretBytes, UnixMillis};
use tally_mpc::KeyShare;
use tally_signer::boot::{BootIdentity, Uncertified};
use tally_signer::session::Members;
use tally_signer::sign_session::SignSession;

/// Names a session on the network.
pub(crate) type SessionKey = u64;

/// Names a client's call.
pub(crate) type Call = u64;

/// One node.
pub(crate) struct Node {
    pub(crate) journal: Journal,
    pub(crate) live: Option<Live>,
}

/// What a crash takes away.
pub(crate) struct Live {
    pub(crate) boot: Arc<BootIdentity>,
    keys: BTreeMap<KeyName, Held>,
    /// Requests that are being worked on.
    pub(crate) guards: BTreeSet<RequestKey>,
    pub(crate) sessions: BTreeMap<SessionKey, Running>,
    /// Messages that overtook what they belong to.
    pub(crate) strays: Vec<(SessionKey, NodeName, Vec<u8>)>,
    pub(crate) leading: BTreeMap<Call, Lead>,
}

/// A key with this node's share; a witness has none.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) record: Arc<KeyRecord>,
    pub(crate) state: KeyState,
    pub(crate) share: Option<Arc<KeyShare>>,
}

/// A session on its way.
pub(crate) struct Running {
    pub(crate) session: SignSession,
    pub(crate) members: Members,
    pub(crate) request: RequestKey,
    pub(crate) attempt: tally_domain::Attempt,
    /// The call that it serves, at the leader.
    pub(crate) leads: Option<Call>,
}

impl Node {
    /// A node that has never been up since its journal was written.
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, live: None }
    }

    /// Starts: a new incarnation, a new boot key, everything else from the journal.
    pub(crate) fn boot(&mut self, world: &World, name: &NodeName, seed: &[u8; 32], now: UnixMillis) {
        let boot = Arc::new(incarnate(&mut self.journal, world, name, seed, now));
        let held = |record: &[u8], share: &[u8], state| {
            let record = Arc::new(KeyRecord::from_bytes(record).expect("an own record"));
            let own = |bytes: &[u8]| KeyShare::from_bytes(&SecretBytes::new(bytes.to_vec())).expect("an own share");
            let share = (!share.is_empty()).then(|| Arc::new(own(share)));
            Held { record, state, share }
        };
        let keys = self.journal.keys().map(|(name, k)| (name.clone(), held(&k.record, &k.share, k.state))).collect();
        self.live = Some(Live {
            boot,
            keys,
            guards: BTreeSet::new(),
            sessions: BTreeMap::new(),
            strays: Vec::new(),
            leading: BTreeMap::new(),
        });
    }
}

impl Live {
    /// The key of that name.
    pub(crate) fn key(&self, name: &KeyName) -> Option<Held> {
        self.keys.get(name).cloned()
    }
}

/// The next start of a node, written down.
pub(crate) fn incarnate(
    journal: &mut Journal,
    world: &World,
    name: &NodeName,
    seed: &[u8; 32],
    now: UnixMillis,
) -> BootIdentity {
    let cluster: ClusterId = world.bundle.roster().cluster.clone();
    let incarnation = Incarnation(journal.incarnation().0 + 1);
    let uncertified = Uncertified::new(cluster, name.clone(), incarnation, seed);
    let identity = identity(name);
    let signature = identity.sign(&uncertified.to_sign());
    let boot = uncertified.certified(identity.verifying_key().to_string(), signature);
    let what = What::Boot { boot_cert: boot.cert().clone(), bundle: world.bundle.digest(), version: "sim".into() };
    let step = Step { writes: vec![Write::Incarnation(incarnation)], leaves: vec![boot.leaf(now, what)] };
    journal.commit(step).expect("the next start follows the last");
    boot
}
