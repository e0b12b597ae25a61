//! PKCS#11 modules: each loaded and initialized once in a process, and never let go.

use crate::config::{Config, configuration};
use crate::fault::{code_name, device};
use crate::token::Token;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tally_domain::ports::hsm::HsmError;

static MODULES: Mutex<BTreeMap<PathBuf, &'static Module>> = Mutex::new(BTreeMap::new());

/// A loaded module.
pub struct Module {
    pub context: Pkcs11,
    pub path: PathBuf,
    objects: RwLock<()>,
    tokens: Mutex<Vec<&'static Token>>,
}

impl Module {
    /// The module at `path`, loaded now or before. Lives as long as the process: unloading one that other threads may be
    /// inside crashes.
    pub fn load(path: &Path) -> Result<&'static Self, HsmError> {
        let shown = path.display();
        let real = path.canonicalize().map_err(|e| configuration(format!("the PKCS#11 module `{shown}`: {e}")))?;
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = modules.get(&real) {
            return Ok(known);
        }
        let context = Pkcs11::new(&real)
            .map_err(|e| configuration(format!("`{shown}` cannot be loaded as a PKCS#11 module: {e}")))?;
        // Without OS locking SoftHSM turns all its mutexes off and crashes under threads.
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(|e| not_ready(path, &e))?;
        let module = Self { context, path: real.clone(), objects: RwLock::new(()), tokens: Mutex::default() };
        let module: &'static Self = Box::leak(Box::new(module));
        modules.insert(real, module);
        Ok(module)
    }

    /// The one token with the configured label and serial.
    pub fn token(&'static self, config: &Config) -> Result<&'static Token, HsmError> {
        let slots = self.context.get_slots_with_token().map_err(|e| device("C_GetSlotList", &e))?;
        // One slot that does not answer must not hide the others.
        let mut matching = slots.into_iter().filter_map(|slot| {
            let info = self.context.get_token_info(slot).ok()?;
            let serial = config.token_serial.as_deref().is_none_or(|s| s == info.serial_number());
            (info.token_initialized() && info.label() == config.token_label && serial).then_some((slot, info))
        });
        let wanted = || {
            let serial = config.token_serial.as_deref().map(|s| format!(" and serial `{s}`")).unwrap_or_default();
            format!("label `{}`{serial} at the module `{}`", config.token_label, config.module.display())
        };
        let Some((slot, info)) = matching.next() else {
            return Err(configuration(format!("there is no token with {}", wanted())));
        };
        if matching.next().is_some() {
            return Err(configuration(format!("more than one token has {}: give the serial too", wanted())));
        }
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tokens.iter().find(|t| t.is(slot, &info)) {
            return Ok(known);
        }
        let token: &'static Token = Box::leak(Box::new(Token::new(self, slot, &info)));
        tokens.push(token);
        Ok(token)
    }

    /// Held while keys are used.
    pub fn using_objects(&self) -> RwLockReadGuard<'_, ()> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while objects are found, made or destroyed (SoftHSM issue 573).
    pub fn changing_objects(&self) -> RwLockWriteGuard<'_, ()> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_ready(path: &Path, e: &Error) -> HsmError {
    let shown = path.display();
    configuration(match e {
        Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _) => {
            format!("something else in this process already uses the PKCS#11 module `{shown}`")
        }
        Error::Pkcs11(rv, _) => format!(
            "the PKCS#11 module `{shown}` does not start ({}): check its configuration (SoftHSM: SOFTHSM2_CONF and the \
             token directory in it)",
            code_name(*rv)
        ),
        other => format!("the PKCS#11 module `{shown}` does not start: {other}"),
    })
}
