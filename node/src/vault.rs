//! This node's vault of card numbers: its token domains as they are on the disk, the data keys that are in memory for a
//! short time, and who feels their way along card numbers.

mod care;
pub mod issue;
mod keys;
mod locked;
mod make;
mod rows;
#[cfg(feature = "testing")]
pub mod testing;

pub use care::{destroy_doomed, keep, retire_index, rewrap, rotations};
pub use make::{draw_kek, first_keys, new_data_key, new_index_key};
pub use rows::{Opened, fingerprints, open, seal};

use crate::node::{Node, now};
use crate::reply;
use keys::DataKeys;
use rand::Rng as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tally_domain::ports::hsm::IndexKeyId;
use tally_domain::ports::store::tokens::{DataKeyRow, DomainKekRow, IndexKeyRow, Vault};
use tally_domain::token::{DataKeyNumber, DomainState, Reuse, TokenDomain, VersionState};
use tally_domain::{ClientId, DomainName, HsmKeyRecord, KeyName, Reason, Refusal, SecretBytes, Subject};
use tally_tokenization::guard::{Guard, GuardLimits};
use tally_tokenization::spec::{Checked, DomainSpec, Keeping, Mode};
use tally_tokenization::{Pan, pan::Form};
use tokio::sync::Notify;

/// The vault, and what of it is in memory.
pub struct Vaults {
    /// What is on the disk.
    pub store: Arc<dyn Vault>,
    /// Domains that were asked for since they last changed.
    loaded: RwLock<HashMap<TokenDomain, Arc<Loaded>>>,
    keys: DataKeys,
    guard: Mutex<Guard>,
    changing: tokio::sync::Mutex<()>,
    /// Something is to be done that nobody waits for.
    pub work: Notify,
}

/// A domain as it is on the disk, without its tokens.
pub struct Loaded {
    /// Its name.
    pub domain: TokenDomain,
    /// What it is.
    pub checked: Checked,
    /// What it does.
    pub doing: DomainState,
    /// Versions of its KEK.
    pub keks: Vec<DomainKekRow>,
    /// Versions of its data key.
    pub data_keys: Vec<DataKeyRow>,
    /// Versions of its blind-index key.
    pub index_keys: Vec<IndexKeyRow>,
}

impl Loaded {
    /// The key's name, by which the domain is known in the cluster.
    pub fn name(&self) -> Result<KeyName, Refusal> {
        KeyName::parse(self.domain.name.as_str()).map_err(|_| Reason::Tampered.into())
    }

    /// Where card numbers are encrypted, if they are kept.
    pub fn mode(&self) -> Option<Mode> {
        match self.checked.spec().keeping {
            Keeping::Reversible { mode, .. } => Some(mode),
            Keeping::OneWay => None,
        }
    }

    /// Refuses whose card it is, where a card's first owner would be taken for that of all who come later.
    ///
    /// # Errors
    /// `SUBJECT_NOT_KEPT`.
    pub fn keeps_subject(&self, subject: Option<&Subject>) -> Result<(), Refusal> {
        match (self.checked.spec().reuse, subject) {
            (Reuse::PerDomain, Some(_)) => Err(Reason::SubjectNotKept.into()),
            _ => Ok(()),
        }
    }

    /// The data key for what is new.
    pub fn current_data_key(&self) -> Option<&DataKeyRow> {
        self.data_keys.iter().find(|key| key.state == VersionState::Current)
    }

    /// A version of the data key that is not destroyed.
    pub fn data_key(&self, number: DataKeyNumber) -> Option<&DataKeyRow> {
        self.data_keys.iter().find(|key| key.number == number && key.wrapped.is_some())
    }

    /// The KEK for what is new.
    pub fn current_kek(&self) -> Option<&DomainKekRow> {
        self.keks.iter().find(|kek| kek.state == VersionState::Current)
    }

    /// The index key by which tokens are found.
    pub fn current_index(&self) -> Option<&IndexKeyRow> {
        self.index_keys.iter().find(|key| key.state == VersionState::Current)
    }

    /// Index keys under which what is new gets a fingerprint.
    pub fn live_indexes(&self) -> impl Iterator<Item = &IndexKeyRow> {
        self.index_keys.iter().filter(|key| matches!(key.state, VersionState::Current | VersionState::Filling))
    }
}

impl Vaults {
    /// The vault in a store.
    pub fn new(store: Arc<dyn Vault>) -> Self {
        let mut secret = vec![0; 32];
        crate::node::fresh_rng().fill_bytes(&mut secret);
        Self {
            store,
            loaded: RwLock::default(),
            keys: DataKeys::default(),
            guard: Mutex::new(Guard::new(GuardLimits::default(), SecretBytes::new(secret))),
            changing: tokio::sync::Mutex::default(),
            work: Notify::new(),
        }
    }

    /// A domain as it is on the disk.
    ///
    /// # Errors
    /// `TOKEN_DOMAIN_NOT_FOUND`; `STORAGE`, `TAMPERED`.
    pub fn load(&self, domain: &TokenDomain) -> Result<Arc<Loaded>, Refusal> {
        if let Some(known) = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(domain) {
            return Ok(known.clone());
        }
        // Under the lock: what is read before a change must not be kept after it was to be forgotten.
        let mut all = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let loaded = Arc::new(self.read(domain)?);
        all.insert(domain.clone(), loaded.clone());
        Ok(loaded)
    }

    fn read(&self, domain: &TokenDomain) -> Result<Loaded, Refusal> {
        let of_store = |e| reply::of_store(&e);
        let row = self.store.token_domain(domain).map_err(of_store)?.ok_or(Reason::DomainNotFound)?;
        let spec = DomainSpec::from_bytes(&row.record).map_err(|_| Reason::Tampered)?;
        Ok(Loaded {
            domain: domain.clone(),
            checked: spec.check().map_err(|_| Reason::Tampered)?,
            doing: row.state,
            keks: self.store.domain_keks(domain).map_err(of_store)?,
            data_keys: self.store.data_keys(domain).map_err(of_store)?,
            index_keys: self.store.index_keys(domain).map_err(of_store)?,
        })
    }

    /// Forgets what is in memory of a domain, its data keys first of all: it has changed.
    pub fn forget(&self, domain: &TokenDomain) {
        self.keys.forget(domain);
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }

    /// Forgets what was read of a domain, so that it is read again; its data keys stay.
    pub fn forget_record(&self, domain: &TokenDomain) {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).remove(domain);
    }

    /// Forgets data keys whose time is over.
    pub fn expire(&self) {
        self.keys.expire();
    }

    /// The right to change domains: one change at a time.
    pub async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// A client asks about a card number in a way that tells it something.
    ///
    /// # Errors
    /// `ENUMERATION_GUARD`.
    pub fn ask(&self, client: &ClientId, pan: &Pan) -> Result<(), Refusal> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.ask(client, pan, now()).map_err(|guarded| {
            tracing::warn!(client = %client, "the enumeration guard refuses");
            Refusal::new(Reason::EnumerationGuard).with("retry_at_ms", guarded.retry_at.0.to_string())
        })
    }
}

/// The domain that a key's record is of.
pub fn domain_of(record: &HsmKeyRecord) -> Result<TokenDomain, Refusal> {
    let name = DomainName::parse(record.name.as_str()).map_err(|_| Reason::DomainNotFound)?;
    Ok(TokenDomain { tenant: record.tenant.clone(), name })
}

/// An index key as the token knows it.
pub fn index_id(row: &IndexKeyRow) -> IndexKeyId {
    IndexKeyId(row.object)
}

/// What is shown of a card number, as bytes that are wiped.
pub fn shown(pan: Pan, form: Form) -> SecretBytes {
    match pan.show(form) {
        tally_tokenization::pan::Shown::Full(pan) => SecretBytes::new(pan.expose().to_vec()),
        tally_tokenization::pan::Shown::Part(text) => SecretBytes::new(text.into_bytes()),
    }
}

/// Makes the write-ahead log forget what was overwritten. It is done again with the next round if a reader is in the way.
pub async fn forget_log(node: &Arc<Node>) {
    let store = node.vaults.store.clone();
    match tokio::task::spawn_blocking(move || store.forget()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "what was deleted is in the write-ahead log until the next round");
            node.vaults.work.notify_one();
        }
        Err(_) => tracing::error!("the write-ahead log was not emptied"),
    }
}
