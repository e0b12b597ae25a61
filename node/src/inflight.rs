//! One worker per request at a node: whoever holds the guard leads it or takes part in it; others wait or step back (S-6.5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tally_domain::{RequestId, Tenant};
use tokio::sync::watch;

type Key = (Tenant, RequestId);

/// Requests that are being worked on here.
#[derive(Default)]
pub struct Inflight(Mutex<HashMap<Key, watch::Receiver<()>>>);

/// The right to work on a request; given back on drop.
pub struct Guard {
    inflight: Arc<Inflight>,
    key: Key,
    _done: watch::Sender<()>,
}

impl Inflight {
    /// Takes a request, if nobody has it.
    pub fn try_take(self: &Arc<Self>, tenant: &Tenant, request: RequestId) -> Option<Guard> {
        let key = (tenant.clone(), request);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.contains_key(&key) {
            return None;
        }
        let (done, wait) = watch::channel(());
        map.insert(key.clone(), wait);
        Some(Guard { inflight: self.clone(), key, _done: done })
    }

    /// How many are being worked on.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until whoever has the request is done with it; at once if nobody has.
    pub async fn wait(&self, tenant: &Tenant, request: RequestId) {
        let receiver = {
            let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            map.get(&(tenant.clone(), request)).cloned()
        };
        if let Some(mut receiver) = receiver {
            // The sender never sends: this ends when the guard is dropped.
            while receiver.changed().await.is_ok() {}
        }
    }

    /// Takes a request, waiting for whoever has it.
    pub async fn take(self: &Arc<Self>, tenant: &Tenant, request: RequestId) -> Guard {
        loop {
            if let Some(guard) = self.try_take(tenant, request) {
                return guard;
            }
            self.wait(tenant, request).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inflight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
