//! The port on a PKCS#11 token.

use crate::config::Config;
use crate::desk::{Desk, Try};
use crate::keys::Key;
use crate::module::Module;
use crate::pool::Pool;
use crate::seal;
use crate::token::{LoggedIn, Token};
use std::sync::Arc;
use tally_domain::SecretBytes;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, HsmError, HsmStatus, SealingKeyId};

/// A node's token, logged in, with its workers.
///
/// Fields drop in order: the workers' sessions close before the keeper's, which logs out.
pub struct Pkcs11Hsm {
    pool: Pool<Desk>,
    identity: VerifyingKey,
    token: &'static Token,
    _login: LoggedIn,
}

/// Makes the identity key if the token has none; gives its public half. Blocks.
///
/// # Errors
/// [`HsmError`].
pub fn provision(config: Config) -> Result<VerifyingKey, HsmError> {
    let (token, login, pin) = log_in(config)?;
    let identity = Desk::open(token, pin)?.run(|desk, _| desk.ensure_identity().and_then(|()| desk.identity()));
    drop(login);
    identity
}

impl Pkcs11Hsm {
    /// Finds the token, logs in and starts the workers. Blocks; there is no deadline here.
    ///
    /// A PIN that is refused is not tried again in this process, whoever asks. While this process is logged in to the
    /// token already, the PIN is not tried at all: PKCS#11 has one login for a process.
    ///
    /// # Errors
    /// [`HsmError`]; [`HsmError::KeyNotFound`] when the token has no identity key.
    pub fn connect(config: Config) -> Result<Self, HsmError> {
        let (workers, deadline) = (config.workers, config.deadline);
        let (token, login, pin) = log_in(config)?;
        let mut desks = (0..workers).map(|_| Desk::open(token, Arc::clone(&pin))).collect::<Result<Vec<_>, _>>()?;
        let first = desks.first_mut().ok_or(HsmError::Busy)?;
        let identity = first.run(|desk, _| desk.identity())?;
        Ok(Self { pool: Pool::start(desks, deadline)?, identity, token, _login: login })
    }

    /// Answers what is queued, ends the workers and logs out; as dropping does. SoftHSM crashes when a process ends
    /// while workers are inside it.
    pub fn shutdown(self) {}
}

fn log_in(config: Config) -> Result<(&'static Token, LoggedIn, Arc<SecretBytes>), HsmError> {
    config.check()?;
    let token = Module::load(&config.module)?.token(&config)?;
    let login = token.log_in(&config.pin)?;
    Ok((token, login, Arc::new(config.pin)))
}

impl Hsm for Pkcs11Hsm {
    fn identity(&self) -> VerifyingKey {
        self.identity.clone()
    }

    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        let identity = self.identity.clone();
        self.pool.submit("signing", move |desk| desk.run(|desk, _| desk.sign(&identity, &message)))
    }

    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        let key = Key::Sealing(id);
        self.pool.submit("making a key", move |desk| desk.run(|desk, attempt| desk.make(key, attempt)))
    }

    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        let key = Key::Sealing(id);
        self.pool.submit("sealing", move |desk| {
            desk.run(|desk, _| desk.with_key(key, |s, handle| seal::seal(s, handle, &aad, plaintext.expose())))
        })
    }

    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        let key = Key::Sealing(id);
        self.pool.submit("opening", move |desk| {
            desk.run(|desk, _| desk.with_key(key, |s, handle| seal::open(s, handle, &aad, &sealed)))
        })
    }

    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        let key = Key::Sealing(id);
        self.pool.submit("destroying a key", move |desk| desk.run(|desk, attempt: Try| desk.destroy(key, attempt)))
    }

    fn status(&self) -> Pending<Result<HsmStatus, HsmError>> {
        let (identity, token) = (self.identity.clone(), self.token);
        let sessions = u32::try_from(self.pool.alive()).unwrap_or(u32::MAX);
        self.pool.submit("a health check", move |desk| {
            desk.run(|desk, _| desk.probe(&identity))?;
            Ok(HsmStatus {
                module: token.module.path.display().to_string(),
                model: token.model.clone(),
                label: token.label.clone(),
                serial: token.serial.clone(),
                sessions,
            })
        })
    }
}
