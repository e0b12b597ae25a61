//! PKCS#11 modules: each loaded once in a process and never let go.

use crate::config::{Config, Mode, configuration};
use crate::fault::{Fault, code_name};
use crate::gate::{Gate, Inside};
use crate::home::Home;
use crate::spy;
use crate::token::Token;
use crate::turn::Turn;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::TokenInfo;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tally_domain::ports::hsm::HsmError;

static MODULES: Mutex<BTreeMap<PathBuf, &'static Module>> = Mutex::new(BTreeMap::new());

/// The module that is being loaded and initialized, so that whoever waits in vain can name it.
static STARTING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A loaded module.
pub struct Module {
    pub context: Pkcs11,
    pub path: PathBuf,
    pub gate: Gate,
    pub home: Home,
    /// The version of PKCS#11 that it says it speaks.
    pub cryptoki: String,
    /// How often it has been initialized. Sessions of an earlier start must not be touched: their numbers are given out again.
    starts: AtomicU64,
    /// Logins that depend on it.
    users: AtomicU32,
    tokens: Mutex<Vec<&'static Token>>,
}

impl Module {
    /// The module at `path`, loaded now or before. Lives as long as the process: unloading one that other threads may be
    /// inside crashes.
    pub fn load(path: &Path, mode: Mode) -> Result<&'static Self, HsmError> {
        let shown = path.display();
        let real = path.canonicalize().map_err(|e| configuration(format!("the PKCS#11 module `{shown}`: {e}")))?;
        // Before it is loaded: a library runs code of its own when it is.
        if mode == Mode::Production && (spy::is_named(path) || spy::is_named(&real) || spy::is_inside(&real)) {
            return Err(spy::refused(path));
        }
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = modules.get(&real) {
            let forked =
                || configuration(format!("`{shown}` was in use before this process was forked: use a new process"));
            return if known.home.is_here() { Ok(known) } else { Err(forked()) };
        }
        let _starting = Starting::begin(path);
        let context = Pkcs11::new(&real)
            .map_err(|e| configuration(format!("`{shown}` cannot be loaded as a PKCS#11 module: {e}")))?;
        initialize(&context).map_err(|e| not_ready(path, &e))?;
        let info = context.get_library_info().map_err(|e| not_ready(path, &e))?;
        if mode == Mode::Production && spy::says_so(info.manufacturer_id(), info.library_description()) {
            return Err(spy::refused(path));
        }
        let module: &'static Self = Box::leak(Box::new(Self {
            context,
            cryptoki: info.cryptoki_version().to_string(),
            path: real.clone(),
            gate: Gate::default(),
            home: Home::here(),
            starts: AtomicU64::new(1),
            users: AtomicU32::new(0),
            tokens: Mutex::default(),
        }));
        modules.insert(real, module);
        Ok(module)
    }

    /// Which start of the module this is.
    pub fn start(&self) -> u64 {
        self.starts.load(Ordering::SeqCst)
    }

    /// A login begins to depend on the module.
    pub fn settle(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    /// A login ends.
    pub fn leave(&self) {
        self.users.fetch_sub(1, Ordering::SeqCst);
    }

    /// Finalizes the module and initializes it again, for a token that it does not find by itself. Only for one who is
    /// alone: a module that is finalized under somebody's feet crashes. All sessions are gone afterwards. Whether it was done.
    pub fn restart(&self, token: &Token, inside: &Inside, turn: &Turn) -> Result<bool, Fault> {
        // Another token of this module may be well.
        let Some(_alone) = (self.users.load(Ordering::SeqCst) == 1).then(|| inside.alone(turn.due)).flatten() else {
            return Ok(false);
        };
        tracing::warn!(module = %self.path.display(), "starting the PKCS#11 module anew");
        self.starts.fetch_add(1, Ordering::SeqCst);
        match self.context.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(e) => return Err(e.into()),
        }
        initialize(&self.context)?;
        let mut slots = self.context.get_slots_with_token()?.into_iter();
        let slot = slots.find(|slot| self.context.get_token_info(*slot).is_ok_and(|info| token.is(&info)));
        token.moved_to(slot.ok_or_else(|| Fault::broken("C_GetSlotList", "no such token"))?);
        Ok(true)
    }

    /// The one token with the configured label and serial.
    pub fn token(&'static self, config: &Config, _inside: &Inside) -> Result<&'static Token, Fault> {
        let slots = self.context.get_slots_with_token()?;
        // One slot that does not answer must not hide the others.
        let seen = slots.into_iter().filter_map(|slot| Some((slot, self.context.get_token_info(slot).ok()?)));
        let seen: Vec<_> = seen.filter(|(_, info)| info.token_initialized()).collect();
        let is_wanted = |info: &TokenInfo| {
            let serial = config.token_serial.as_deref().is_none_or(|s| s == info.serial_number());
            serial && info.label() == config.token_label
        };
        let mut matching = seen.iter().filter(|(_, info)| is_wanted(info));
        let (slot, info) = match (matching.next(), matching.next()) {
            (Some((slot, info)), None) => (*slot, info),
            (first, _) => return Err(not_one(config, first.is_some(), seen.iter().map(|(_, info)| info)).into()),
        };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tokens.iter().find(|t| t.is(info)) {
            known.moved_to(slot);
            return Ok(known);
        }
        let token: &'static Token = Box::leak(Box::new(Token::new(self, slot, info)));
        tokens.push(token);
        Ok(token)
    }
}

/// While it lives, a module is starting.
struct Starting;

impl Starting {
    fn begin(path: &Path) -> Self {
        *STARTING.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
        Self
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        *STARTING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is wrong when a call that connects has not come back: the module that it is still starting, if it is.
pub fn not_initialised(operation: &'static str) -> HsmError {
    match &*STARTING.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(path) => configuration(format!(
            "the PKCS#11 module `{}` did not initialise: it does not come back from C_Initialize; check its \
             configuration, and whether what it talks to is there",
            path.display()
        )),
        None => HsmError::Deadline { operation, started: true },
    }
}

/// There is no token as it is configured, or there are `several`; what there is instead.
fn not_one<'a>(config: &Config, several: bool, seen: impl Iterator<Item = &'a TokenInfo>) -> HsmError {
    let (label, module) = (&config.token_label, config.module.display());
    let serial = config.token_serial.as_deref().map(|s| format!(" and serial `{s}`")).unwrap_or_default();
    let wanted = format!("label `{label}`{serial} at the module `{module}`");
    if several {
        let serials: Vec<_> = seen.filter(|i| i.label() == label).map(|i| format!("`{}`", i.serial_number())).collect();
        return configuration(format!(
            "more than one token has {wanted}: give the serial too, which is one of {}",
            serials.join(", ")
        ));
    }
    let others: Vec<_> = seen.map(|i| format!("`{}` (serial `{}`)", i.label(), i.serial_number())).collect();
    let others = if others.is_empty() { "no token that is initialized".into() } else { others.join(", ") };
    configuration(format!("there is no token with {wanted}; there is {others}"))
}

/// Without OS locking SoftHSM turns all its mutexes off and crashes under threads.
fn initialize(context: &Pkcs11) -> Result<(), Error> {
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

fn not_ready(path: &Path, e: &Error) -> HsmError {
    let shown = path.display();
    configuration(match e {
        Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _) => {
            format!("something else in this process already uses the PKCS#11 module `{shown}`")
        }
        Error::Pkcs11(rv, _) => format!(
            "the PKCS#11 module `{shown}` does not start ({}): check its configuration and the storage that is named in \
             it (SoftHSM: SOFTHSM2_CONF; Kryoptic: KRYOPTIC_CONF)",
            code_name(*rv)
        ),
        other => format!("the PKCS#11 module `{shown}` does not start: {other}"),
    })
}
