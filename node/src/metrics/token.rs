//! Counts what is asked of the token, and how it answers.

use super::Metrics;
use super::names::{HSM_CALLS, HSM_SECONDS};
use std::sync::Arc;
use std::time::Instant;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    DataKey, Hsm, HsmError, HsmStatus, IndexKeyId, KekId, KekMade, KeyCheckValue, ObjectId, PlainRow, RowSeal, Seal,
    SealedRow, SealingKeyId, StrictKey, VaultHsm, VaultKey,
};
use tally_domain::token::Fingerprint;
use tally_domain::{HsmScheme, PublicKey, SecretBytes};

/// A token that is counted.
pub struct Metered {
    inner: Arc<dyn Hsm>,
    metrics: Arc<Metrics>,
}

impl Metered {
    /// Counts what `inner` is asked from now on.
    pub fn new(inner: Arc<dyn Hsm>, metrics: Arc<Metrics>) -> Self {
        metrics.add(&HSM_CALLS, &["sign_identity", "device"], 0);
        Self { inner, metrics }
    }

    fn timed<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: Pending<Result<T, HsmError>>,
    ) -> Pending<Result<T, HsmError>> {
        let metrics = self.metrics.clone();
        Box::pin(async move {
            let begin = Instant::now();
            let outcome = work.await;
            metrics.took(&HSM_SECONDS, &[operation], begin.elapsed());
            metrics.count(&HSM_CALLS, &[operation, outcome.as_ref().err().map_or("ok", class)]);
            outcome
        })
    }
}

/// The kind of an error: its text may name keys.
fn class(error: &HsmError) -> &'static str {
    match error {
        HsmError::Integrity => "integrity",
        HsmError::KeyNotFound { .. } => "key_not_found",
        HsmError::KeyExists { .. } => "key_exists",
        HsmError::NotOffered { .. } => "not_offered",
        HsmError::Configuration { .. } => "configuration",
        HsmError::PinRefused => "pin_refused",
        HsmError::Device { .. } => "device",
        HsmError::Deadline { .. } => "deadline",
        HsmError::Down { .. } => "down",
        HsmError::Busy => "busy",
    }
}

impl Hsm for Metered {
    fn identity(&self) -> VerifyingKey {
        self.inner.identity()
    }
    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("sign_identity", self.inner.sign_identity(message))
    }
    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.timed("create_sealing_key", self.inner.create_sealing_key(id))
    }
    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("seal", self.inner.seal(id, aad, plaintext))
    }
    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.timed("open", self.inner.open(id, aad, sealed))
    }
    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.timed("destroy_sealing_key", self.inner.destroy_sealing_key(id))
    }
    fn create_signing_key(&self, id: ObjectId, scheme: HsmScheme) -> Pending<Result<PublicKey, HsmError>> {
        self.timed("create_signing_key", self.inner.create_signing_key(id, scheme))
    }
    fn sign(&self, id: ObjectId, scheme: HsmScheme, to_sign: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("sign", self.inner.sign(id, scheme, to_sign))
    }
    fn create_kek(&self, id: KekId) -> Pending<Result<KekMade, HsmError>> {
        self.timed("create_kek", self.inner.create_kek(id))
    }
    fn replicate_kek(&self, id: KekId, transfer: Vec<u8>) -> Pending<Result<KeyCheckValue, HsmError>> {
        self.timed("replicate_kek", self.inner.replicate_kek(id, transfer))
    }
    fn generate_data_key(&self, bytes: usize, under: Seal) -> Pending<Result<DataKey, HsmError>> {
        self.timed("generate_data_key", self.inner.generate_data_key(bytes, under))
    }
    fn wrap(&self, under: Seal, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("wrap", self.inner.wrap(under, plaintext))
    }
    fn unwrap(&self, under: Seal, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.timed("unwrap", self.inner.unwrap(under, sealed))
    }
    fn rewrap(&self, from: Seal, sealed: Vec<u8>, to: Seal) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("rewrap", self.inner.rewrap(from, sealed, to))
    }
    fn destroy_kek(&self, id: KekId) -> Pending<Result<(), HsmError>> {
        self.timed("destroy_kek", self.inner.destroy_kek(id))
    }
    fn status(&self) -> Pending<HsmStatus> {
        self.inner.status()
    }
}

impl VaultHsm for Metered {
    fn create_vault_key(&self, key: VaultKey) -> Pending<Result<Option<Vec<u8>>, HsmError>> {
        self.timed("create_vault_key", self.inner.create_vault_key(key))
    }
    fn replicate_vault_key(&self, key: VaultKey, transfer: Vec<u8>) -> Pending<Result<(), HsmError>> {
        self.timed("replicate_vault_key", self.inner.replicate_vault_key(key, transfer))
    }
    fn destroy_vault_key(&self, key: VaultKey) -> Pending<Result<(), HsmError>> {
        self.timed("destroy_vault_key", self.inner.destroy_vault_key(key))
    }
    fn fingerprints(&self, key: IndexKeyId, inputs: Vec<SecretBytes>) -> Pending<Result<Vec<Fingerprint>, HsmError>> {
        self.timed("fingerprints", self.inner.fingerprints(key, inputs))
    }
    fn create_strict_key(&self, kek: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("create_strict_key", self.inner.create_strict_key(kek))
    }
    fn rewrap_strict_key(&self, key: StrictKey, to: KekId) -> Pending<Result<Vec<u8>, HsmError>> {
        self.timed("rewrap_strict_key", self.inner.rewrap_strict_key(key, to))
    }
    fn seal_rows(&self, key: StrictKey, rows: Vec<PlainRow>) -> Pending<Result<Vec<RowSeal>, HsmError>> {
        self.timed("seal_rows", self.inner.seal_rows(key, rows))
    }
    fn open_rows(&self, key: StrictKey, rows: Vec<SealedRow>) -> Pending<Result<Vec<Option<SecretBytes>>, HsmError>> {
        self.timed("open_rows", self.inner.open_rows(key, rows))
    }
    fn forget_strict_keys(&self) -> Pending<Result<(), HsmError>> {
        self.timed("forget_strict_keys", self.inner.forget_strict_keys())
    }
}
