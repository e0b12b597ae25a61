//! Token domains on two tokens: their keys are made on the primary and given to the standby, which does whatever leaves nothing
//! on a token while the primary does not. A key is destroyed when both have said so: the standby's is a copy.

use super::TokenPair;
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    Hsm, HsmError, IndexKeyId, KekId, PlainRow, RowSeal, SealedRow, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;

impl TokenPair {
    /// Asks both; done when both have done it.
    pub(super) fn both(
        &self,
        ask: impl Fn(&dyn Hsm) -> Pending<Result<(), HsmError>>,
    ) -> Pending<Result<(), HsmError>> {
        let (one, other) = (ask(&*self.primary), self.ask_standby(&ask));
        Box::pin(async move {
            let (one, other) = (one.await, other.await);
            one.and(other)
        })
    }
}

impl VaultHsm for TokenPair {
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<Option<Vec<u8>>, HsmError>> {
        self.primary.create_vault_key(key)
    }

    fn replicate_vault_key(&self, key: VaultKey, transfer: Vec<u8>) -> Pending<Result<(), HsmError>> {
        self.ask_standby(|standby| standby.replicate_vault_key(key, transfer))
    }

    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.both(move |hsm| hsm.destroy_vault_key(key))
    }

    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>> {
        self.either(move |hsm| hsm.fingerprints(key, inputs.iter().map(copy).collect()))
    }

    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.either(move |hsm| hsm.create_strict_key(kek))
    }

    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.either(move |hsm| hsm.rewrap_strict_key(key.clone(), to))
    }

    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>> {
        let row = |row: &PlainRow| PlainRow { aad: row.aad.clone(), plaintext: copy(&row.plaintext) };
        self.either(move |hsm| hsm.seal_rows(key.clone(), rows.iter().map(row).collect()))
    }

    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>> {
        self.either(move |hsm| hsm.open_rows(key.clone(), rows.clone()))
    }

    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>> {
        self.both(|hsm| hsm.forget_strict_keys())
    }
}

/// For the token that is asked second.
fn copy(secret: &SecretBytes) -> SecretBytes {
    SecretBytes::new(secret.expose().to_vec())
}
