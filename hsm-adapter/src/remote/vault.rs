//! What of the port serves token domains: many rows in one frame.

use super::RemoteHsm;
use crate::health::Operation;
use crate::wire::{Ask, Bytes, Made, VaultAsk};
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    HsmError, IndexKeyId, KekId, PlainRow, RowSeal, SealedRow, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;

impl VaultHsm for RemoteHsm {
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<Option<Vec<u8>>, HsmError>> {
        self.ask(Operation::MakeVaultKey, &Ask::Vault(VaultAsk::Create(key.into())))
    }

    fn replicate_vault_key(&self, key: VaultKey, transfer: Vec<u8>) -> Pending<Result<(), HsmError>> {
        let ask = VaultAsk::Replicate { key: key.into(), transfer: Bytes(&transfer) };
        self.ask(Operation::MakeVaultKey, &Ask::Vault(ask))
    }

    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyVaultKey, &Ask::Vault(VaultAsk::Destroy(key.into())))
    }

    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>> {
        let inputs = inputs.iter().map(|input| Bytes(input.expose())).collect();
        self.ask(Operation::Fingerprint, &Ask::Vault(VaultAsk::Fingerprints { key: key.0, inputs }))
    }

    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::MakeDataKey, &Ask::Vault(VaultAsk::CreateStrictKey { kek: kek.0 }))
    }

    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        let ask = VaultAsk::RewrapStrictKey { key: (&key).into(), to: to.0 };
        self.ask(Operation::Rewrap, &Ask::Vault(ask))
    }

    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>> {
        let rows = rows.iter().map(|row| (Bytes(&row.aad), Bytes(row.plaintext.expose()))).collect();
        self.ask(Operation::SealRows, &Ask::Vault(VaultAsk::SealRows { key: (&key).into(), rows }))
    }

    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>> {
        let rows = rows.iter().map(|row| (Bytes(&row.aad), Made::from(&row.seal))).collect();
        self.ask(Operation::OpenRows, &Ask::Vault(VaultAsk::OpenRows { key: (&key).into(), rows }))
    }

    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyVaultKey, &Ask::Vault(VaultAsk::ForgetStrictKeys))
    }
}
