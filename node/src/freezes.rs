//! Freezes as this node knows them, what has lifted some, and whom it has told.

use crate::reply;
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tally_domain::boot::Statement;
use tally_domain::freeze::{Unfreeze, UnfreezeCertificate};
use tally_domain::ports::store::{FreezeState, Store};
use tally_domain::{Digest, Freeze, FreezeName, NodeName, Reason, Refusal};
use tally_signer::freeze::{Freezes as Ledger, Frozen};

/// Something that every node must know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A freeze.
    Freeze(FreezeName),
    /// What lifts freezes, by the digest of the intent that asked for it.
    Lift(Digest),
}

/// What a peer made of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It has it on its disk.
    Took,
    /// It refuses it, and would again.
    Refused,
}

/// All freezes.
#[derive(Default)]
pub struct Freezes {
    ledger: RwLock<Arc<Ledger>>,
    lifts: RwLock<BTreeMap<Digest, Arc<UnfreezeCertificate>>>,
    /// What peers have answered since this start.
    heard: Mutex<HashMap<(Item, NodeName), Heard>>,
    /// Held while something is learnt, so that it is written down once, whoever tells it.
    learning: tokio::sync::Mutex<()>,
}

impl Freezes {
    /// Reads all from the store. Signatures were checked when they came; a node may have left the roster since.
    ///
    /// # Errors
    /// When a stored row does not read.
    pub fn load(store: &dyn Store) -> Result<Self, Refusal> {
        let mut ledger = Ledger::default();
        for row in store.freezes().map_err(|e| reply::of_store(&e))? {
            match row.state {
                FreezeState::Lifted => ledger.note_lifted(row.name),
                FreezeState::InForce { scope, statement } => {
                    let frozen = stored(&row.name.by, &statement)?;
                    if frozen.name() != row.name || frozen.freeze.scope != scope {
                        return Err(Reason::Tampered.into());
                    }
                    ledger.note(frozen);
                }
            }
        }
        let mut lifts = BTreeMap::new();
        for row in store.unfreezes().map_err(|e| reply::of_store(&e))? {
            let certificate = UnfreezeCertificate::decode(row.certificate.as_slice()).map_err(|_| Reason::Tampered)?;
            lifts.insert(row.intent, Arc::new(certificate));
        }
        Ok(Self { ledger: RwLock::new(Arc::new(ledger)), lifts: RwLock::new(lifts), ..Self::default() })
    }

    /// What is known now. Whoever decides by it does so once more where it becomes durable.
    pub fn known(&self) -> Arc<Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a freeze, after it is durable.
    pub fn note(&self, frozen: Frozen) {
        Arc::make_mut(&mut self.ledger.write().unwrap_or_else(PoisonError::into_inner)).note(frozen);
    }

    /// Notes what lifts freezes, after it is durable.
    pub fn note_lift(&self, unfreeze: &Unfreeze, certificate: UnfreezeCertificate) {
        Arc::make_mut(&mut self.ledger.write().unwrap_or_else(PoisonError::into_inner)).lift(unfreeze);
        let mut lifts = self.lifts.write().unwrap_or_else(PoisonError::into_inner);
        lifts.entry(unfreeze.intent).or_insert_with(|| Arc::new(certificate));
    }

    /// One at a time from here on, until the guard is dropped.
    pub async fn learning(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.learning.lock().await
    }

    /// What lifts freezes, if this node has it.
    pub fn lift(&self, intent: &Digest) -> Option<Arc<UnfreezeCertificate>> {
        self.lifts.read().unwrap_or_else(PoisonError::into_inner).get(intent).cloned()
    }

    /// What a peer has not answered to, freezes first.
    pub fn untold(&self, peer: &NodeName) -> Vec<Item> {
        let freezes: Vec<_> = self.known().in_force().map(|frozen| Item::Freeze(frozen.name())).collect();
        let lifts: Vec<_> = self.lifts.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let all = freezes.into_iter().chain(lifts.into_iter().map(Item::Lift));
        all.filter(|item| !heard.contains_key(&(item.clone(), peer.clone()))).collect()
    }

    /// What a peer made of an item, if it has answered.
    pub fn heard(&self, item: &Item, peer: &NodeName) -> Option<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&(item.clone(), peer.clone())).copied()
    }

    /// Notes what a peer made of an item.
    pub fn note_heard(&self, item: Item, peer: &NodeName, heard: Heard) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert((item, peer.clone()), heard);
    }
}

/// A freeze out of this node's own store.
///
/// # Errors
/// `TAMPERED`.
pub fn stored(by: &NodeName, statement: &[u8]) -> Result<Frozen, Refusal> {
    let statement = Statement::decode(statement).map_err(|_| Reason::Tampered)?;
    let body = statement.signed.as_ref().ok_or(Reason::Tampered)?;
    let freeze = Freeze::from_bytes(&body.payload).map_err(|_| Reason::Tampered)?;
    Ok(Frozen { by: by.clone(), freeze, statement })
}
