//! The process itself: how it is found, started and ended.

use crate::config::configuration;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tally_domain::ports::hsm::HsmError;

const PROGRAM: &str = "hsmd";

/// How long a process whose socket has ended may take to be gone by itself, so that it can be told what ended it.
const ENDING_MAX: Duration = Duration::from_millis(200);

const ENDING_TICK: Duration = Duration::from_millis(2);

/// The `hsmd` that was installed with the program that runs.
///
/// # Errors
/// [`HsmError::Configuration`] that says where it should be.
pub fn beside_this_program() -> Result<PathBuf, HsmError> {
    let here = std::env::current_exe().map_err(|e| configuration(format!("cannot tell where this program is: {e}")))?;
    let program = here.with_file_name(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    let shown = program.display();
    Err(configuration(format!(
        "there is no program `{shown}`, which the PKCS#11 module runs in: install `{PROGRAM}` beside `{}`, or set \
         `isolation = \"thread\"` under [hsm]",
        here.display()
    )))
}

/// A running process. Killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts one; gives the socket that it serves. It has to be called by a thread that lives as long as the process may:
    /// the process ends with the thread that started it.
    pub fn start(config: &super::RemoteConfig) -> Result<(Self, UnixStream), HsmError> {
        let failed = |e: std::io::Error| configuration(format!("cannot start `{}`: {e}", config.program.display()));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(&config.program)
            .arg("serve")
            .envs(&config.env)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // Ctrl-C at a terminal is for the node, which then ends it in good order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok((Self(child), ours))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it, unless it has ended; says how it ended.
    pub fn end(mut self) -> String {
        match self.wait(ENDING_MAX) {
            Some(status) => status.to_string(),
            None => self.kill(),
        }
    }

    /// Ends it now.
    pub fn kill(&mut self) -> String {
        // The signal cannot be refused, not even by a process that is stopped; so the wait is short.
        match self.0.kill().and_then(|()| self.0.wait()) {
            Ok(status) => status.to_string(),
            Err(e) => format!("cannot be ended: {e}"),
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self, max: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + max;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(ENDING_TICK),
                _ => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
