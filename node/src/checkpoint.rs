//! Checkpoints of this node's log, signed by its HSM identity.

use crate::node::Node;
use crate::reply;
use tally_audit::checkpoint::Checkpoint;
use tally_audit::merkle::{Frontier, leaf_hash};
use tally_domain::ports::store::{CheckpointRow, Step, Write};
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
