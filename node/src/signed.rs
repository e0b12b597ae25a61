//! When each key last signed, as far as this node knows since its start, and from the end of its log before that.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tally_audit::event::{Event, What};
use tally_domain::ports::store::{Store, StoreError};
use tally_domain::{KeyName, UnixMillis};

/// Leaves that are read back at a start: some of the last thousand signatures, in well under a second.
const LEAVES_BACK_MAX: u64 = 8_192;

/// Leaves read at once, so that a start needs no more memory than what follows it.
const LEAVES_AT_ONCE: u32 = 256;

/// What a node had to do with a signature.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// It led, or its own token signed.
    Led,
    /// It signed what another led.
    Took,
    /// It was told of the result.
    Heard,
}

impl Part {
    /// For labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Led => "led",
            Self::Took => "took",
            Self::Heard => "heard",
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Signed(RwLock<HashMap<KeyName, UnixMillis>>);

impl Signed {
    /// What the end of the log tells. A leaf that does not read is not judged here: the log has been checked.
    ///
    /// # Errors
    /// When the store does not read.
    pub fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let (signed, size) = (Self::default(), store.log_size()?);
        let mut next = size.saturating_sub(LEAVES_BACK_MAX);
        while next < size {
            let leaves = store.leaves(next, LEAVES_AT_ONCE)?;
            if leaves.is_empty() {
                break;
            }
            next = next.saturating_add(leaves.len() as u64);
            for event in leaves.iter().filter_map(|leaf| Event::from_leaf(leaf).ok()) {
                if let What::Completed { key, .. } = &event.what {
                    signed.note(key, event.time);
                }
            }
        }
        Ok(signed)
    }

    /// A key has signed.
    pub fn note(&self, key: &KeyName, at: UnixMillis) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), at);
    }

    /// When a key last signed.
    pub fn last(&self, key: &KeyName) -> Option<UnixMillis> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// When any key last signed.
    pub fn latest(&self) -> Option<UnixMillis> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().copied().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::ports::store::Step;
    use tally_domain::{DerivationPath, Digest, Incarnation, NodeName, RequestId, Tenant};
    use tally_store::SqliteStore;

    fn completed(key: &str, at: u64) -> Vec<u8> {
        let what = What::Completed {
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([1; 16]),
            intent_digest: Digest([2; 32]),
            key: KeyName::parse(key).unwrap(),
            path: DerivationPath::default(),
            signature: vec![3; 64],
            public_key: vec![4; 32],
            to_sign: vec![5; 32],
        };
        leaf(what, at)
    }

    fn leaf(what: What, at: u64) -> Vec<u8> {
        let node = NodeName::parse("node-1").unwrap();
        Event { node, incarnation: Incarnation(1), time: UnixMillis(at), what }.to_leaf()
    }

    #[tokio::test]
    async fn the_end_of_the_log_tells_when_keys_last_signed_before_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("tally.db")).unwrap();
        let failed =
            What::SessionFailed { request_id: None, what: "SIGNERS".into(), culprit: None, missing: Vec::new() };
        let last = |signed: &Signed, key: &str| signed.last(&KeyName::parse(key).unwrap()).map(|at| at.0);
        let none = Signed::load(&store).unwrap();
        assert_eq!((last(&none, "hot"), none.latest()), (None, None));

        // Longer ago than what is read back.
        let old = std::iter::once(completed("ancient", 1));
        let others = std::iter::repeat_n(leaf(failed.clone(), 2), usize::try_from(LEAVES_BACK_MAX).unwrap() - 4);
        let new = [completed("hot", 5), completed("cold", 7), completed("hot", 9), leaf(failed, 10)];
        let leaves = old.chain(others).chain(new).collect();
        store.commit(Step { writes: Vec::new(), leaves }).await.unwrap();
        let signed = Signed::load(&store).unwrap();
        assert_eq!([last(&signed, "hot"), last(&signed, "cold"), last(&signed, "ancient")], [Some(9), Some(7), None]);
        assert_eq!(signed.latest(), Some(UnixMillis(9)));
    }
}
