//! Processes: each test has one of its own, and can have others do something to its token.

use crate::kind::{Kind, Kryoptic, SoftHsm, Token};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeType};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{Hsm as _, HsmError};
use tally_hsm_adapter::Pkcs11Hsm;
use tally_hsm_adapter::testing::PIN;

const DIR: &str = "TALLY_HSM_TEST_DIR";
const CASE: &str = "TALLY_HSM_TEST_CASE";
const DEED: &str = "TALLY_HSM_TEST_DEED";

/// The last line of a process whose test is through: a status of 0 alone is also that of a test whose name nobody has.
const THROUGH: &str = "through";

/// Processes that run at the same time: they mostly sleep.
const PARALLEL: usize = 8;

/// More wrong PINs than any token of these kinds lets pass before it locks, if it does.
const WRONG_PINS: usize = 12;

/// Longest that anything here takes on a loaded machine.
pub const LONG: Duration = Duration::from_secs(30);

/// Runs `test` with an empty directory, in a process of its own.
pub fn alone<K: Kind>(name: &str, test: impl FnOnce(&Path)) {
    match std::env::var_os(DIR).map(PathBuf::from) {
        Some(dir) => {
            match std::env::var(DEED) {
                Ok(deed) => elsewhere::<K>(&deed),
                Err(_) => test(&dir),
            }
            leave();
        }
        None => {
            let dir = tempfile::tempdir().unwrap();
            finished(start::<K>(name, dir.path(), &[]), name);
        }
    }
}

/// Runs the test that called this once for each of `cases`, in processes of their own; in such a process, gives the case.
pub fn case<K: Kind>(name: &str, cases: &[&str]) -> Option<String> {
    if let Ok(case) = std::env::var(CASE) {
        return Some(case);
    }
    let queue = std::sync::Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(case) = next else { return };
                    let dir = tempfile::tempdir().unwrap();
                    finished(start::<K>(name, dir.path(), &[(CASE, case)]), case);
                }
            });
        }
    });
    None
}

/// Has another process do something to the token of the test `name`, and waits for it.
pub fn in_another_process<K: Kind>(name: &str, dir: &Path, token: &Token, deed: &str) {
    let deed = format!("{deed} {}", token.serial);
    finished(start::<K>(name, dir, &[(DEED, &deed)]), &deed);
}

/// What another process can do.
fn elsewhere<K: Kind>(deed: &str) {
    let (deed, serial) = deed.split_once(' ').unwrap();
    let token = Token { module: K::module(), real: K::module(), label: "node-1".into(), serial: serial.into() };
    match deed {
        "be-refused" => {
            assert_eq!(Pkcs11Hsm::connect(token.config()).err(), Some(HsmError::PinRefused));
            return;
        }
        "sign" => {
            wait(Pkcs11Hsm::connect(token.config()).unwrap().sign_identity(b"vote".to_vec())).unwrap();
            return;
        }
        _ => {}
    }
    let context = Pkcs11::new(&token.real).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let (context, slot) = token.raw();
    let (pin, other) = (AuthPin::new(PIN.into()), AuthPin::new("another pin".into()));
    let open = || context.open_rw_session(slot).unwrap();
    match deed {
        "wrong-pin" => assert!(open().login(UserType::User, Some(&other)).is_err()),
        "wrong-pins" => {
            let session = open();
            for _ in 0..WRONG_PINS {
                assert!(session.login(UserType::User, Some(&other)).is_err());
            }
        }
        "unlock-pin" => {
            let session = open();
            session.login(UserType::So, Some(&pin)).unwrap();
            session.init_pin(&pin).unwrap();
        }
        "delete-all" | "delete-all-but-the-identity" => {
            let session = open();
            session.login(UserType::User, Some(&pin)).unwrap();
            for key in session.find_objects(&[Attribute::Token(true)]).unwrap() {
                let kept = session.get_attributes(key, &[AttributeType::Label]).unwrap()
                    == [Attribute::Label("tally-identity".into())];
                if deed == "delete-all" || !kept {
                    session.destroy_object(key).unwrap();
                }
            }
        }
        "change-pin" => {
            let session = open();
            session.login(UserType::User, Some(&pin)).unwrap();
            session.set_pin(&pin, &other).unwrap();
        }
        "re-initialise" => {
            context.init_token(slot, &pin, "node-1").unwrap();
            let session = open();
            session.login(UserType::So, Some(&pin)).unwrap();
            session.init_pin(&pin).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// Runs `child` in a copy of this process; whether it came back with `true`.
#[expect(unsafe_code, reason = "nothing else makes a process that has the module's state and none of its threads")]
pub fn fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: no other thread of a test's process holds a lock of the allocator's or of the standard library's that glibc
    // does not reset in the child; and the child leaves by `_exit`, which runs nothing of ours.
    let child = match unsafe { libc::fork() } {
        0 => {
            let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
            // SAFETY: takes a number.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
        pid => pid,
    };
    assert!(child > 0, "no fork");
    let (mut status, end) = (0, Instant::now() + LONG);
    // SAFETY: `status` is a place for one number.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } != child {
        if Instant::now() >= end {
            // SAFETY: takes numbers; the child has not been waited for, so that its number is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

fn start<K: Kind>(name: &str, dir: &Path, more: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIR, dir)
        .env(SoftHsm::ENV, SoftHsm::configuration(dir))
        .env(Kryoptic::ENV, Kryoptic::configuration(dir))
        .env("P11FAULT_MODULE", K::module())
        .env("P11FAULT_FILE", dir.join("faults"))
        .env("P11FAULT_LOG", dir.join("faulted"))
        .envs(more.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ends a process whose test is through, and not by leaving `main`: SoftHSM crashes in its own clearing-up when a worker
/// still closes its session.
#[expect(unsafe_code, reason = "nothing else ends a process without running what the module left for its end")]
#[expect(clippy::print_stdout, reason = "the process that waits reads it there")]
fn leave() -> ! {
    println!("{THROUGH}");
    // SAFETY: takes a number, and does not come back.
    unsafe { libc::_exit(0) }
}

fn finished(child: Child, what: &str) {
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let through = output.status.success() && out.lines().any(|line| line.ends_with(THROUGH));
    assert!(through, "{what}: {}\n{out}\n{err}", output.status);
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer, for ever.
pub fn wait<T>(mut future: Pending<T>) -> T {
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
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
        std::thread::sleep(Duration::from_millis(20));
    }
}
