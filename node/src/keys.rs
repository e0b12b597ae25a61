//! Keys of this node: records in memory, and shares opened once and kept for the life of the process.

use crate::reply;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::ports::hsm::{Hsm, SealingKeyId};
use tally_domain::ports::store::{BanRow, Store};
use tally_domain::{KeyName, NodeName, Reason, Refusal};
use tally_mpc::KeyShare;

/// A key as this node holds it.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it is.
    pub record: Arc<KeyRecord>,
    /// Whether it signs.
    pub state: KeyState,
}

/// All keys of this node.
#[derive(Default)]
pub struct Keys {
    held: RwLock<HashMap<KeyName, Held>>,
    shares: RwLock<HashMap<KeyName, Arc<KeyShare>>>,
    bans: RwLock<Vec<BanRow>>,
}

impl Keys {
    /// Reads all keys and bans from the store.
    ///
    /// # Errors
    /// When a stored record does not read.
    pub fn load(store: &dyn Store) -> Result<Self, Refusal> {
        let keys = Self::default();
        for row in store.keys().map_err(|e| reply::of_store(&e))? {
            let record = KeyRecord::from_bytes(&row.record).map_err(|_| Reason::Tampered)?;
            keys.put(record, row.state);
        }
        *keys.bans.write().unwrap_or_else(PoisonError::into_inner) = store.bans().map_err(|e| reply::of_store(&e))?;
        Ok(keys)
    }

    /// Notes a key or its new state, after it is durable.
    pub fn put(&self, record: KeyRecord, state: KeyState) {
        let held = Held { record: Arc::new(record), state };
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(held.record.name.clone(), held);
    }

    /// Notes bans, after they are durable.
    pub fn note_bans(&self, bans: impl IntoIterator<Item = BanRow>) {
        self.bans.write().unwrap_or_else(PoisonError::into_inner).extend(bans);
    }

    /// One key.
    pub fn get(&self, name: &KeyName) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All keys by name.
    pub fn all(&self) -> Vec<Held> {
        let mut all: Vec<Held> = self.held.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }

    /// All bans.
    pub fn bans(&self) -> Vec<BanRow> {
        self.bans.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a peer is banned for a key in its present epoch.
    pub fn banned(&self, record: &KeyRecord, peer: &NodeName) -> bool {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        bans.iter().any(|b| b.key == record.name && b.epoch == record.epoch && b.peer == *peer)
    }

    /// This node's share of a key: from memory, or opened by the token and checked against the record (S-4.1).
    ///
    /// # Errors
    /// `HSM`, or `TAMPERED` when the sealed share or the record are not what was stored.
    pub async fn share(
        &self,
        record: &KeyRecord,
        me: &NodeName,
        store: &dyn Store,
        hsm: &dyn Hsm,
    ) -> Result<Arc<KeyShare>, Refusal> {
        if let Some(share) = self.shares.read().unwrap_or_else(PoisonError::into_inner).get(&record.name) {
            return Ok(share.clone());
        }
        let row = store.key(&record.name).map_err(|e| reply::of_store(&e))?.ok_or(Reason::KeyNotFound)?;
        let id = SealingKeyId::of(&record.name, record.epoch, &record.request_id);
        let aad = record.share_aad(me).0.to_vec();
        let bytes = hsm.open(id, aad, row.sealed_share).await.map_err(|e| reply::of_hsm(&e))?;
        let share = KeyShare::from_bytes(&bytes).map_err(|_| Reason::Tampered)?;
        let party = record.party(me).ok_or(Reason::Tampered)?;
        if !share.matches(record, party) {
            return Err(Reason::Tampered.into());
        }
        let share = Arc::new(share);
        self.shares.write().unwrap_or_else(PoisonError::into_inner).insert(record.name.clone(), share.clone());
        Ok(share)
    }
}
