//! Data keys of hybrid domains, in locked memory: for five minutes from when they came, however often they are used, and for
//! 2^20 uses, however soon. What changes a domain purges them.

use super::Loaded;
use super::locked::LockedKey;
use crate::node::Node;
use crate::reply;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::Seal;
use tally_domain::ports::store::tokens::WrappedKey;
use tally_domain::token::{DataKeyNumber, TokenDomain};
use tally_domain::{Reason, Refusal};
use tally_tokenization::bind::data_key_aad;

/// How long a data key is kept: five minutes, less the two rounds of care that it may take to notice.
const KEPT_MAX: Duration = Duration::from_secs(5 * 60 - 4);

/// How often a data key is used before the token is asked for it again.
const USES_MAX: u64 = 1 << 20;

/// Data keys that are kept: a page of locked memory each, of the 64 that systems allow at least where they allow any.
const KEYS_MAX: usize = 1_000;

/// All of them.
#[derive(Default)]
pub struct DataKeys {
    held: Mutex<HashMap<(TokenDomain, DataKeyNumber), Held>>,
    /// Held by whoever asks the token: others wait for the same key instead of asking, too.
    missing: tokio::sync::Mutex<()>,
}

struct Held {
    key: Arc<LockedKey>,
    /// What the key was under: another wrapping is another key for all that is known.
    wrapped: WrappedKey,
    since: Instant,
    uses: u64,
}

impl DataKeys {
    /// A data key, for so many uses.
    ///
    /// # Errors
    /// `HSM`; `TAMPERED` when the KEK does not open it.
    pub async fn get(
        &self,
        node: &Node,
        loaded: &Loaded,
        number: DataKeyNumber,
        wrapped: &WrappedKey,
        uses: u64,
    ) -> Result<Arc<LockedKey>, Refusal> {
        if let Some(key) = self.known(&loaded.domain, number, wrapped, uses) {
            return Ok(key);
        }
        let _asking = self.missing.lock().await;
        if let Some(key) = self.known(&loaded.domain, number, wrapped, uses) {
            return Ok(key);
        }
        let kek = loaded.keks.iter().find(|kek| kek.number == wrapped.kek_version).ok_or(Reason::Tampered)?;
        let under = Seal { kek: kek.kek.object, aad: data_key_aad(&loaded.domain, number).0.to_vec() };
        let opened = node.hsm.unwrap(under, wrapped.wrapped.clone()).await.map_err(|e| reply::of_hsm(&e))?;
        let key = LockedKey::new(opened.expose()).map_err(|error| {
            tracing::error!(%error, "the data key cannot be kept in locked memory; raise the limit (`ulimit -l`)");
            Refusal::from(Reason::Hsm)
        })?;
        let key = Arc::new(key);
        let held = Held { key: key.clone(), wrapped: wrapped.clone(), since: Instant::now(), uses };
        let mut all = self.all();
        if all.len() >= KEYS_MAX {
            all.clear();
        }
        all.insert((loaded.domain.clone(), number), held);
        Ok(key)
    }

    fn known(
        &self,
        domain: &TokenDomain,
        number: DataKeyNumber,
        wrapped: &WrappedKey,
        uses: u64,
    ) -> Option<Arc<LockedKey>> {
        let mut all = self.all();
        let held = all.get_mut(&(domain.clone(), number))?;
        if held.is_over() || held.uses.saturating_add(uses) > USES_MAX || held.wrapped != *wrapped {
            all.remove(&(domain.clone(), number));
            return None;
        }
        held.uses += uses;
        Some(held.key.clone())
    }

    /// Purges the data keys of a domain.
    pub fn forget(&self, domain: &TokenDomain) {
        self.all().retain(|(of, _), _| of != domain);
    }

    /// Purges data keys whose time is over.
    pub fn expire(&self) {
        self.all().retain(|_, held| !held.is_over());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(TokenDomain, DataKeyNumber), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_over(&self) -> bool {
        self.since.elapsed() >= KEPT_MAX
    }
}
