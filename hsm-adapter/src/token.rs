//! One token: its login, held by a keeper session, and the handles of its keys.

use crate::fault::{Class, Fault};
use crate::gate::Inside;
use crate::keys::Key;
use crate::module::Module;
use crate::turn::{Turn, wait};
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{HsmError, PinState};

/// How long the last user of a login waits in order to log out.
const LOG_OUT_MAX: Duration = Duration::from_secs(1);

/// A token, known for as long as the process runs, so that a refused PIN is remembered.
pub struct Token {
    pub module: &'static Module,
    pub label: String,
    pub serial: String,
    pub manufacturer: String,
    pub model: String,
    pub hardware: String,
    pub firmware: String,
    slot: Mutex<Slot>,
    keeper: Mutex<Keeper>,
    returned: Condvar,
    handles: Mutex<HashMap<Key, ObjectHandle>>,
}

/// A session and the start of the module that it belongs to. After another start its number is another's; so it is closed
/// by [`Opened::close`] and not by being dropped.
pub struct Opened {
    session: Session,
    start: u64,
}

/// The login. PKCS#11 has one for all sessions of a process, and ends it with the last session.
enum Keeper {
    /// Nobody needs the token.
    Out,
    /// Logged in for so many users.
    In { session: Opened, users: u32 },
    /// The PIN was refused. Final: a token locks after a few tries.
    Refused { users: u32 },
    /// In the hands of a thread that is calling the module: one that may not come back.
    Away,
}

/// The keeper in the hands of a thread. Goes back when dropped.
struct Taken {
    token: &'static Token,
    keeper: Keeper,
}

/// One use of the login; dropping the last one logs out.
pub struct LoggedIn(&'static Token);

impl Drop for LoggedIn {
    fn drop(&mut self) {
        // The login is the parent's.
        if !self.0.module.home.is_here() {
            return;
        }
        let turn = Turn::new("logging out", LOG_OUT_MAX);
        self.0.module.leave();
        let (Some(_inside), Some(mut taken)) = (self.0.module.gate.enter(turn.due), self.0.take_keeper(&turn)) else {
            tracing::warn!("the token stays logged in: a call into the module does not come back");
            return;
        };
        let (Keeper::In { users, .. } | Keeper::Refused { users }) = &mut taken.keeper else { return };
        *users = users.saturating_sub(1);
        if *users == 0 && matches!(taken.keeper, Keeper::In { .. }) {
            if let Keeper::In { session, .. } = std::mem::replace(&mut taken.keeper, Keeper::Out) {
                session.close(self.0.module);
            }
            self.0.forget_handles();
        }
    }
}

impl Opened {
    /// The session, if the module has not been started anew since.
    pub fn get(&self, module: &Module) -> Option<&Session> {
        (self.start == module.start()).then_some(&self.session)
    }

    /// Closes it. One that the module does not know is left alone: its number may by now be another's.
    pub fn close(self, module: &Module) {
        if self.get(module).is_some_and(|session| session.get_session_info().is_ok())
            && let Err(e) = self.session.close()
        {
            tracing::warn!(error = %e, "a session of the token stays open");
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.token.keeper() = std::mem::replace(&mut self.keeper, Keeper::Away);
        self.token.returned.notify_all();
    }
}

impl Token {
    /// What tells tokens apart.
    pub fn names(&self) -> [&str; 3] {
        [&self.label, &self.serial, &self.manufacturer]
    }

    pub fn new(module: &'static Module, slot: Slot, info: &TokenInfo) -> Self {
        Self {
            module,
            label: info.label().into(),
            serial: info.serial_number().into(),
            manufacturer: info.manufacturer_id().into(),
            model: info.model().into(),
            hardware: info.hardware_version().to_string(),
            firmware: info.firmware_version().to_string(),
            slot: Mutex::new(slot),
            keeper: Mutex::new(Keeper::Out),
            returned: Condvar::new(),
            handles: Mutex::default(),
        }
    }

    /// Whether this is the token that `info` describes.
    pub fn is(&self, info: &TokenInfo) -> bool {
        self.label == info.label() && self.serial == info.serial_number()
    }

    /// The slot that the token is in. It may be another after the module has been started anew.
    pub fn slot(&self) -> Slot {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where the token is now.
    pub fn moved_to(&self, slot: Slot) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = slot;
    }

    /// Logs in, or shares the login there is. A PIN is tried only while nobody is logged in.
    pub fn log_in(&'static self, pin: &SecretBytes, turn: &Turn, _inside: &Inside) -> Result<LoggedIn, Fault> {
        let mut taken = self.take_keeper(turn).ok_or_else(|| turn.late())?;
        match &mut taken.keeper {
            Keeper::Refused { .. } => return Err(HsmError::PinRefused.into()),
            Keeper::In { users, .. } => *users += 1,
            Keeper::Out | Keeper::Away => {
                let session = self.open_session()?;
                if let Err(fault) = try_pin(&session.session, pin) {
                    session.close(self.module);
                    latch(&mut taken.keeper, 0, &fault);
                    return Err(fault);
                }
                taken.keeper = Keeper::In { session, users: 1 };
            }
        }
        self.module.settle();
        Ok(LoggedIn(self))
    }

    /// After a session was lost: makes sure that the login stands, and forgets the handles, which may have changed.
    pub fn renew_login(&'static self, pin: &SecretBytes, turn: &Turn) -> Result<(), Fault> {
        let mut taken = self.take_keeper(turn).ok_or_else(|| turn.late())?;
        self.forget_handles();
        let (session, users) = match &mut taken.keeper {
            Keeper::In { session, users } => (session, *users),
            Keeper::Refused { .. } => return Err(HsmError::PinRefused.into()),
            // Only a worker that hung and was left behind comes back to this.
            Keeper::Out | Keeper::Away => return Err(Fault::broken("C_Login", "shut down")),
        };
        let state = session.get(self.module).map(|s| s.get_session_info().map(|i| i.session_state()));
        let outcome = match state {
            Some(Ok(SessionState::RwUser)) => Ok(()),
            Some(Ok(_)) => try_pin(&session.session, pin),
            Some(Err(_)) | None => {
                let fresh = self.open_session()?;
                let outcome = try_pin(&fresh.session, pin);
                std::mem::replace(session, fresh).close(self.module);
                outcome
            }
        };
        outcome.inspect_err(|e| latch(&mut taken.keeper, users, e))
    }

    /// A new session of this process's login.
    pub fn open_session(&self) -> Result<Opened, Fault> {
        let start = self.module.start();
        Ok(Opened { session: self.module.context.open_rw_session_no_drop(self.slot())?, start })
    }

    /// What the token says of the PIN, and how many sessions it allows.
    pub fn info(&self) -> Result<TokenInfo, Fault> {
        Ok(self.module.context.get_token_info(self.slot())?)
    }

    /// Whether the token has refused our PIN.
    pub fn has_refused(&self) -> bool {
        matches!(*self.keeper(), Keeper::Refused { .. })
    }

    /// What is known of the PIN from `info`, and from our own try.
    pub fn pin_state(&self, info: &TokenInfo) -> PinState {
        if info.user_pin_locked() {
            PinState::Locked
        } else if self.has_refused() {
            PinState::Refused
        } else if info.user_pin_final_try() {
            PinState::FinalTry
        } else if info.user_pin_count_low() {
            PinState::CountLow
        } else {
            PinState::Good
        }
    }

    /// The remembered handle of a key. To be used under the hold under which it was read.
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

    /// Takes the keeper, so that the module can be called without a lock. `None` if it is away until the turn is over.
    fn take_keeper(&'static self, turn: &Turn) -> Option<Taken> {
        let mut keeper = self.keeper();
        while matches!(*keeper, Keeper::Away) {
            keeper = wait(&self.returned, keeper, turn.due)?;
        }
        Some(Taken { token: self, keeper: std::mem::replace(&mut *keeper, Keeper::Away) })
    }
}

fn latch(keeper: &mut Keeper, users: u32, fault: &Fault) {
    if fault.class == Class::Auth {
        tracing::error!("the token refused the PIN; it is not tried again");
        *keeper = Keeper::Refused { users };
    }
}

fn try_pin(session: &Session, pin: &SecretBytes) -> Result<(), Fault> {
    let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    match session.login_with_raw(UserType::User, &pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
