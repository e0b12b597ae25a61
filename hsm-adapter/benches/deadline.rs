//! How late a call into a module that hangs comes back to its caller, beyond the operation's deadline: with worker threads, and
//! with a process.
//!
//! `cargo bench -p tally-hsm-adapter --bench deadline`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a measuring program, run by hand")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, HsmError};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Config, Mode, PinSource, Pkcs11Hsm, RemoteConfig, RemoteHsm, Role, provision};

/// Set in the process that measures, which SoftHSM finds its configuration in.
const DIR: &str = "TALLY_BENCH_DIR";
const SERIAL: &str = "TALLY_BENCH_SERIAL";

const DEADLINE: Duration = Duration::from_millis(200);
const WORKERS: u32 = 4;

/// Hung calls at one time: fewer than the adapter takes for the end of the token.
const AT_ONCE: usize = 3;
const ROUNDS: usize = 20;

fn main() {
    let Some(dir) = std::env::var_os(DIR) else {
        let dir = tempfile::tempdir().unwrap();
        let token = SoftHsmToken::create(dir.path(), "bench").unwrap();
        order(dir.path(), "");
        let measured = Command::new(std::env::current_exe().unwrap())
            .env(DIR, dir.path())
            .env(SERIAL, &token.serial)
            .env(token.env.0, &token.env.1)
            .env("P11FAULT_MODULE", &token.module)
            .env("P11FAULT_FILE", dir.path().join("faults"))
            .status();
        assert!(measured.unwrap().success());
        return;
    };
    let dir = PathBuf::from(dir);
    provision(config(&dir)).unwrap();
    println!("deadline {} ms, {} hung calls; milliseconds beyond it", DEADLINE.as_millis(), AT_ONCE * ROUNDS);
    println!("| module in | p50 | p99 | most |");
    println!("|---|---:|---:|---:|");
    let process = RemoteHsm::connect(remote(&dir)).unwrap();
    show("a process", &dir, &process);
    drop(process);
    let thread = Pkcs11Hsm::connect(config(&dir)).unwrap();
    show("worker threads", &dir, &thread);
    // SoftHSM crashes when a process ends while a call is inside.
    wait_until_well(&thread);
    thread.shutdown();
}

fn show(name: &str, dir: &Path, hsm: &dyn Hsm) {
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        wait_until_well(hsm);
        order(dir, "C_Sign hang");
        let begun = Instant::now();
        let calls: Vec<_> = (0..AT_ONCE).map(|_| hsm.sign_identity(vec![7; 32])).collect();
        for call in calls {
            assert!(matches!(wait(call), Err(HsmError::Deadline { .. })));
            late.push(begun.elapsed().saturating_sub(DEADLINE));
        }
        order(dir, "");
    }
    late.sort_unstable();
    let at = |percent: usize| late.get((late.len() - 1) * percent / 100).unwrap().as_micros() as f64 / 1_000.0;
    println!("| {name} | {:.1} | {:.1} | {:.1} |", at(50), at(99), at(100));
}

fn wait_until_well(hsm: &dyn Hsm) {
    while wait(hsm.sign_identity(vec![7; 32])).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn order(dir: &Path, rules: &str) {
    std::fs::write(dir.join("faults.next"), rules).unwrap();
    std::fs::rename(dir.join("faults.next"), dir.join("faults")).unwrap();
}

fn module() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(p11fault::FILE_NAME)
}

fn config(dir: &Path) -> Config {
    let serial = std::env::var(SERIAL).unwrap();
    let (label, env) = ("bench".to_owned(), ("SOFTHSM2_CONF", dir.join("softhsm2.conf")));
    let token = SoftHsmToken { module: module(), label, serial, pin_file: dir.join("pin"), env };
    Config { workers: WORKERS, deadline: DEADLINE, ..token.config().unwrap() }
}

fn remote(dir: &Path) -> RemoteConfig {
    let config = config(dir);
    let vars = ["SOFTHSM2_CONF", "P11FAULT_MODULE", "P11FAULT_FILE"];
    RemoteConfig {
        program: env!("CARGO_BIN_EXE_hsmd").into(),
        env: vars.into_iter().map(|name| (name.to_owned(), std::env::var_os(name).unwrap().into())).collect(),
        module: config.module,
        token_label: config.token_label,
        token_serial: config.token_serial,
        pin: PinSource::File(dir.join("pin")),
        workers: WORKERS,
        deadline: DEADLINE,
        role: Role::Only,
        mode: Mode::Production,
        profile: None,
        log_level: "error".into(),
        log_json: false,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(mut pending: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match pending.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
