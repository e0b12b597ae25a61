//! What of the port serves token domains.

use super::Pkcs11Hsm;
use crate::health::Operation;
use std::sync::OnceLock;
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    HsmError, IndexKeyId, KekId, PlainRow, RowSeal, SealedRow, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;

impl VaultHsm for Pkcs11Hsm {
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<Option<Vec<u8>>, HsmError>> {
        let transfer = OnceLock::new();
        self.ask(Operation::MakeVaultKey, move |desk, attempt| desk.make_vault_key(key, attempt, &transfer))
    }

    fn replicate_vault_key(&self, key: VaultKey, transfer: Vec<u8>) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::MakeVaultKey, move |desk, _| desk.take_vault_key(key, &transfer))
    }

    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyVaultKey, move |desk, _| desk.destroy_vault_key(key))
    }

    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>> {
        self.ask(Operation::Fingerprint, move |desk, _| desk.fingerprints(key, &inputs))
    }

    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::MakeDataKey, move |desk, _| desk.make_strict_key(kek))
    }

    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Rewrap, move |desk, _| desk.rewrap_strict_key(&key, to))
    }

    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>> {
        self.ask(Operation::SealRows, move |desk, _| desk.seal_rows(&key, &rows))
    }

    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>> {
        self.ask(Operation::OpenRows, move |desk, _| desk.open_rows(&key, &rows))
    }

    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyVaultKey, |desk, _| desk.forget_strict_keys())
    }
}
