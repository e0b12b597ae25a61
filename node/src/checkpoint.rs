//! Checkpoints of this node's log, signed by its HSM identity.

use crate::config::Config;
use crate::node::Node;
use crate::reply;
use anyhow::{Context as _, bail};
use tally_audit::checkpoint::Checkpoint;
use tally_audit::merkle::{Frontier, leaf_hash};
use tally_audit::{Event, What};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::store::{CheckpointRow, Step, Store, Write};
use tally_domain::{Reason, Refusal};
use tokio::sync::Mutex;

/// Leaves read from the store at once.
const READ_BATCH: u32 = 512;

/// The running Merkle frontier and the last signed note.
#[derive(Default)]
pub struct Checkpointer(Mutex<Option<State>>);

struct State {
    frontier: Frontier,
    note: Option<(u64, String)>,
    shown: u64,
}

impl Checkpointer {
    /// A signed note over everything that is in the log now.
    ///
    /// # Errors
    /// `HSM`, `STORAGE`, or `TAMPERED` when the stored frontier does not read.
    pub async fn note(&self, node: &Node) -> Result<(u64, String), Refusal> {
        self.numbered(node).await.map(|(size, note, _)| (size, note))
    }

    /// The same, with a number that grows in the order in which notes were given out in this start.
    ///
    /// # Errors
    /// As [`Checkpointer::note`].
    pub async fn numbered(&self, node: &Node) -> Result<(u64, String, u64), Refusal> {
        let mut guard = self.0.lock().await;
        let mut state = match guard.take() {
            Some(state) => state,
            None => State::load(node)?,
        };
        let outcome = state.advance(node).await;
        state.shown += 1;
        let number = state.shown;
        *guard = Some(state);
        outcome.map(|(size, note)| (size, note, number))
    }
}

impl State {
    fn load(node: &Node) -> Result<Self, Refusal> {
        match node.store.checkpoint().map_err(|e| reply::of_store(&e))? {
            None => Ok(Self { frontier: Frontier::default(), note: None, shown: 0 }),
            Some(CheckpointRow { size, note, frontier }) => {
                let frontier = Frontier::from_bytes(&frontier).map_err(|_| Reason::Tampered)?;
                Ok(Self { frontier, note: Some((size, note)), shown: 0 })
            }
        }
    }

    async fn advance(&mut self, node: &Node) -> Result<(u64, String), Refusal> {
        let target = node.store.log_size().map_err(|e| reply::of_store(&e))?;
        while self.frontier.size() < target {
            let leaves = node.store.leaves(self.frontier.size(), READ_BATCH).map_err(|e| reply::of_store(&e))?;
            if leaves.is_empty() {
                return Err(Reason::Tampered.into());
            }
            leaves.iter().for_each(|l| self.frontier.append(leaf_hash(l)));
        }
        let size = self.frontier.size();
        if let Some((signed, note)) = &self.note
            && *signed == size
        {
            return Ok((*signed, note.clone()));
        }
        let checkpoint = Checkpoint::of(&node.boot.cluster, node.name(), &self.frontier);
        let signature = node.hsm.sign_identity(checkpoint.unsigned_note()).await.map_err(|e| reply::of_hsm(&e))?;
        let note = checkpoint.with_signature(&checkpoint.origin, &node.hsm.identity(), &signature);
        let write = Write::Checkpoint { size, note: note.clone(), frontier: self.frontier.to_bytes() };
        node.commit(Step { writes: vec![write], leaves: Vec::new() }).await?;
        self.note = Some((size, note.clone()));
        Ok((size, note))
    }
}

/// Checks at start that the log is what was last signed: nothing of it is cut, changed or gone. Reads the whole log once.
///
/// # Errors
/// A sentence for the operator; the node must not start on a log that somebody has touched.
pub fn check_log(store: &dyn Store, config: &Config, identity: &VerifyingKey) -> anyhow::Result<()> {
    let size = store.log_size()?;
    let origin = tally_audit::checkpoint::origin(&config.cluster, &config.name);
    let Some(row) = store.checkpoint()? else {
        // The first checkpoint follows the first start; only a crash right between them leaves starts without one.
        return match store.leaves(0, READ_BATCH)?.iter().all(|l| is_boot(l)) && size <= u64::from(READ_BATCH) {
            true => Ok(()),
            false => bail!("the log has {size} leaves but no checkpoint: somebody has removed it"),
        };
    };
    let signed = Checkpoint::open(&row.note, &origin, &origin, identity)
        .context("the log's checkpoint is not signed by this node's token")?;
    if size < signed.size {
        bail!("the log has {size} leaves, and {} were signed: leaves were removed", signed.size);
    }
    let mut frontier = Frontier::default();
    while frontier.size() < signed.size {
        let room = u32::try_from(signed.size - frontier.size()).unwrap_or(READ_BATCH).min(READ_BATCH);
        store.leaves(frontier.size(), room)?.iter().for_each(|l| frontier.append(leaf_hash(l)));
    }
    if frontier.root() != signed.root || frontier.to_bytes() != row.frontier {
        bail!("the first {} leaves of the log are not those that were signed: somebody has changed them", signed.size);
    }
    Ok(())
}

fn is_boot(leaf: &[u8]) -> bool {
    Event::from_leaf(leaf).is_ok_and(|e| matches!(e.what, What::Boot { .. }))
}
