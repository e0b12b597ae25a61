//! Keys in HSMs as this node knows them: its own, and those that other nodes have announced.

use crate::reply;
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::key::KeyState;
use tally_domain::ports::store::Store;
use tally_domain::{HsmKeyRecord, KeyName, Material, NodeName, Reason, Refusal};

/// A key in an HSM as this node knows it.
#[derive(Debug, Clone)]
pub struct HsmHeld {
    /// What it is.
    pub record: Arc<HsmKeyRecord>,
    /// The statements of a majority of nodes, once there are enough.
    pub certificate: Option<Arc<HsmKeyCertificate>>,
}

impl HsmHeld {
    /// A key that a majority has given its name signs; another does not.
    pub fn state(&self) -> KeyState {
        if self.certificate.is_some() { KeyState::Active } else { KeyState::Pending }
    }

    /// Whether it is a token domain, which has a key's name, and is no key.
    pub fn is_domain(&self) -> bool {
        matches!(self.record.material, Material::Tokens { .. })
    }
}

/// All keys in HSMs.
#[derive(Default)]
pub struct HsmKeys {
    held: RwLock<HashMap<KeyName, HsmHeld>>,
    /// Which peers have answered to the announcement of an active key since this start.
    told: Mutex<HashSet<(KeyName, NodeName)>>,
}

impl HsmKeys {
    /// Reads all keys from the store.
    ///
    /// # Errors
    /// When a stored record or certificate does not read.
    pub fn load(store: &dyn Store) -> Result<Self, Refusal> {
        let keys = Self::default();
        for row in store.hsm_keys().map_err(|e| reply::of_store(&e))? {
            let record = HsmKeyRecord::from_bytes(&row.record).map_err(|_| Reason::Tampered)?;
            let certificate = row.certificate.map(|bytes| HsmKeyCertificate::decode(bytes.as_slice())).transpose();
            keys.put(record, certificate.map_err(|_| Reason::Tampered)?);
        }
        Ok(keys)
    }

    /// Notes a key or its certificate, after it is durable.
    pub fn put(&self, record: HsmKeyRecord, certificate: Option<HsmKeyCertificate>) -> HsmHeld {
        let held = HsmHeld { record: Arc::new(record), certificate: certificate.map(Arc::new) };
        let mut all = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match all.get(&held.record.name) {
            // Whoever noted the certificate first was not slower to write it down.
            Some(known) if known.certificate.is_some() => known.clone(),
            _ => {
                all.insert(held.record.name.clone(), held.clone());
                held
            }
        }
    }

    /// One key.
    pub fn get(&self, name: &KeyName) -> Option<HsmHeld> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All keys by name.
    pub fn all(&self) -> Vec<HsmHeld> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<HsmHeld> = held.values().cloned().collect();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }

    /// Whether a peer has been told of an active key.
    pub fn is_told(&self, key: &KeyName, peer: &NodeName) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(&(key.clone(), peer.clone()))
    }

    /// Notes that a peer has been told of an active key.
    pub fn note_told(&self, key: &KeyName, peer: &NodeName) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert((key.clone(), peer.clone()));
    }
}
