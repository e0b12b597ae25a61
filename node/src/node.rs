//! What all handlers of one node share.

use crate::admission::Admission;
use crate::approvals::Approvals;
use crate::bundles::Bundles;
use crate::checkpoint::Checkpointer;
pub use crate::clock::now;
use crate::config::Config;
use crate::failpoint::Place;
use crate::freezes::Freezes;
use crate::holds::Holds;
use crate::hsm_keys::HsmKeys;
use crate::inflight::Inflight;
use crate::keks::Keks;
use crate::keys::Keys;
use crate::limits::NamedLines;
use crate::lines::{Lines, Taking};
use crate::metrics::{Metrics, names};
use crate::peers::Peers;
use crate::reload::LastReload;
use crate::reply;
use crate::sessions::Sessions;
use crate::signed::{Part, Signed};
use crate::vault::Vaults;
use crate::written::Written;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tally_audit::event::What;
use tally_domain::ports::hsm::Hsm;
use tally_domain::ports::store::{Committed, Step, Store};
use tally_domain::roster::NodeRole;
use tally_domain::{Digest, KeyName, NodeName, Reason, Refusal, UnixMillis};
use tally_policy::Bundle;
use tally_signer::boot::BootIdentity;

/// One node: its parts, and what is going on.
pub struct Node {
    /// Configuration.
    pub config: Config,
    /// The policy bundle, and those that may follow it.
    pub bundles: Bundles,
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
    /// Requests that wait for persons.
    pub approvals: Approvals,
    /// Links to the other nodes.
    pub peers: Peers,
    /// Sessions that this node takes part in.
    pub sessions: Arc<Sessions>,
    /// Requests that are being worked on.
    pub inflight: Arc<Inflight>,
    /// The right to look for room on lines for this node's own work.
    pub placing: tokio::sync::Mutex<()>,
    /// Pieces of limits' lines that sessions here are about to vote for.
    pub holds: Arc<Holds>,
    /// What is remembered of lines.
    pub lines: Lines,
    /// Lines whose words are kept.
    pub named_lines: NamedLines,
    /// Decisions that are in the log.
    pub written: Written,
    /// The log's checkpoints.
    pub checkpoints: Checkpointer,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which key signed when.
    pub signed: Signed,
    /// How the last reload ended.
    pub reload: LastReload,
    /// Calls that are worked on and those that wait.
    pub admission: Arc<Admission>,
    /// When this start began.
    pub started_at: UnixMillis,
    /// Peers have fenced this node.
    pub recovering: AtomicBool,
}

impl Node {
    /// The policy bundle that decides now.
    pub fn bundle(&self) -> Arc<Bundle> {
        self.bundles.active()
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        &self.boot.node
    }

    /// Makes a step durable.
    ///
    /// # Errors
    /// A refusal for the caller; what the operator needs is in this node's own log.
    pub async fn commit(&self, step: Step) -> Result<Committed, Refusal> {
        Place::of(&step).find_room().map_err(|e| reply::of_store(&e))?;
        let taking = Taking::of(&step);
        let begin = std::time::Instant::now();
        let committed = self.store.commit(step).await.map_err(|e| reply::of_store(&e))?;
        self.metrics.took(&names::COMMIT_SECONDS, &[], begin.elapsed());
        self.lines.note(taking);
        Ok(committed)
    }

    /// Notes that a key has signed, and what this node had to do with it.
    pub fn note_signed(&self, key: &KeyName, part: Part) {
        self.signed.note(key, now());
        self.metrics.count(&names::SIGNATURES, &[part.as_str()]);
    }

    /// Refuses to take part in anything while peers have fenced this node.
    ///
    /// # Errors
    /// `RECOVERING`.
    pub fn check_standing(&self) -> Result<(), Refusal> {
        if self.recovering.load(Ordering::Relaxed) { Err(Reason::Recovering.into()) } else { Ok(()) }
    }

    /// Refuses what only a node with shares can do, and says who those are.
    ///
    /// # Errors
    /// `NOT_A_SIGNER`.
    pub fn check_signer(&self) -> Result<(), Refusal> {
        let bundle = self.bundle();
        let roster = bundle.roster();
        if roster.node(self.name()).is_some_and(|own| own.role == NodeRole::Signer) {
            return Ok(());
        }
        let signers: Vec<_> = roster.signers().map(|n| n.name.as_str()).collect();
        Err(Refusal::new(Reason::NotASigner).with("node", self.name().as_str()).with("signers", signers.join(",")))
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
        let ours = self.bundle().digest();
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

/// A generator for one session, seeded by the operating system.
pub fn fresh_rng() -> rand::rngs::StdRng {
    rand::make_rng()
}
