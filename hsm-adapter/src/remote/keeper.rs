//! Keeps a process running: notices that it has ended, hangs or says nothing, ends it, and starts another after a while.

mod standing;

use super::child::Process;
use super::link::Link;
use super::{GRACE, RemoteConfig};
use crate::breaker::spread;
use crate::hsm::CONNECT_MAX;
use crate::wire::{Ask, Carried, Opening, Pulse};
pub use standing::Standing;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{HsmError, HsmStatus};

/// How often is looked whether a call is due: small against any deadline that makes sense for a token.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// How often the process is asked whether it lives.
const PULSE_EVERY: Duration = Duration::from_millis(500);

/// Longest that it may take to say so. It needs no token for this; a busy machine keeps no process waiting for so long.
const PULSE_MAX: Duration = Duration::from_secs(2);

/// First wait before another process is started; doubles with each one that does not last.
const WAIT_FIRST: Duration = Duration::from_millis(50);

/// Longest wait: what an operator who mends a module will put up with.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A process that has lived for so long does not count as one that does not last.
const LASTING: Duration = Duration::from_secs(30);

/// How the first process came up is told once.
const FIRST_ONLY: usize = 1;

/// What keeps one process running, and the process.
pub struct Keeper {
    standing: Arc<Standing>,
    thread: Option<JoinHandle<()>>,
}

/// A process that has connected to the token.
struct Running {
    process: Process,
    link: Arc<Link>,
    since: Instant,
}

/// Why a process is not used any more.
enum End {
    /// Nobody needs it.
    Dismissed,
    /// It has closed its socket, or has not kept to the protocol.
    Gone,
    /// It lives and is no good.
    Useless(&'static str),
}

/// Starts a process that does one thing and ends.
pub fn once<T: Carried>(config: &RemoteConfig, opening: Opening, time: Duration) -> Result<T, HsmError> {
    let (mut process, socket) = Process::start(config)?;
    let link = Link::over(socket)?;
    let answer = link.call("provisioning", time + GRACE, &config.hello(opening));
    match attend(&link, answer, || false) {
        Ok(done) => {
            link.say_farewell();
            process.wait(config.deadline);
            Ok(done)
        }
        Err(e) => Err(blamed(e, config, process, &link)),
    }
}

impl Keeper {
    /// Starts the first process, and the thread that looks after it and those after it.
    pub fn start(config: RemoteConfig) -> Result<(Self, VerifyingKey), HsmError> {
        let standing = Arc::new(Standing::new(&config));
        let (connected, first) = sync_channel(FIRST_ONLY);
        let kept = Arc::clone(&standing);
        let life = move || keep(&config, &kept, &connected);
        let mut keeper = Self { standing, thread: None };
        keeper.thread = Some(crate::pool::spawn("tally-hsmd-keeper", life)?);
        let died = |_| HsmError::Device { operation: "connecting", code: "its thread has died".into() };
        let identity = first.recv().map_err(died)??;
        Ok((keeper, identity))
    }

    /// The process that serves now.
    pub fn link(&self) -> Result<Arc<Link>, HsmError> {
        self.standing.link()
    }

    /// How it stands with the process.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.standing.dismiss();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the keeper of the PKCS#11 module's process had died");
        }
    }
}

/// The keeper's life. It starts every process itself: a process ends with the thread that started it.
fn keep(config: &RemoteConfig, standing: &Standing, connected: &SyncSender<Result<VerifyingKey, HsmError>>) {
    let (first, identity) = match start(config, standing, None) {
        Ok((running, identity)) => (running, identity),
        // Whoever wanted to connect is told; nobody may be there any more.
        Err(refused) => return drop(connected.send(Err(refused))),
    };
    standing.serve(&first.link, first.process.id());
    drop(connected.send(Ok(identity.clone())));
    let (mut running, mut short_lived) = (first, 0);
    loop {
        let lasted = running.since.elapsed() >= LASTING;
        let Some(why) = serve_out(config, standing, running) else { return };
        short_lived = if lasted { 0 } else { short_lived };
        running = loop {
            let wait = WAIT_FIRST.saturating_mul(1 << short_lived.min(16)).min(WAIT_MAX);
            if standing.rest(spread(wait, jitter())) {
                return;
            }
            short_lived += 1;
            standing.try_again();
            tracing::warn!(why, "starting the PKCS#11 module's process again");
            match start(config, standing, Some(&identity)) {
                Ok((another, _)) => break another,
                Err(HsmError::PinRefused) => return standing.refuse(),
                Err(e) => {
                    tracing::error!(error = %e, "the PKCS#11 module's process does not connect");
                    standing.fall(e.to_string());
                }
            }
        };
        standing.serve(&running.link, running.process.id());
        tracing::info!("the token is back");
    }
}

/// Looks after a process until it is to be replaced; says why. Nothing if it is not to be.
fn serve_out(config: &RemoteConfig, standing: &Standing, running: Running) -> Option<String> {
    let Running { mut process, link, .. } = running;
    let end = watch(&link, standing);
    if matches!(end, End::Dismissed) {
        link.say_farewell();
        // It answers what it has begun, and lets the token go.
        process.wait(config.deadline + GRACE);
        link.fail("shut down");
        return None;
    }
    // Before anybody is told: who asks again at once must not be given this process again.
    standing.fall("its process is being replaced".into());
    link.end();
    let why = match end {
        End::Useless(what) => {
            process.kill();
            format!("{what}; its process was killed")
        }
        End::Gone | End::Dismissed => format!("its process has ended ({})", process.end()),
    };
    tracing::error!(why, "the PKCS#11 module has failed");
    standing.fall(why.clone());
    link.fail(&why);
    if link.has_refused() {
        standing.refuse();
        return None;
    }
    Some(why)
}

/// Looks after a process that serves.
fn watch(link: &Arc<Link>, standing: &Standing) -> End {
    let mut pulse: Option<Pending<Result<Pulse, HsmError>>> = None;
    let mut next = Instant::now() + PULSE_EVERY;
    let mut looked = Instant::now();
    loop {
        if link.rest(WATCH_EVERY) {
            return End::Gone;
        }
        // This process was stopped itself, and has not heard what it was told meanwhile.
        if looked.elapsed() > PULSE_EVERY {
            (pulse, next) = (None, Instant::now() + PULSE_EVERY);
        }
        looked = Instant::now();
        link.expire(Instant::now());
        if standing.is_dismissed() {
            return End::Dismissed;
        }
        match pulse.as_mut().map(poll_once) {
            None if Instant::now() >= next => pulse = Some(link.call("a sign of life", PULSE_MAX, &Ask::Pulse)),
            Some(Poll::Ready(Ok(Pulse { stuck: false, .. }))) => {
                (pulse, next) = (None, Instant::now() + PULSE_EVERY);
            }
            Some(Poll::Ready(Ok(Pulse { stuck: true, .. }))) => {
                return End::Useless("its calls into the PKCS#11 module do not come back");
            }
            // It may be so full of work that it does not take this in: then it is not its time yet.
            Some(Poll::Ready(Err(HsmError::Busy))) => (pulse, next) = (None, Instant::now() + PULSE_EVERY),
            Some(Poll::Ready(Err(_))) => return End::Useless("it gives no sign of life"),
            None | Some(Poll::Pending) => {}
        }
    }
}

/// Starts a process and waits until it has connected: to the same token, if there was one before.
fn start(
    config: &RemoteConfig,
    standing: &Standing,
    expected: Option<&VerifyingKey>,
) -> Result<(Running, VerifyingKey), HsmError> {
    let (process, socket) = Process::start(config)?;
    let link = Link::over(socket)?;
    let dismissed = || standing.is_dismissed();
    let hello = link.call("connecting", CONNECT_MAX + GRACE, &config.hello(Opening::Serve(config.chosen(config.role))));
    let connected = attend(&link, hello, dismissed).and_then(|identity: VerifyingKey| {
        if expected.is_some_and(|expected| *expected != identity) {
            return Err(HsmError::Down { why: "the token has another identity key than before".into() });
        }
        let status: HsmStatus = attend(&link, link.call("a status", config.deadline + GRACE, &Ask::Status), dismissed)?;
        Ok((identity, status))
    });
    match connected {
        Ok((identity, status)) => {
            standing.note(&status);
            Ok((Running { process, link, since: Instant::now() }, identity))
        }
        Err(e) => Err(blamed(e, config, process, &link)),
    }
}

/// Ends a process that has not done what it was started for; if it had ended by itself, that is why.
pub fn blamed(e: HsmError, config: &RemoteConfig, mut process: Process, link: &Link) -> HsmError {
    match e {
        HsmError::Device { .. } | HsmError::Down { .. } if link.rest(Duration::ZERO) && !link.has_answered() => {
            let (module, how) = (config.module.display(), process.end());
            let why = format!(
                "the PKCS#11 module `{module}` did not initialise, or did not get as far as its token: its process has \
                 ended ({how}); check its configuration, and try it with `tally hsm doctor`"
            );
            HsmError::Down { why }
        }
        other => {
            process.kill();
            other
        }
    }
}

/// Waits for an answer, minding that it may never come.
pub fn attend<T>(
    link: &Link,
    mut answer: Pending<Result<T, HsmError>>,
    dismissed: impl Fn() -> bool,
) -> Result<T, HsmError> {
    loop {
        if link.rest(WATCH_EVERY) || dismissed() {
            link.fail("the process has ended");
        }
        link.expire(Instant::now());
        if let Poll::Ready(outcome) = poll_once(&mut answer) {
            return outcome;
        }
    }
}

fn poll_once<T>(pending: &mut Pending<T>) -> Poll<T> {
    pending.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// 0 to 1. Not a secret.
fn jitter() -> f64 {
    f64::from(RandomState::new().hash_one(Instant::now()) as u32) / f64::from(u32::MAX)
}
