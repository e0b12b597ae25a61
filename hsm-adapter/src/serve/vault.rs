//! What is begun for token domains.

use super::{Out, later};
use crate::wire::VaultAsk;
use std::sync::Arc;
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, IndexKeyId, KekId, PlainRow, SealedRow};

/// Begins an operation; the future sends its answer.
pub fn begin(hsm: &dyn Hsm, id: u64, ask: VaultAsk<'_>, out: Arc<Out>) -> Pending<()> {
    match ask {
        VaultAsk::Create(key) => later(hsm.create_vault_key(key.into()), id, out),
        VaultAsk::Replicate { key, transfer } => {
            later(hsm.replicate_vault_key(key.into(), transfer.0.to_vec()), id, out)
        }
        VaultAsk::Destroy(key) => later(hsm.destroy_vault_key(key.into()), id, out),
        VaultAsk::Fingerprints { key, inputs } => {
            let inputs = inputs.into_iter().map(|input| SecretBytes::new(input.0.to_vec())).collect();
            later(hsm.fingerprints(IndexKeyId(key), inputs), id, out)
        }
        VaultAsk::CreateStrictKey { kek } => later(hsm.create_strict_key(KekId(kek)), id, out),
        VaultAsk::RewrapStrictKey { key, to } => later(hsm.rewrap_strict_key(key.into(), KekId(to)), id, out),
        VaultAsk::SealRows { key, rows } => {
            let plain = |(aad, row): (super::Bytes<'_>, super::Bytes<'_>)| PlainRow {
                aad: aad.0.to_vec(),
                plaintext: SecretBytes::new(row.0.to_vec()),
            };
            later(hsm.seal_rows(key.into(), rows.into_iter().map(plain).collect()), id, out)
        }
        VaultAsk::OpenRows { key, rows } => {
            let sealed = rows.into_iter().map(|(aad, seal)| SealedRow { aad: aad.0.to_vec(), seal: seal.into() });
            later(hsm.open_rows(key.into(), sealed.collect()), id, out)
        }
        VaultAsk::ForgetStrictKeys => later(hsm.forget_strict_keys(), id, out),
    }
}
