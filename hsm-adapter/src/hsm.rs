//! The port on a PKCS#11 token.

mod vault;

use crate::config::Config;
use crate::desk::{Desk, Office, Try};
use crate::fault::{Class, Fault};
use crate::gate::DeskId;
use crate::health::{Check, Health, Operation};
use crate::home::Home;
use crate::iv::Ivs;
use crate::keys::{Key, inspect};
use crate::module::{Module, not_initialised};
use crate::pool::{Desks, Hands, Pool};
use crate::probe::capabilities;
use crate::seal;
use crate::token::LoggedIn;
use crate::turn::Turn;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    DataKey, Hsm, HsmError, HsmStatus, Isolation, KekId, KekMade, KeyCheckValue, ObjectId, PinState, Seal, SealingKeyId,
};
use tally_domain::{HsmScheme, PublicKey, SecretBytes};

/// Longest time to load a module, log in and look at the token. A network HSM takes seconds; what takes longer hangs.
pub const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Sessions beside those of the workers: the keeper's, and one to prove a new key on.
const SESSIONS_BESIDE: u64 = 2;

/// The desk that connects. Workers are counted from 1.
pub const FIRST_DESK: DeskId = DeskId(0);

/// A node's token, logged in, with its workers.
///
/// Fields drop in order: the workers' sessions close before the keeper's, which logs out.
pub struct Pkcs11Hsm {
    pool: Pool<Desk>,
    health: Arc<Health>,
    office: Arc<Office>,
    identity: VerifyingKey,
    home: Home,
    _login: LoggedIn,
}

/// Makes the identity key if the token has none; gives its public half. Blocks.
///
/// # Errors
/// [`HsmError`].
pub fn provision(config: Config) -> Result<VerifyingKey, HsmError> {
    within(CONNECT_MAX, "provisioning", move |turn| {
        let (office, login) = log_in(config, turn)?;
        let identity = Desk::new(FIRST_DESK, office).run(turn, |desk, _| {
            desk.ensure_identity()?;
            desk.identity()
        });
        drop(login);
        identity
    })
}

impl Pkcs11Hsm {
    /// Finds the token, logs in, refuses a token with keys that are not as they must be, and starts the workers. Blocks.
    ///
    /// A PIN that is refused is not tried again in this process, whoever asks. While this process is logged in to the
    /// token already, the PIN is not tried at all: PKCS#11 has one login for a process.
    ///
    /// # Errors
    /// [`HsmError`]; [`HsmError::KeyNotFound`] when the token has no identity key.
    pub fn connect(config: Config) -> Result<Self, HsmError> {
        within(CONNECT_MAX, "connecting", move |turn| Self::establish(config, turn))
    }

    fn establish(config: Config, turn: &Turn) -> Result<Self, Fault> {
        let (workers, deadline) = (config.workers, config.deadline);
        let (office, login) = log_in(config, turn)?;
        let mut desk = Desk::new(FIRST_DESK, Arc::clone(&office));
        let (identity, capabilities, pin) = desk.run(turn, |desk, _| {
            let identity = desk.identity()?;
            {
                let _changing = desk.changing()?;
                inspect(desk.session()?, desk.role())?;
                desk.must_be_paired()?;
            }
            Ok((identity, capabilities(desk)?, pin_state(desk)?))
        })?;
        drop(desk);
        let allowed = capabilities.probed.sessions_max.map(|max| max.saturating_sub(SESSIONS_BESIDE).max(1));
        let allowed = allowed.and_then(|n| u32::try_from(n).ok()).filter(|n| *n < workers);
        if let Some(allowed) = allowed {
            tracing::warn!(workers, allowed, "the token allows fewer sessions than workers are configured");
        }
        tracing::info!(token = office.token.label, capabilities = capabilities.summary(), "connected to the token");
        let identity = office.identity.get_or_init(|| identity).clone();
        office.capabilities.get_or_init(|| capabilities);
        let health = Arc::new(Health::new(pin));
        let hands = hands(&office, &health, deadline);
        let workers = usize::try_from(allowed.unwrap_or(workers)).unwrap_or(1);
        Ok(Self {
            pool: Pool::start(workers, deadline, hands)?,
            health,
            office,
            identity,
            home: Home::here(),
            _login: login,
        })
    }

    /// Answers what is queued, ends the workers and logs out; as dropping does. SoftHSM crashes when a process ends
    /// while workers are inside it.
    pub fn shutdown(self) {}

    /// Workers that a call into the module has not given back, and how many there should be.
    pub(crate) fn hung(&self) -> (usize, usize) {
        (self.pool.desks().hung(), self.pool.desks().workers())
    }

    pub(crate) fn office(&self) -> &Arc<Office> {
        &self.office
    }

    /// Asks the token, if it is not known to be down.
    fn ask<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl Fn(&Desk, Try) -> Result<T, Fault> + Send + 'static,
    ) -> Pending<Result<T, HsmError>> {
        if let Err(down) = self.home.check().and_then(|()| self.health.admit()) {
            return Box::pin(std::future::ready(Err(down)));
        }
        let health = Arc::clone(&self.health);
        let desks = self.pool.desks();
        let turn = Turn::new(operation.name(), operation.time(desks.deadline()));
        desks.submit(operation.priority(), turn, move |desk, turn| {
            let begun = Instant::now();
            let outcome = desk.run(turn, work);
            health.note(operation, begun.elapsed(), &outcome);
            outcome.map_err(|fault| fault.error)
        })
    }
}

impl Hsm for Pkcs11Hsm {
    fn identity(&self) -> VerifyingKey {
        self.identity.clone()
    }

    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        let identity = self.identity.clone();
        self.ask(Operation::Sign, move |desk, _| desk.sign(&identity, &message))
    }

    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::MakeKey, move |desk, attempt| desk.make(Key::Sealing(id), attempt))
    }

    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Seal, move |desk, _| seal::seal(desk, Key::Sealing(id), &aad, plaintext.expose()))
    }

    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.ask(Operation::Open, move |desk, _| seal::open(desk, Key::Sealing(id), &aad, &sealed))
    }

    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyKey, move |desk, attempt| desk.destroy(Key::Sealing(id), attempt))
    }

    fn create_signing_key(&self, id: ObjectId, scheme: HsmScheme) -> Pending<Result<PublicKey, HsmError>> {
        self.ask(Operation::MakePair, move |desk, _| desk.ensure_signing(id, scheme))
    }

    fn sign(&self, id: ObjectId, scheme: HsmScheme, to_sign: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Sign, move |desk, _| desk.sign_with(id, scheme, &to_sign))
    }

    fn create_kek(&self, id: KekId) -> Pending<Result<KekMade, HsmError>> {
        let transfer = OnceLock::new();
        self.ask(Operation::MakeKek, move |desk, attempt| desk.make_kek(id, attempt, &transfer))
    }

    fn replicate_kek(&self, id: KekId, transfer: Vec<u8>) -> Pending<Result<KeyCheckValue, HsmError>> {
        self.ask(Operation::TakeKek, move |desk, _| desk.take_kek(id, &transfer))
    }

    fn generate_data_key(&self, bytes: usize, under: Seal) -> Pending<Result<DataKey, HsmError>> {
        self.ask(Operation::MakeDataKey, move |desk, _| desk.make_data_key(bytes, &under))
    }

    fn wrap(&self, under: Seal, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Wrap, move |desk, _| desk.wrap(&under, &plaintext))
    }

    fn unwrap(&self, under: Seal, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.ask(Operation::Unwrap, move |desk, _| desk.unwrap(&under, &sealed))
    }

    fn rewrap(&self, from: Seal, sealed: Vec<u8>, to: Seal) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Rewrap, move |desk, _| desk.wrap(&to, &desk.unwrap(&from, &sealed)?))
    }

    fn destroy_kek(&self, id: KekId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyKek, move |desk, _| desk.destroy(Key::Kek(id), Try::Again))
    }

    fn status(&self) -> Pending<HsmStatus> {
        let tried = self.ask(Operation::Check, |desk, _| {
            desk.probe()?;
            pin_state(desk)
        });
        let (office, health, desks) =
            (Arc::clone(&self.office), Arc::clone(&self.health), Arc::clone(self.pool.desks()));
        Box::pin(async move {
            let tried = tried.await;
            if let Ok(pin) = &tried {
                health.checked(&Ok(*pin));
            }
            let (shown, token) = (health.show(), office.token);
            let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
            let since = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            HsmStatus {
                module: token.module.path.display().to_string(),
                model: format!("{} {}", token.manufacturer, token.model),
                label: token.label.clone(),
                serial: token.serial.clone(),
                hardware: token.hardware.clone(),
                firmware: token.firmware.clone(),
                cryptoki: token.module.cryptoki.clone(),
                isolation: Isolation::Thread,
                process: None,
                restarts: 0,
                capabilities: office.capabilities.get().map(|c| c.summary()).unwrap_or_default(),
                sessions: number(desks.live()),
                hung: number(desks.hung()),
                queued: number(desks.queued()),
                breaker: shown.breaker,
                pin: if token.has_refused() { PinState::Refused } else { shown.pin },
                fault: tried.err(),
                proven_ms_ago: shown.proven.map(since),
                latencies: shown.latencies,
                standby: None,
            }
        })
    }
}

/// What the pool calls.
fn hands(office: &Arc<Office>, health: &Arc<Health>, deadline: Duration) -> Hands<Desk> {
    let (opening, hanging) = (Arc::clone(office), Arc::clone(office));
    let (failing, checking) = (Arc::clone(health), Arc::clone(health));
    Hands {
        open: Box::new(move |id| Desk::new(id, Arc::clone(&opening))),
        hung: Box::new(move |id| {
            hanging.token.module.gate.abandon(id);
            failing.failed("a call into the PKCS#11 module does not come back".into());
        }),
        tick: Box::new(move |desks| {
            if let Some(check) = checking.due(deadline) {
                begin(desks, &checking, check);
            }
        }),
    }
}

/// Queues a check. If it never comes back, the next one is due in time.
fn begin(desks: &Arc<Desks<Desk>>, health: &Arc<Health>, check: Check) {
    let health = Arc::clone(health);
    let operation = Operation::Check;
    let turn = Turn::new(operation.name(), desks.deadline());
    drop(desks.submit(operation.priority(), turn, move |desk, turn| {
        let begun = Instant::now();
        let mut outcome = tried(desk, turn, check.anew);
        let broken = outcome.as_ref().is_err_and(|fault| fault.class == Class::Device);
        if check.restart && broken && desk.restart(turn).is_ok_and(|done| done) {
            outcome = tried(desk, turn, false);
        }
        health.note(operation, begun.elapsed(), &outcome);
        health.checked(&outcome);
        outcome.map_err(|fault| fault.error)
    }));
}

fn tried(desk: &mut Desk, turn: &Turn, anew: bool) -> Result<PinState, Fault> {
    if anew {
        desk.begin_anew(turn)?;
    }
    desk.run(turn, |desk, _| {
        desk.probe()?;
        pin_state(desk)
    })
}

fn pin_state(desk: &Desk) -> Result<PinState, Fault> {
    let token = desk.token();
    Ok(token.pin_state(&token.info()?))
}

/// Loads the module, finds the token and logs in.
pub fn log_in(config: Config, turn: &Turn) -> Result<(Arc<Office>, LoggedIn), Fault> {
    config.check()?;
    let module = Module::load(&config.module, config.mode)?;
    let inside = module.gate.enter(turn.due).ok_or_else(|| turn.late())?;
    let token = module.token(&config, &inside)?;
    let login = token.log_in(&config.pin, turn, &inside)?;
    let (pin, profile) = (config.pin, config.profile);
    let (identity, capabilities) = (OnceLock::new(), OnceLock::new());
    let (role, ivs) = (config.role, Ivs::default());
    let forgotten = AtomicU64::new(0);
    let office = Office { token, pin, profile, role, identity, capabilities, ivs, forgotten };
    Ok((Arc::new(office), login))
}

/// Does on a thread of its own what may hang, for so long.
pub fn within<T: Send + 'static>(
    time: Duration,
    operation: &'static str,
    work: impl FnOnce(&Turn) -> Result<T, Fault> + Send + 'static,
) -> Result<T, HsmError> {
    let (answer, answered) = sync_channel(1);
    let turn = Turn::new(operation, time);
    let failed = |code: String| HsmError::Device { operation, code };
    std::thread::Builder::new()
        .name("tally-hsm-connect".into())
        // Nobody may be waiting any more; what was made is then dropped, and logs out.
        .spawn(move || drop(answer.send(work(&turn))))
        .map_err(|e| failed(e.to_string()))?;
    match answered.recv_timeout(time) {
        Ok(outcome) => outcome.map_err(|fault| fault.error),
        Err(RecvTimeoutError::Timeout) => Err(not_initialised(operation)),
        Err(RecvTimeoutError::Disconnected) => Err(failed("its thread has died".into())),
    }
}
