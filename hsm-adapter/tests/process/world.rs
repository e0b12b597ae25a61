//! A SoftHSM token behind the faulting module, behind a process of its own.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::Hsm as _;
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Mode, PinSource, RemoteConfig, RemoteHsm, Role, provision_remote};
use tempfile::TempDir;

/// Longest that anything here takes on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// Many times what an operation takes.
const DEADLINE: Duration = Duration::from_millis(1_500);

pub struct World {
    pub dir: TempDir,
    pub token: SoftHsmToken,
    pub config: RemoteConfig,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = SoftHsmToken::create(dir.path(), "node-1").unwrap();
        let module = std::env::current_exe().unwrap().with_file_name(p11fault::FILE_NAME);
        assert!(module.exists(), "{} is missing: run `cargo build -p tally-p11fault`", module.display());
        let env = [
            (token.env.0, token.env.1.clone()),
            ("P11FAULT_MODULE", token.module.clone()),
            ("P11FAULT_FILE", dir.path().join("faults")),
            ("P11FAULT_LOG", dir.path().join("faulted")),
        ];
        let config = RemoteConfig {
            program: env!("CARGO_BIN_EXE_hsmd").into(),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            module,
            token_label: token.label.clone(),
            token_serial: Some(token.serial.clone()),
            pin: PinSource::File(token.pin_file.clone()),
            workers: 2,
            deadline: DEADLINE,
            role: Role::Only,
            mode: Mode::Production,
            profile: None,
            log_level: "info".into(),
            log_json: false,
        };
        let world = Self { dir, token, config };
        world.order("");
        world
    }

    pub fn connect(&self) -> RemoteHsm {
        RemoteHsm::connect(self.config.clone()).unwrap()
    }

    pub fn provisioned(&self) -> RemoteHsm {
        provision_remote(&self.config).unwrap();
        self.connect()
    }

    /// Orders faults in place of those before.
    pub fn order(&self, rules: &str) {
        let next = self.dir.path().join("faults.next");
        std::fs::write(&next, rules).unwrap();
        std::fs::rename(next, self.dir.path().join("faults")).unwrap();
    }

    /// How often a function was faulted.
    pub fn count(&self, function: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("faulted")).unwrap_or_default();
        log.lines().filter(|l| *l == function).count()
    }

    /// To the process that serves.
    pub fn signal(&self, hsm: &RemoteHsm, signal: Signal) {
        let process = wait(hsm.status()).process.unwrap();
        kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
    }

    pub fn write_pin(&self, pin: &str) {
        std::fs::write(&self.token.pin_file, format!("{pin}\n")).unwrap();
    }

    /// A program in place of `hsmd`.
    pub fn script(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer, for ever.
pub fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
