//! What it costs to have the PKCS#11 module behind worker threads, and behind a process: sealing 32 bytes, signing with the
//! identity key, and the fingerprints of 256 cards, beside the same calls of the module in a bare loop, all in one run.
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
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tally_domain::SecretBytes;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm, IndexKeyId, SealingKeyId, VaultHsm, VaultKey};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Mode, PinSource, Pkcs11Hsm, RemoteConfig, RemoteHsm, Role, provision};

/// Set in the process that measures, which SoftHSM finds its configuration in.
const DIR: &str = "TALLY_BENCH_DIR";

/// The three take turns, so that what else the machine does is shared.
const ROUNDS: usize = 40;
const CALLS: usize = 250;

const KEY: SealingKeyId = SealingKeyId([1; 16]);
const AAD: &[u8] = b"share of node-1";
const INDEX: IndexKeyId = IndexKeyId([2; 16]);

/// Cards of one message of a stream, and their inputs' length, about.
const CARDS: usize = 256;
const CARD_BYTES: usize = 64;

/// Messages: each takes as long as many of the other calls.
const MESSAGES: usize = 10;

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
    wait(thread.create_vault_key(VaultKey::Index(INDEX))).unwrap();
    let process = RemoteHsm::connect(remote(&token)).unwrap();
    let bare = Bare::beside(&token);
    let mut seals = [vec![], vec![], vec![]];
    let mut signs = [vec![], vec![], vec![]];
    let mut prints = [vec![], vec![], vec![]];
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
        for _ in 0..MESSAGES {
            prints[0].push(time(|| (0..CARDS).for_each(|_| bare.fingerprint())));
        }
        for (at, hsm) in [(1, &thread as &dyn VaultHsm), (2, &process)] {
            let cards = || (0..CARDS).map(|_| SecretBytes::new(vec![7; CARD_BYTES])).collect();
            (0..MESSAGES).for_each(|_| prints[at].push(time(|| wait(hsm.fingerprints(INDEX, cards())).unwrap())));
        }
    }
    println!("{} calls of each, {} of the last, one caller; microseconds", ROUNDS * CALLS, ROUNDS * MESSAGES);
    println!("| operation | bare p50 | thread p50 | process p50 | bare p99 | thread p99 | process p99 |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let all = [("seal 32 bytes", seals), ("sign with the identity key", signs), ("256 fingerprints", prints)];
    for (name, mut of) in all {
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
    index: ObjectHandle,
}

impl Bare {
    fn beside(token: &SoftHsmToken) -> Self {
        let context = Pkcs11::new(&token.module).unwrap();
        let mut slots = context.get_slots_with_token().unwrap().into_iter();
        let slot = slots.find(|s| context.get_token_info(*s).unwrap().serial_number() == token.serial);
        let session = context.open_rw_session(slot.unwrap()).unwrap();
        let only = |attribute| session.find_objects(&[attribute]).unwrap()[0];
        let sealing = only(Attribute::KeyType(KeyType::AES));
        let identity = only(Attribute::Class(ObjectClass::PRIVATE_KEY));
        let index = only(Attribute::KeyType(KeyType::GENERIC_SECRET));
        Self { session, sealing, identity, index }
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

    fn fingerprint(&self) {
        self.session.sign(&Mechanism::Sha256Hmac, self.index, &[7; CARD_BYTES]).unwrap();
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
