//! What it costs to have the PKCS#11 module behind worker threads, and behind a process: sealing 32 bytes and signing with
//! the identity key, beside the same calls of the module in a bare loop, all in one run.
//!
//! `cargo bench -p tally-hsm-adapter --bench isolation`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a measuring program, run by hand"
)]

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, SealingKeyId};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Mode, PinSource, Pkcs11Hsm, RemoteConfig, RemoteHsm, Role, provision};

/// Set in the process that measures, which SoftHSM finds its configuration in.
const DIR: &str = "TALLY_BENCH_DIR";

/// The three take turns, so that what else the machine does is shared.
const ROUNDS: usize = 40;
const CALLS: usize = 250;

const KEY: SealingKeyId = SealingKeyId([1; 16]);
const AAD: &[u8] = b"share of node-1";

fn main() {
    let Some(dir) = std::env::var_os(DIR) else {
        let dir = tempfile::tempdir().unwrap();
        let token = SoftHsmToken::create(dir.path(), "bench").unwrap();
        let measured = Command::new(std::env::current_exe().unwrap())
            .env(DIR, dir.path())
            .env(token.env.0, &token.env.1)
            .env("TALLY_BENCH_SERIAL", &token.serial)
            .status();
        assert!(measured.unwrap().success());
        return;
    };
    let module = SoftHsmToken::module().unwrap();
    let dir = std::path::PathBuf::from(dir);
    let token = SoftHsmToken {
        module,
        label: "bench".into(),
        serial: std::env::var("TALLY_BENCH_SERIAL").unwrap(),
        pin_file: dir.join("pin"),
        env: ("SOFTHSM2_CONF", dir.join("softhsm2.conf")),
    };
    provision(token.config().unwrap()).unwrap();
    let thread = Pkcs11Hsm::connect(token.config().unwrap()).unwrap();
    wait(thread.create_sealing_key(KEY)).unwrap();
    let process = RemoteHsm::connect(remote(&token)).unwrap();
    let bare = Bare::beside(&token);
    let mut seals = [vec![], vec![], vec![]];
    let mut signs = [vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        for _ in 0..CALLS {
            seals[0].push(time(|| bare.seal()));
        }
        for (at, hsm) in [(1, &thread as &dyn Hsm), (2, &process)] {
            let plain = || SecretBytes::new(vec![7; 32]);
            (0..CALLS).for_each(|_| seals[at].push(time(|| wait(hsm.seal(KEY, AAD.to_vec(), plain())).unwrap())));
        }
        for _ in 0..CALLS {
            signs[0].push(time(|| bare.sign()));
        }
        for (at, hsm) in [(1, &thread as &dyn Hsm), (2, &process)] {
            (0..CALLS).for_each(|_| signs[at].push(time(|| wait(hsm.sign_identity(vec![7; 32])).unwrap())));
        }
    }
    println!("{} calls of each, one caller; microseconds", ROUNDS * CALLS);
    println!("| operation | bare p50 | thread p50 | process p50 | bare p99 | thread p99 | process p99 |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, mut of) in [("seal 32 bytes", seals), ("sign with the identity key", signs)] {
        of.iter_mut().for_each(|samples| samples.sort_unstable());
        let at = |percent: usize| of.iter().map(move |s| s[s.len() * percent / 100].as_nanos() as f64 / 1_000.0);
        let cells: Vec<_> = at(50).chain(at(99)).map(|us| format!("{us:.1}")).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn remote(token: &SoftHsmToken) -> RemoteConfig {
    RemoteConfig {
        program: env!("CARGO_BIN_EXE_hsmd").into(),
        env: [(token.env.0.to_owned(), token.env.1.clone())].into(),
        module: token.module.clone(),
        token_label: token.label.clone(),
        token_serial: Some(token.serial.clone()),
        pin: PinSource::File(token.pin_file.clone()),
        workers: 4,
        deadline: Duration::from_secs(30),
        role: Role::Only,
        mode: Mode::Production,
        profile: None,
        log_level: "warn".into(),
        log_json: false,
    }
}

/// The calls that the adapter makes, without it.
struct Bare {
    session: Session,
    sealing: ObjectHandle,
    identity: ObjectHandle,
}

impl Bare {
    fn beside(token: &SoftHsmToken) -> Self {
        let context = Pkcs11::new(&token.module).unwrap();
        let mut slots = context.get_slots_with_token().unwrap().into_iter();
        let slot = slots.find(|s| context.get_token_info(*s).unwrap().serial_number() == token.serial);
        let session = context.open_rw_session(slot.unwrap()).unwrap();
        let only = |class| session.find_objects(&[Attribute::Class(class)]).unwrap()[0];
        let (sealing, identity) = (only(ObjectClass::SECRET_KEY), only(ObjectClass::PRIVATE_KEY));
        Self { session, sealing, identity }
    }

    /// Encrypts, and opens again what came out.
    fn seal(&self) {
        let mut iv = [9; 12];
        let sealed = {
            let params = GcmParams::new(&mut iv, AAD, 128.into()).unwrap();
            self.session.encrypt(&Mechanism::AesGcm(params), self.sealing, &[7; 64]).unwrap()
        };
        let params = GcmParams::new(&mut iv, AAD, 128.into()).unwrap();
        self.session.decrypt(&Mechanism::AesGcm(params), self.sealing, &sealed).unwrap();
    }

    fn sign(&self) {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        self.session.sign(&mechanism, self.identity, &[7; 32]).unwrap();
    }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
