//! Whether the log is what was last signed: nothing of it is cut, changed or gone. The last leaves, which of most nodes are
//! all, are read before the node serves. The others are read while it does, and it stops when one of them is not what it was:
//! to read the log of millions of requests takes minutes, and what is decided never depends on them.

use crate::config::Config;
use crate::node::Node;
use anyhow::{Context as _, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_audit::checkpoint::{Checkpoint, origin};
use tally_audit::merkle::{Frontier, Subtree, leaf_hash};
use tally_audit::{Event, What};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::store::{Store, StoreError};

/// Leaves read before the node serves, at most: a second of reading, and some 50,000 requests.
const FIRST_MAX: u64 = 1 << 18;

/// Leaves read at once: the store's other readers wait for less than a millisecond.
const READ_BATCH: u32 = 128;

/// How many times as long as it reads the node then rests: what it does for others is not slower by more than a twentieth of a core.
const REST: u32 = 20;

/// How long a store that cannot be read is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// In the data directory of a node that has found its log changed: it reads all of it before it serves again.
const MARK: &str = "log-changed";

/// Parts of the log that are still to be read.
pub struct Unread {
    signed: u64,
    mark: PathBuf,
    subtrees: Vec<Subtree>,
}

/// Checks that the log is as long as what was signed, and that its last leaves are that.
///
/// # Errors
/// A sentence for the operator; the node must not start on a log that somebody has touched.
pub fn begin(store: &dyn Store, config: &Config, identity: &VerifyingKey) -> anyhow::Result<Unread> {
    let (size, mark) = (store.log_size()?, config.data_dir.join(MARK));
    let origin = origin(&config.cluster, &config.name);
    let Some(row) = store.checkpoint()? else {
        // The first checkpoint follows the first start; only a crash right between them leaves starts without one.
        return match store.leaves(0, READ_BATCH)?.iter().all(|l| is_boot(l)) && size <= u64::from(READ_BATCH) {
            true => Ok(Unread { signed: 0, mark, subtrees: Vec::new() }),
            false => bail!("the log has {size} leaves but no checkpoint: somebody has removed it"),
        };
    };
    let signed = Checkpoint::open(&row.note, &origin, &origin, identity)
        .context("the log's checkpoint is not signed by this node's token")?;
    if size < signed.size {
        bail!("the log has {size} leaves, and {} were signed: leaves were removed", signed.size);
    }
    let frontier = Frontier::from_bytes(&row.frontier).ok();
    let frontier = frontier.filter(|f| f.size() == signed.size && f.root() == signed.root);
    let Some(frontier) = frontier else { bail!(changed(signed.size)) };
    let (first, rest) = split(&frontier, if mark.exists() { signed.size } else { FIRST_MAX });
    for subtree in first {
        let mut reading = Reading::of(subtree);
        while let Some((from, limit)) = reading.next() {
            if !reading.take(&store.leaves(from, limit)?) {
                bail!(changed(signed.size));
            }
        }
    }
    if mark.exists() {
        std::fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
    }
    Ok(Unread { signed: signed.size, mark, subtrees: rest })
}

impl Unread {
    /// Reads what is left, slowly.
    ///
    /// # Errors
    /// A sentence for the operator; the node must stop.
    pub async fn read(self, node: Arc<Node>) -> anyhow::Result<()> {
        if self.subtrees.is_empty() {
            return Ok(());
        }
        for subtree in self.subtrees {
            let mut reading = Reading::of(subtree);
            while let Some((from, limit)) = reading.next() {
                let began = Instant::now();
                let holds = match node.store.leaves(from, limit) {
                    Ok(leaves) => reading.take(&leaves),
                    Err(StoreError::Unavailable { what }) => {
                        tracing::warn!(what, "the log cannot be read");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                    Err(_) => false,
                };
                if !holds {
                    let said = changed(self.signed);
                    std::fs::write(&self.mark, &said)
                        .with_context(|| format!("cannot write {}; {said}", self.mark.display()))?;
                    bail!(said);
                }
                tokio::time::sleep(began.elapsed() * REST).await;
            }
        }
        tracing::info!(leaves = self.signed, "the whole log is what was signed");
        Ok(())
    }
}

fn changed(signed: u64) -> String {
    format!("the first {signed} leaves of the log are not those that were signed: somebody has changed them")
}

fn is_boot(leaf: &[u8]) -> bool {
    Event::from_leaf(leaf).is_ok_and(|e| matches!(e.what, What::Boot { .. }))
}

/// The smallest subtrees, which hold the last leaves, as long as they have no more than so many together; and the others.
fn split(frontier: &Frontier, first_max: u64) -> (Vec<Subtree>, Vec<Subtree>) {
    let from = frontier.size().saturating_sub(first_max);
    frontier.subtrees().into_iter().rev().partition(|subtree| subtree.leaves.start >= from)
}

/// A subtree that is being read.
struct Reading {
    wanted: Subtree,
    read: Frontier,
}

impl Reading {
    fn of(wanted: Subtree) -> Self {
        Self { wanted, read: Frontier::default() }
    }

    /// Which leaves come next, and how many; none at the end.
    fn next(&self) -> Option<(u64, u32)> {
        let from = self.wanted.leaves.start + self.read.size();
        let left = self.wanted.leaves.end - from;
        (left > 0).then(|| (from, u32::try_from(left).unwrap_or(READ_BATCH).min(READ_BATCH)))
    }

    /// Whether these can be the next leaves.
    fn take(&mut self, leaves: &[Vec<u8>]) -> bool {
        leaves.iter().for_each(|leaf| self.read.append(leaf_hash(leaf)));
        !leaves.is_empty() && (self.next().is_some() || self.read.root() == self.wanted.root)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail loudly")]

    use super::*;

    fn leaf(n: u64) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    fn frontier(size: u64) -> Frontier {
        let mut frontier = Frontier::default();
        (0..size).for_each(|n| frontier.append(leaf_hash(&leaf(n))));
        frontier
    }

    /// Whether the subtree reads as what was signed out of this log.
    fn holds(subtree: &Subtree, log: &[Vec<u8>]) -> bool {
        let mut reading = Reading::of(subtree.clone());
        while let Some((from, limit)) = reading.next() {
            let at = usize::try_from(from).unwrap_or(usize::MAX);
            let batch: Vec<_> = log.iter().skip(at).take(usize::try_from(limit).unwrap_or(0)).cloned().collect();
            if !reading.take(&batch) {
                return false;
            }
        }
        true
    }

    #[test]
    fn the_end_of_the_log_is_read_first_and_every_leaf_once() {
        for size in (0..70).chain([1_000, 1_023, 1_024, 1_025]) {
            for first_max in [0, 1, 5, 64, 1_000, size] {
                let (first, rest) = split(&frontier(size), first_max);
                let count: u64 = first.iter().map(|s| s.leaves.end - s.leaves.start).sum();
                assert!(count <= first_max && (size > first_max || rest.is_empty()));
                let mut end = size;
                for subtree in first.iter().chain(&rest) {
                    assert_eq!(subtree.leaves.end, end);
                    end = subtree.leaves.start;
                }
                assert_eq!(end, 0);
            }
        }
    }

    #[test]
    fn a_leaf_that_is_changed_missing_or_elsewhere_is_found_wherever_it_is() {
        let size = 300;
        let log: Vec<_> = (0..size).map(leaf).collect();
        let (first, rest) = split(&frontier(size), 50);
        assert!(!first.is_empty() && !rest.is_empty());
        assert!(first.iter().chain(&rest).all(|subtree| holds(subtree, &log)));
        for n in 0..log.len() {
            let bad = |log: &[Vec<u8>]| first.iter().chain(&rest).filter(|subtree| !holds(subtree, log)).count();
            let mut changed = log.clone();
            changed[n][0] ^= 1;
            assert_eq!(bad(&changed), 1, "leaf {n}");
            assert!(bad(&log[..n]) > 0, "cut at {n}");
            let mut swapped = log.clone();
            swapped.swap(n, (n + 1) % log.len());
            assert!(bad(&swapped) > 0, "leaf {n} swapped");
        }
    }
}
