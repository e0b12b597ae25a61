//! What one worker works with: a session, and the way back to one when it is lost.

mod kek;
mod resident;
mod transfer;
mod vault;

pub use transfer::{Proof, Transport};
use vault::StrictKeys;

use crate::config::Role;
use crate::fault::{Class, Fault};
use crate::gate::{DeskId, Hold};
use crate::iv::{IV_BYTES, Ivs};
use crate::keys::{self, Key, generate, identity_public};
use crate::profile::{Capabilities, GcmIv, Profile};
use crate::seal;
use crate::token::{Opened, Token};
use crate::turn::Turn;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};
use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::HsmError;

/// Signed to learn whether the token has the identity key and works. No envelope begins like this.
const PROBE: &[u8] = b"tally/v1/identity-probe";

/// How often an operation is begun again on a new session. All sessions may be lost together, and again while they are
/// being opened.
const RETRIES_MAX: u32 = 2;

/// How long a desk waits for the gate in order to close its session.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Whether an operation runs for the first time, or again after its session was lost, with an unknown outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Try {
    First,
    Again,
}

/// What the desks of one token have in common.
pub struct Office {
    pub token: &'static Token,
    pub pin: SecretBytes,
    /// What the operator says of the token, in place of what we know of its kind.
    pub profile: Option<Profile>,
    /// Known once connected; from then on a token without it is not the one connected to.
    pub identity: OnceLock<VerifyingKey>,
    pub capabilities: OnceLock<Capabilities>,
    pub role: Role,
    pub ivs: Ivs,
    /// How often all data keys were to be forgotten.
    pub forgotten: AtomicU64,
}

/// One session and what is needed to replace it.
pub struct Desk {
    id: DeskId,
    office: Arc<Office>,
    turn: Turn,
    session: Option<Opened>,
    /// Data keys that this session has unwrapped.
    strict: RefCell<StrictKeys>,
}

impl Desk {
    /// A desk without a session; it opens one for its first operation.
    pub fn new(id: DeskId, office: Arc<Office>) -> Self {
        Self { id, office, turn: Turn::new("nothing", Duration::ZERO), session: None, strict: RefCell::default() }
    }

    /// Runs an operation, and again on a new session if the session, login or a handle was lost, while there is time.
    pub fn run<T>(&mut self, turn: &Turn, work: impl Fn(&Self, Try) -> Result<T, Fault>) -> Result<T, Fault> {
        self.turn = *turn;
        let _inside = self.office.token.module.gate.enter(turn.due).ok_or_else(|| turn.late())?;
        let (mut attempt, mut left) = (Try::First, RETRIES_MAX);
        loop {
            let (fault, asked) = match self.ready() {
                Err(fault) => (unusable(fault, left), attempt),
                Ok(()) => match work(self, attempt) {
                    Ok(done) => return Ok(done),
                    Err(fault) => (self.weigh(fault), Try::Again),
                },
            };
            let fault = outcome_of(fault, attempt);
            if matches!(fault.class, Class::Session | Class::Device | Class::Doubt | Class::Unknown) {
                self.lose_session();
            }
            let may = matches!(fault.class, Class::Session | Class::Doubt | Class::Unknown) && left > 0;
            if !may || Instant::now() >= turn.due {
                return Err(fault);
            }
            tracing::warn!(error = %fault.error, "the HSM session was lost; opening another");
            (attempt, left) = (asked, left - 1);
        }
    }

    /// Makes a key. One that is there already is an error, unless our own first try may have made it.
    pub fn make(&self, key: Key, attempt: Try) -> Result<(), Fault> {
        {
            let _changing = self.changing()?;
            match self.find(key)? {
                Some(_) if attempt == Try::First => return Err(HsmError::KeyExists { what: key.name() }.into()),
                Some(_) => {}
                None => {
                    self.must_be_ours(key)?;
                    self.in_time()?;
                    let made = generate(self.session()?, key, self.office.role);
                    // Only the reply may have been lost.
                    made.or_else(|fault| match self.find(key) {
                        Ok(Some(_)) => Ok(()),
                        Ok(None) | Err(_) => Err(fault),
                    })?;
                }
            }
        }
        self.prove(key)
    }

    /// Makes the identity key if there is none.
    pub fn ensure_identity(&self) -> Result<(), Fault> {
        self.make(Key::Identity, Try::Again)
    }

    /// Destroys a key. One that is not there is an error, unless our own first try may have destroyed it.
    pub fn destroy(&self, key: Key, attempt: Try) -> Result<(), Fault> {
        let _changing = self.changing()?;
        self.office.token.remember(key, None);
        let found = self.find(key)?;
        self.in_time()?;
        match found {
            Some(handle) => self.session()?.destroy_object(handle).map_err(Fault::from).or_else(|fault| {
                // Only the reply may have been lost.
                match self.find(key) {
                    Ok(None) if is_not_found(&self.absent(key)) => Ok(()),
                    _ => Err(fault),
                }
            }),
            None => match self.absent(key) {
                not_found if is_not_found(&not_found) && attempt == Try::Again => Ok(()),
                other => Err(other),
            },
        }
    }

    /// Uses a key. Its handle is read and used under one hold: a handle may come to mean another key once its own is
    /// destroyed.
    pub fn with_key<T>(&self, key: Key, work: impl Fn(&Session, ObjectHandle) -> Result<T, Fault>) -> Result<T, Fault> {
        {
            let _using = self.using()?;
            if let Some(handle) = self.office.token.handle(key) {
                return work(self.session()?, handle);
            }
        }
        {
            let _changing = self.changing()?;
            let found = self.find(key)?.ok_or_else(|| self.absent(key))?;
            self.office.token.remember(key, Some(found));
        }
        let _using = self.using()?;
        // Gone again already: destroyed, or forgotten with a lost session. The second try tells which; until then nobody
        // may say that the token does not have it.
        let gone = || Fault::session("C_FindObjects", "CKR_OBJECT_HANDLE_INVALID");
        work(self.session()?, self.office.token.handle(key).ok_or_else(gone)?)
    }

    /// The handle of a key, if the token has it and it is as it must be. Called under the hold for changing objects.
    pub fn find(&self, key: Key) -> Result<Option<ObjectHandle>, Fault> {
        keys::find(self.session()?, key, self.office.role)
    }

    /// The public half of the identity key, after it has checked a signature of the private half.
    pub fn identity(&self) -> Result<VerifyingKey, Fault> {
        let public = {
            let _changing = self.changing()?;
            if self.find(Key::Identity)?.is_none() {
                return Err(self.absent(Key::Identity));
            }
            identity_public(self.session()?)?.0
        };
        self.sign(&public, PROBE).map(|_| public)
    }

    /// Whether the token signs with the identity key here and now (the canary): a token that was re-initialised keeps its
    /// label and serial number.
    pub fn probe(&self) -> Result<(), Fault> {
        match self.office.identity.get() {
            Some(identity) => self.sign(identity, PROBE).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Signs with the identity key. A signature that does not verify is not given out.
    pub fn sign(&self, identity: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self.with_key(Key::Identity, |session, key| Ok(session.sign(&mechanism, key, message)?))?;
        match identity.verify(message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(Fault::broken("C_Sign", "a signature that does not verify")),
        }
    }

    /// Who makes the IV of AES-GCM at this token.
    pub fn gcm_iv(&self) -> GcmIv {
        self.office.capabilities.get().map_or(GcmIv::Caller, |c| c.probed.gcm_iv)
    }

    /// The operator's profile, or that of the token's kind.
    pub fn profile(&self) -> Result<Profile, HsmError> {
        match &self.office.profile {
            Some(given) => Ok(given.clone()),
            None => Profile::of(&self.office.token.manufacturer, &self.office.token.model),
        }
    }

    /// What the token is to its node.
    pub fn role(&self) -> Role {
        self.office.role
    }

    /// An IV that has not been used before.
    pub fn fresh_iv(&self, session: &Session) -> Result<[u8; IV_BYTES], Fault> {
        self.office.ivs.next(|random| Ok(session.generate_random_slice(random.as_flattened_mut())?))
    }

    /// The token.
    pub fn token(&self) -> &'static Token {
        self.office.token
    }

    /// The session that the operation runs on.
    pub fn session(&self) -> Result<&Session, Fault> {
        let session = self.session.as_ref().and_then(|s| s.get(self.office.token.module));
        session.ok_or_else(|| Fault::session("C_OpenSession", "no session"))
    }

    /// Gives up the session, so that the next operation begins with a new one.
    pub fn begin_anew(&mut self, turn: &Turn) -> Result<(), Fault> {
        let _inside = self.office.token.module.gate.enter(turn.due).ok_or_else(|| turn.late())?;
        self.lose_session();
        Ok(())
    }

    /// Starts the module anew, if that is a way back to this kind of token and nobody else is inside. Whether it was done.
    pub fn restart(&mut self, turn: &Turn) -> Result<bool, Fault> {
        if !self.office.capabilities.get().is_some_and(|c| c.profile.restart) {
            return Ok(false);
        }
        self.turn = *turn;
        let module = self.office.token.module;
        let inside = module.gate.enter(turn.due).ok_or_else(|| turn.late())?;
        self.lose_session();
        module.restart(self.office.token, &inside, turn)
    }

    /// Held while objects are found, made or destroyed.
    pub fn changing(&self) -> Result<Hold, Fault> {
        self.office.token.module.gate.changing(self.id, self.turn.due).ok_or_else(|| self.turn.late())
    }

    fn using(&self) -> Result<Hold, Fault> {
        self.office.token.module.gate.using(self.id, self.turn.due).ok_or_else(|| self.turn.late())
    }

    /// Whose caller has been told that the outcome is unknown changes nothing on the token any more.
    fn in_time(&self) -> Result<(), Fault> {
        if Instant::now() < self.turn.due { Ok(()) } else { Err(self.turn.late()) }
    }

    /// Makes sure of a session on a token that signs.
    fn ready(&mut self) -> Result<(), Fault> {
        if self.session().is_ok() {
            return Ok(());
        }
        self.office.token.renew_login(&self.office.pin, &self.turn)?;
        self.session = Some(self.office.token.open_session()?);
        self.probe().inspect_err(|_| self.lose_session())
    }

    fn lose_session(&mut self) {
        // They end with the session that has unwrapped them.
        self.strict.take();
        if let Some(session) = self.session.take() {
            session.close(self.office.token.module);
        }
    }

    /// Decides what an unclear error is: if the token cannot even sign on a new session, it is the token.
    fn weigh(&mut self, fault: Fault) -> Fault {
        if !matches!(fault.class, Class::Doubt | Class::Unknown) {
            return fault;
        }
        self.lose_session();
        match self.ready() {
            Ok(()) => fault,
            Err(worse) if worse.class == Class::Auth => worse,
            Err(_) => Fault { class: Class::Device, ..fault },
        }
    }

    /// Seals and opens with a new key on a session of its own, before anything depends on the key.
    fn prove(&self, key: Key) -> Result<(), Fault> {
        let fresh = self.office.token.open_session()?;
        let proven = fresh.get(self.office.token.module).ok_or_else(|| Fault::session("C_OpenSession", "no session"));
        let proven = proven.and_then(|session| {
            let _changing = self.changing()?;
            let found = keys::find(session, key, self.office.role)?
                .ok_or_else(|| Fault::broken("C_GenerateKey", "a key that is not found"))?;
            match key {
                Key::Sealing(_) | Key::Kek(_) if !seal::probe(self, session, found, key)? => {
                    Err(Fault::broken("C_GenerateKey", "a key that does not open what it sealed"))
                }
                // A pair of keys is proven by what its public half says of a signature.
                Key::Vault(which) => self.prove_vault(session, which, found),
                Key::Sealing(_) | Key::Kek(_) | Key::Transfer | Key::Signing(..) | Key::Identity => Ok(()),
            }
        });
        fresh.close(self.office.token.module);
        proven
    }

    /// Refuses to make a key on a token that is not ours any more: it would be made, and lost.
    fn must_be_ours(&self, key: Key) -> Result<(), Fault> {
        self.must_be_logged_in()?;
        if key != Key::Identity && self.find(Key::Identity)?.is_none() {
            return Err(empty());
        }
        Ok(())
    }

    /// Whether a key that was not found is really not there. Called under the hold for changing objects.
    fn absent(&self, key: Key) -> Fault {
        let identity = self.must_be_logged_in().and_then(|()| self.find(Key::Identity));
        match identity {
            Err(e) => e,
            Ok(None) if key != Key::Identity || self.office.identity.get().is_some() => empty(),
            Ok(_) => HsmError::KeyNotFound { what: key.name() }.into(),
        }
    }

    /// A logged-out session finds nothing and says nothing.
    fn must_be_logged_in(&self) -> Result<(), Fault> {
        match self.session()?.get_session_info()?.session_state() {
            SessionState::RwUser => Ok(()),
            _ => Err(Fault::session("C_FindObjects", "CKR_USER_NOT_LOGGED_IN")),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Whoever does not get in leaves the session to the module: it hangs, or is being started anew.
        let inside = self.office.token.module.gate.enter(Instant::now() + CLOSE_MAX);
        if inside.is_some() {
            self.lose_session();
        }
    }
}

fn is_not_found(fault: &Fault) -> bool {
    matches!(fault.error, HsmError::KeyNotFound { .. })
}

fn empty() -> Fault {
    Fault::broken("C_FindObjects", "an empty token")
}

/// A token that does not give a session that signs, time and again, is broken whatever it says.
fn unusable(fault: Fault, left: u32) -> Fault {
    match fault.class {
        Class::Session | Class::Doubt | Class::Unknown if left == 0 => Fault { class: Class::Device, ..fault },
        _ => fault,
    }
}

/// Running out of time on the second try is not the same as never having begun.
fn outcome_of(mut fault: Fault, attempt: Try) -> Fault {
    if let HsmError::Deadline { started, .. } = &mut fault.error {
        *started |= attempt == Try::Again;
    }
    fault
}
