//! Versions of this node's own KEKs, as they are on the disk.

use crate::reply;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tally_domain::ports::hsm::KekId;
use tally_domain::ports::store::Store;
use tally_domain::{KekState, KekVersion, KeyName, Refusal};

/// All of them.
#[derive(Default)]
pub struct Keks {
    versions: RwLock<HashMap<KeyName, Arc<Vec<KekVersion>>>>,
    /// Keys under the transfer key that the standby token has not been seen to hold since this start.
    untransferred: Mutex<BTreeMap<KekId, Transfer>>,
    changing: tokio::sync::Mutex<()>,
}

/// A key on its way to the standby token.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The KEK.
    pub kek: KeyName,
    /// The version.
    pub version: KekVersion,
    /// Its key, under the transfer key.
    pub wrapped: Vec<u8>,
}

impl Keks {
    /// Reads all versions from the store.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load(store: &dyn Store) -> Result<Self, Refusal> {
        let keks = Self::default();
        for row in store.kek_versions(None).map_err(|e| reply::of_store(&e))? {
            keks.put(&row.kek, row.version, row.transfer);
        }
        Ok(keks)
    }

    /// The versions of one KEK, by number.
    pub fn versions(&self, kek: &KeyName) -> Arc<Vec<KekVersion>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(kek).cloned().unwrap_or_default()
    }

    /// Every version of every KEK.
    pub fn all(&self) -> Vec<(KeyName, KekVersion)> {
        let all = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().flat_map(|(kek, versions)| versions.iter().map(|v| (kek.clone(), *v))).collect()
    }

    /// Notes a version or its new state, after it is durable.
    pub fn put(&self, kek: &KeyName, version: KekVersion, transfer: Option<Vec<u8>>) {
        if let Some(wrapped) = transfer.filter(|_| !matches!(version.state, KekState::Destroying | KekState::Destroyed))
        {
            let transfer = Transfer { kek: kek.clone(), version, wrapped };
            self.untransferred.lock().unwrap_or_else(PoisonError::into_inner).insert(version.id, transfer);
        }
        let mut all = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        let versions = Arc::make_mut(all.entry(kek.clone()).or_default());
        match versions.iter_mut().find(|v| v.number == version.number) {
            Some(known) => *known = version,
            None => versions.push(version),
        }
    }

    /// The right to change versions: one change at a time, so that each is decided on what the one before has left.
    pub async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// A key that the standby token has not been seen to hold, of a KEK that may be touched.
    pub fn untransferred(&self, may: impl Fn(&KeyName) -> bool) -> Option<Transfer> {
        let untransferred = self.untransferred.lock().unwrap_or_else(PoisonError::into_inner);
        untransferred.values().find(|transfer| may(&transfer.kek)).cloned()
    }

    /// Notes that the standby token holds a key, or never will.
    pub fn note_transferred(&self, id: KekId) {
        self.untransferred.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
