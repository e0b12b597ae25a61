//! Token domains live on the primary alone: their blind-index keys are born there and never leave.

use super::TokenPair;
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    HsmError, IndexKeyId, KekId, PlainRow, RowSeal, SealedRow, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;

impl VaultHsm for TokenPair {
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.primary.create_vault_key(key)
    }

    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.primary.destroy_vault_key(key)
    }

    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>> {
        self.primary.fingerprints(key, inputs)
    }

    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.primary.create_strict_key(kek)
    }

    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.primary.rewrap_strict_key(key, to)
    }

    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>> {
        self.primary.seal_rows(key, rows)
    }

    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>> {
        self.primary.open_rows(key, rows)
    }

    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>> {
        self.primary.forget_strict_keys()
    }
}
