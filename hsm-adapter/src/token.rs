//! One token: its login, held by a keeper session, and the handles of its keys.

use crate::fault::device;
use crate::keys::Key;
use crate::module::Module;
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::HsmError;

/// A token, known for as long as the process runs, so that a refused PIN is remembered.
pub struct Token {
    pub module: &'static Module,
    pub slot: Slot,
    pub label: String,
    pub serial: String,
    pub model: String,
    keeper: Mutex<Keeper>,
    handles: Mutex<HashMap<Key, ObjectHandle>>,
}

/// The login. PKCS#11 has one for all sessions of a process, and ends it with the last session.
enum Keeper {
    /// Nobody needs the token.
    Out,
    /// Logged in for so many users.
    In { session: Session, users: u32 },
    /// The PIN was refused. Final: a token locks after a few tries.
    Refused,
}

/// One use of the login; dropping the last one logs out.
pub struct LoggedIn(&'static Token);

impl Drop for LoggedIn {
    fn drop(&mut self) {
        let mut keeper = self.0.keeper();
        if let Keeper::In { users, .. } = &mut *keeper {
            *users -= 1;
            if *users == 0 {
                *keeper = Keeper::Out;
                self.0.forget_handles();
            }
        }
    }
}

impl Token {
    pub fn new(module: &'static Module, slot: Slot, info: &TokenInfo) -> Self {
        Self {
            module,
            slot,
            label: info.label().into(),
            serial: info.serial_number().into(),
            model: format!("{} {}", info.manufacturer_id(), info.model()),
            keeper: Mutex::new(Keeper::Out),
            handles: Mutex::default(),
        }
    }

    /// Whether this is the token that `info` describes.
    pub fn is(&self, slot: Slot, info: &TokenInfo) -> bool {
        self.slot == slot && self.label == info.label() && self.serial == info.serial_number()
    }

    /// Logs in, or shares the login there is. A PIN is tried only while nobody is logged in.
    pub fn log_in(&'static self, pin: &SecretBytes) -> Result<LoggedIn, HsmError> {
        let mut keeper = self.keeper();
        match &mut *keeper {
            Keeper::Refused => return Err(HsmError::PinRefused),
            Keeper::In { users, .. } => *users += 1,
            Keeper::Out => {
                let session = self.open_session()?;
                try_pin(&session, pin).inspect_err(|e| latch(&mut keeper, e))?;
                *keeper = Keeper::In { session, users: 1 };
            }
        }
        Ok(LoggedIn(self))
    }

    /// After a session error: makes sure that the login stands, and forgets the handles, which may have changed.
    pub fn renew_login(&self, pin: &SecretBytes) -> Result<(), HsmError> {
        let mut keeper = self.keeper();
        self.forget_handles();
        let session = match &mut *keeper {
            Keeper::In { session, .. } => session,
            Keeper::Refused => return Err(HsmError::PinRefused),
            // Only a worker that hung and was left behind comes back to this.
            Keeper::Out => return Err(HsmError::Device { operation: "C_Login", code: "shut down".into() }),
        };
        let outcome = match session.get_session_info().map(|i| i.session_state()) {
            Ok(SessionState::RwUser) => Ok(()),
            Ok(_) => try_pin(session, pin),
            Err(_) => {
                let fresh = self.open_session()?;
                let outcome = try_pin(&fresh, pin);
                discard(std::mem::replace(session, fresh));
                outcome
            }
        };
        outcome.inspect_err(|e| latch(&mut keeper, e))
    }

    /// A new session of this process's login.
    pub fn open_session(&self) -> Result<Session, HsmError> {
        self.module.context.open_rw_session(self.slot).map_err(|e| device("C_OpenSession", &e))
    }

    /// The remembered handle of a key. To be used under the lock under which it was read.
    pub fn handle(&self, key: Key) -> Option<ObjectHandle> {
        self.handles().get(&key).copied()
    }

    /// Remembers a handle, or forgets it.
    pub fn remember(&self, key: Key, handle: Option<ObjectHandle>) {
        match handle {
            Some(handle) => self.handles().insert(key, handle),
            None => self.handles().remove(&key),
        };
    }

    fn forget_handles(&self) {
        self.handles().clear();
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<Key, ObjectHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of a session. One that the token no longer knows is not closed: its number may by now be another's.
pub fn discard(session: Session) {
    if session.get_session_info().is_err() {
        std::mem::forget(session);
    }
}

fn latch(keeper: &mut Keeper, e: &HsmError) {
    if *e == HsmError::PinRefused {
        tracing::error!("the token refused the PIN; it is not tried again");
        *keeper = Keeper::Refused;
    }
}

fn try_pin(session: &Session, pin: &SecretBytes) -> Result<(), HsmError> {
    let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    match session.login_with_raw(UserType::User, &pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked,
            _,
        )) => Err(HsmError::PinRefused),
        Err(e) => Err(device("C_Login", &e)),
    }
}
