//! Processes and tokens: each test has one of its own.

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tally_domain::ports::Pending;
use tally_hsm_adapter::testing::{SOFTHSM_ENV, SoftHsmToken};
use tally_hsm_adapter::{Pkcs11Hsm, provision};

const DIR: &str = "TALLY_HSM_TEST_DIR";

/// Runs `test` with an empty token directory, in a process of its own.
pub fn alone(name: &str, test: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(DIR) {
        return test(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIR, dir.path())
        .env(SOFTHSM_ENV, dir.path().join("softhsm2.conf"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A token with its identity, and the adapter on it.
pub fn ready(dir: &Path) -> (SoftHsmToken, Pkcs11Hsm) {
    let token = SoftHsmToken::create(dir, "node-1").unwrap();
    provision(token.config().unwrap()).unwrap();
    let hsm = Pkcs11Hsm::connect(token.config().unwrap()).unwrap();
    (token, hsm)
}

/// A session beside the adapter's, in the same process and so under the same login.
pub fn beside(token: &SoftHsmToken) -> Session {
    let context = Pkcs11::new(&token.module).unwrap();
    let mut slots = context.get_slots_with_token().unwrap().into_iter();
    let slot = slots.find(|s| context.get_token_info(*s).unwrap().serial_number() == token.serial);
    context.open_rw_session(slot.unwrap()).unwrap()
}
