//! What one worker works with: a session, and the way back to one when it is lost.

use crate::fault::{Fault, fault};
use crate::keys::{Key, find, generate, identity_public};
use crate::token::{Token, discard};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};
use std::sync::Arc;
use tally_domain::SecretBytes;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::HsmError;

/// Signed to learn whether the token has the identity key and works. No envelope begins like this.
const PROBE: &[u8] = b"tally/v1/identity-probe";

/// Whether an operation runs for the first time, or again after its session was lost, with an unknown outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Try {
    First,
    Again,
}

/// One session and what is needed to replace it.
pub struct Desk {
    token: &'static Token,
    pin: Arc<SecretBytes>,
    session: Session,
}

impl Desk {
    /// Opens a session. The login must stand.
    pub fn open(token: &'static Token, pin: Arc<SecretBytes>) -> Result<Self, HsmError> {
        Ok(Self { token, pin, session: token.open_session()? })
    }

    /// Runs an operation, and once more on a new session if the session, login or a handle was lost.
    pub fn run<T>(&mut self, work: impl Fn(&Self, Try) -> Result<T, Fault>) -> Result<T, HsmError> {
        match work(self, Try::First) {
            Err(Fault::Session(e)) => {
                tracing::warn!(error = %e, "the HSM session was lost; opening another");
                self.token.renew_login(&self.pin)?;
                discard(std::mem::replace(&mut self.session, self.token.open_session()?));
                work(self, Try::Again).map_err(HsmError::from)
            }
            other => other.map_err(HsmError::from),
        }
    }

    /// Makes a key. One that is there already is an error, unless our own first try may have made it.
    pub fn make(&self, key: Key, attempt: Try) -> Result<(), Fault> {
        let _changing = self.token.module.changing_objects();
        match find(&self.session, key)? {
            Some(_) if attempt == Try::First => Err(HsmError::KeyExists { what: key.name() }.into()),
            Some(_) => Ok(()),
            None => {
                self.must_be_logged_in()?;
                generate(&self.session, key).map(|handle| self.token.remember(key, Some(handle)))
            }
        }
    }

    /// Makes the identity key if there is none.
    pub fn ensure_identity(&self) -> Result<(), Fault> {
        self.make(Key::Identity, Try::Again)
    }

    /// Destroys a key. One that is not there is an error, unless our own first try may have destroyed it.
    pub fn destroy(&self, key: Key, attempt: Try) -> Result<(), Fault> {
        let _changing = self.token.module.changing_objects();
        match find(&self.session, key)? {
            Some(handle) => {
                self.token.remember(key, None);
                self.session.destroy_object(handle).map_err(|e| fault("C_DestroyObject", &e))
            }
            None => match self.absent(key) {
                Fault::Final(HsmError::KeyNotFound { .. }) if attempt == Try::Again => Ok(()),
                other => Err(other),
            },
        }
    }

    /// Uses a key. Its handle is read and used under one lock: a handle may come to mean another key once its own is destroyed.
    pub fn with_key<T>(&self, key: Key, work: impl Fn(&Session, ObjectHandle) -> Result<T, Fault>) -> Result<T, Fault> {
        {
            let _using = self.token.module.using_objects();
            if let Some(handle) = self.token.handle(key) {
                return work(&self.session, handle);
            }
        }
        {
            let _changing = self.token.module.changing_objects();
            let found = find(&self.session, key)?.ok_or_else(|| self.absent(key))?;
            self.token.remember(key, Some(found));
        }
        let _using = self.token.module.using_objects();
        // Gone again already: destroyed, or forgotten with a lost session. The second try tells which.
        let gone = || Fault::Session(HsmError::KeyNotFound { what: key.name() });
        work(&self.session, self.token.handle(key).ok_or_else(gone)?)
    }

    /// The public half of the identity key, after it has checked a signature of the private half.
    pub fn identity(&self) -> Result<VerifyingKey, Fault> {
        let public = {
            let _changing = self.token.module.changing_objects();
            if find(&self.session, Key::Identity)?.is_none() {
                return Err(self.absent(Key::Identity));
            }
            identity_public(&self.session)?
        };
        self.probe(&public).map(|()| public)
    }

    /// Whether the token signs with the identity key here and now.
    pub fn probe(&self, identity: &VerifyingKey) -> Result<(), Fault> {
        self.sign(identity, PROBE).map(|_| ())
    }

    /// Signs with the identity key. A signature that does not verify is not given out.
    pub fn sign(&self, identity: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self.with_key(Key::Identity, |session, key| {
            session.sign(&mechanism, key, message).map_err(|e| fault("C_Sign", &e))
        })?;
        let code = || "a signature that does not verify".into();
        match identity.verify(message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(HsmError::Device { operation: "C_Sign", code: code() }.into()),
        }
    }

    /// Whether a key that was not found is really not there. Called under the lock for changing objects.
    fn absent(&self, key: Key) -> Fault {
        let gone = || HsmError::Device { operation: "C_FindObjects", code: "an empty token".into() };
        let identity = self.must_be_logged_in().and_then(|()| find(&self.session, Key::Identity));
        match identity {
            Err(e) => e,
            Ok(None) if key != Key::Identity => gone().into(),
            Ok(_) => HsmError::KeyNotFound { what: key.name() }.into(),
        }
    }

    /// A logged-out session finds nothing and says nothing.
    fn must_be_logged_in(&self) -> Result<(), Fault> {
        let info = self.session.get_session_info().map_err(|e| fault("C_GetSessionInfo", &e))?;
        match info.session_state() {
            SessionState::RwUser => Ok(()),
            _ => {
                let code = "CKR_USER_NOT_LOGGED_IN".into();
                Err(Fault::Session(HsmError::Device { operation: "C_FindObjects", code }))
            }
        }
    }
}
