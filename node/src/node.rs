//! What all handlers of one node share.

use crate::checkpoint::Checkpointer;
use crate::config::Config;
use crate::freezes::Freezes;
use crate::hsm_keys::HsmKeys;
use crate::inflight::Inflight;
use crate::keks::Keks;
use crate::keys::Keys;
use crate::peers::Peers;
use crate::reply;
use crate::sessions::Sessions;
use crate::vault::Vaults;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tally_audit::event::What;
use tally_domain::ports::hsm::Hsm;
use tally_domain::ports::store::{Committed, Step, Store};
use tally_domain::{Digest, NodeName, Reason, Refusal, UnixMillis};
use tally_policy::Bundle;
use tally_signer::boot::BootIdentity;

/// One node: its parts, and what is going on.
pub struct Node {
    /// Configuration.
    pub config: Config,
    /// The policy bundle.
    pub bundle: Arc<Bundle>,
    /// This start of this node.
    pub boot: Arc<BootIdentity>,
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The token.
    pub hsm: Arc<dyn Hsm>,
    /// Keys and the shares that are in memory.
    pub keys: Keys,
    /// Keys in HSMs, this node's own and those of others.
    pub hsm_keys: HsmKeys,
    /// Versions of this node's own KEKs.
    pub keks: Keks,
    /// The vault of card numbers.
    pub vaults: Vaults,
    /// Freezes, this node's own and those of others.
    pub freezes: Freezes,
    /// Links to the other nodes.
    pub peers: Peers,
    /// Sessions that this node takes part in.
    pub sessions: Arc<Sessions>,
    /// Requests that are being worked on.
    pub inflight: Arc<Inflight>,
    /// The right to look for room on lines for this node's own work.
    pub placing: tokio::sync::Mutex<()>,
    /// The log's checkpoints.
    pub checkpoints: Checkpointer,
    /// When this start began.
    pub started_at: UnixMillis,
    /// Peers have fenced this node.
    pub recovering: AtomicBool,
}

impl Node {
    /// This node's name.
    pub fn name(&self) -> &NodeName {
        &self.boot.node
    }

    /// Makes a step durable.
    ///
    /// # Errors
    /// A refusal for the caller; what the operator needs is in this node's own log.
    pub async fn commit(&self, step: Step) -> Result<Committed, Refusal> {
        self.store.commit(step).await.map_err(|e| reply::of_store(&e))
    }

    /// Refuses to take part in anything while peers have fenced this node.
    ///
    /// # Errors
    /// `RECOVERING`.
    pub fn check_standing(&self) -> Result<(), Refusal> {
        if self.recovering.load(Ordering::Relaxed) { Err(Reason::Recovering.into()) } else { Ok(()) }
    }

    /// A leaf of this node at this moment.
    pub fn leaf(&self, what: What) -> Vec<u8> {
        self.boot.leaf(now(), what)
    }

    /// Whether a peer's bundle is ours: nodes with different rules do not sign together.
    ///
    /// # Errors
    /// `BUNDLE_MISMATCH` with both digests.
    pub fn same_bundle(&self, peer: &NodeName, theirs: &[u8]) -> Result<(), Refusal> {
        let ours = self.bundle.digest();
        if Digest::from_slice(theirs) == Some(ours) {
            return Ok(());
        }
        Err(Refusal::new(Reason::BundleMismatch)
            .with("node", self.name().as_str())
            .with("peer", peer.as_str())
            .with("ours", ours.to_string())
            .with("theirs", hex::encode(theirs)))
    }
}

/// The node's clock.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A generator for one session, seeded by the operating system.
pub fn fresh_rng() -> rand::rngs::StdRng {
    rand::make_rng()
}
