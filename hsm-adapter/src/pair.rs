//! Two tokens of one node that hold the same KEKs and the same keys of token domains. The primary makes all keys and does all
//! work while it can; the standby wraps and unwraps, and works for domains, while the primary does not.
//!
//! INVARIANT: what changes a token, and what only the primary's own keys can do, never fails over. Whatever else leaves nothing
//! on a token, so that asking twice does no harm.

mod vault;

use crate::config::{Config, Role};
use crate::hsm::Pkcs11Hsm;
use crate::pairing::{must_be_a_pair, must_differ};
use crate::remote::{RemoteConfig, RemoteHsm, compare_pair_remote};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    BreakerState, DataKey, Hsm, HsmError, HsmStatus, Isolation, KekId, KekMade, KeyCheckValue, ObjectId, PinState,
    Seal, SealingKeyId,
};
use tally_domain::{HsmScheme, PublicKey, SecretBytes};

/// A primary token and its standby.
pub struct TokenPair {
    primary: Arc<dyn Hsm>,
    standby: Standby,
    /// Whether the standby did the last work; so that it is told once.
    failed_over: Arc<AtomicBool>,
}

/// The other token.
#[derive(Clone)]
enum Standby {
    Here(Arc<dyn Hsm>),
    /// It could not be connected to; it is tried again when the node starts again.
    Away(Box<HsmStatus>, HsmError),
}

impl TokenPair {
    /// Connects to both. A node starts with its primary: what is wrong with the standby is logged and stays in the status.
    /// Blocks.
    ///
    /// # Errors
    /// As [`Pkcs11Hsm::connect`] of the primary; [`HsmError::Configuration`] when both are one token.
    pub fn connect(primary: Config, standby: Config) -> Result<Self, HsmError> {
        let serial = standby.token_serial.as_deref();
        let away = unreached(&standby.module, &standby.token_label, serial, Isolation::Thread);
        let primary = Pkcs11Hsm::connect(Config { role: Role::Primary, ..primary })?;
        let other = Pkcs11Hsm::connect(Config { role: Role::Standby, ..standby });
        if let Ok(other) = &other {
            must_differ(primary.office().token.names(), other.office().token.names())?;
        }
        let other = other.and_then(|other| must_be_a_pair(primary.office(), other.office()).map(|()| other));
        Ok(Self::with(Arc::new(primary), other.map(|other| Arc::new(other) as Arc<dyn Hsm>), away))
    }

    /// As [`TokenPair::connect`], each token behind a process of its own.
    ///
    /// # Errors
    /// As [`RemoteHsm::connect`] of the primary; [`HsmError::Configuration`] when both are one token.
    pub fn connect_remote(primary: RemoteConfig, standby: RemoteConfig) -> Result<Self, HsmError> {
        let serial = standby.token_serial.as_deref();
        let away = unreached(&standby.module, &standby.token_label, serial, Isolation::Process);
        let one = RemoteHsm::connect(RemoteConfig { role: Role::Primary, ..primary.clone() })?;
        let other = RemoteHsm::connect(RemoteConfig { role: Role::Standby, ..standby.clone() });
        if other.as_ref().is_ok_and(|other| other.identity() == one.identity()) {
            let what = format!("`{}` is configured as primary and as standby", primary.token_label);
            return Err(HsmError::Configuration { what });
        }
        let other = other.and_then(|other| compare_pair_remote(&primary, &standby).map(|()| other));
        Ok(Self::with(Arc::new(one), other.map(|other| Arc::new(other) as Arc<dyn Hsm>), away))
    }

    fn with(primary: Arc<dyn Hsm>, standby: Result<Arc<dyn Hsm>, HsmError>, away: HsmStatus) -> Self {
        match standby {
            Ok(standby) => Self::new(primary, standby),
            Err(error) => {
                tracing::error!(token = away.label, %error, "the standby token is not used until the node starts again");
                Self::of(primary, Standby::Away(Box::new(away), error))
            }
        }
    }

    /// Why the standby is not used, if it is not.
    pub fn standby_away(&self) -> Result<(), HsmError> {
        match &self.standby {
            Standby::Here(_) => Ok(()),
            Standby::Away(_, error) => Err(error.clone()),
        }
    }

    /// Of two tokens that are connected to, each in its [`Role`].
    pub fn new(primary: Arc<dyn Hsm>, standby: Arc<dyn Hsm>) -> Self {
        Self::of(primary, Standby::Here(standby))
    }

    fn of(primary: Arc<dyn Hsm>, standby: Standby) -> Self {
        Self { primary, standby, failed_over: Arc::default() }
    }

    /// Asks the primary, and the standby where that may help.
    fn either<T: Send + 'static>(
        &self,
        ask: impl Fn(&dyn Hsm) -> Pending<Result<T, HsmError>> + Send + 'static,
    ) -> Pending<Result<T, HsmError>> {
        let first = ask(&*self.primary);
        let (standby, failed_over) = (self.standby.clone(), Arc::clone(&self.failed_over));
        Box::pin(async move {
            let error = match first.await {
                Err(error) if does_not_work(&error) => error,
                answer => {
                    if answer.is_ok() && failed_over.swap(false, Ordering::Relaxed) {
                        tracing::info!("the primary token works again");
                    }
                    return answer;
                }
            };
            let Standby::Here(standby) = standby else { return Err(error) };
            match ask(&*standby).await {
                Ok(done) => {
                    if !failed_over.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the standby token works in place of the primary");
                    }
                    Ok(done)
                }
                Err(HsmError::Integrity) => Err(HsmError::Integrity),
                // Why it came to this is more use than that the standby cannot help either.
                Err(_) => Err(error),
            }
        })
    }

    fn ask_standby<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Hsm) -> Pending<Result<T, HsmError>>,
    ) -> Pending<Result<T, HsmError>> {
        match &self.standby {
            Standby::Here(standby) => ask(&**standby),
            Standby::Away(_, error) => Box::pin(std::future::ready(Err(error.clone()))),
        }
    }
}

impl Hsm for TokenPair {
    fn identity(&self) -> VerifyingKey {
        self.primary.identity()
    }

    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.primary.sign_identity(message)
    }

    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.primary.create_sealing_key(id)
    }

    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.primary.seal(id, aad, plaintext)
    }

    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.primary.open(id, aad, sealed)
    }

    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.primary.destroy_sealing_key(id)
    }

    fn create_signing_key(&self, id: ObjectId, scheme: HsmScheme) -> Pending<Result<PublicKey, HsmError>> {
        self.primary.create_signing_key(id, scheme)
    }

    fn sign(&self, id: ObjectId, scheme: HsmScheme, to_sign: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.primary.sign(id, scheme, to_sign)
    }

    fn create_kek(&self, id: KekId) -> Pending<Result<KekMade, HsmError>> {
        self.primary.create_kek(id)
    }

    fn replicate_kek(&self, id: KekId, transfer: Vec<u8>) -> Pending<Result<KeyCheckValue, HsmError>> {
        self.ask_standby(|standby| standby.replicate_kek(id, transfer))
    }

    fn generate_data_key(&self, bytes: usize, under: Seal) -> Pending<Result<DataKey, HsmError>> {
        self.either(move |hsm| hsm.generate_data_key(bytes, under.clone()))
    }

    fn wrap(&self, under: Seal, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        let copy = move || SecretBytes::new(plaintext.expose().to_vec());
        self.either(move |hsm| hsm.wrap(under.clone(), copy()))
    }

    fn unwrap(&self, under: Seal, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.either(move |hsm| hsm.unwrap(under.clone(), sealed.clone()))
    }

    fn rewrap(&self, from: Seal, sealed: Vec<u8>, to: Seal) -> Pending<Result<Vec<u8>, HsmError>> {
        self.either(move |hsm| hsm.rewrap(from.clone(), sealed.clone(), to.clone()))
    }

    fn destroy_kek(&self, id: KekId) -> Pending<Result<(), HsmError>> {
        self.both(move |hsm| hsm.destroy_kek(id))
    }

    fn status(&self) -> Pending<HsmStatus> {
        let (primary, standby) = (self.primary.status(), self.standby.clone());
        Box::pin(async move {
            let other = match standby {
                Standby::Here(standby) => Box::new(standby.status().await),
                Standby::Away(status, error) => Box::new(HsmStatus { fault: Some(error), ..*status }),
            };
            HsmStatus { standby: Some(other), ..primary.await }
        })
    }
}

/// Whether the token, and not what was asked of it, is why there is no answer, and nothing is under way. A caller whose
/// request was started has been kept waiting for a whole deadline already, and is told so.
fn does_not_work(error: &HsmError) -> bool {
    match error {
        HsmError::Down { .. } | HsmError::Device { .. } | HsmError::PinRefused | HsmError::Busy => true,
        HsmError::Deadline { started, .. } => !started,
        _ => false,
    }
}

/// What is known of a token that was never reached.
pub(crate) fn unreached(module: &Path, label: &str, serial: Option<&str>, isolation: Isolation) -> HsmStatus {
    HsmStatus {
        module: module.display().to_string(),
        model: String::new(),
        label: label.into(),
        serial: serial.unwrap_or_default().into(),
        hardware: String::new(),
        firmware: String::new(),
        cryptoki: String::new(),
        isolation,
        process: None,
        restarts: 0,
        capabilities: String::new(),
        sessions: 0,
        hung: 0,
        queued: 0,
        breaker: BreakerState::Open,
        pin: PinState::Good,
        fault: None,
        proven_ms_ago: None,
        latencies: Vec::new(),
        standby: None,
    }
}
