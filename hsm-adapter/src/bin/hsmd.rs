//! `hsmd`: a PKCS#11 module in a process of its own.
//!
//! Does: serves one token to the node that started it, over the socket that is its standard input, and ends when the node
//! has gone; examines a token for `tally hsm doctor`. Does not: listen anywhere, take secrets as arguments or from the environment, or outlive its node.

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, getpid, kill_process};
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve"] => harden().and_then(|()| serve()),
        ["doctor"] => doctor(),
        ["checks"] => harden().and_then(|()| checks()),
        _ => Err(no_use()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&e);
            ExitCode::FAILURE
        }
    }
}

/// Nobody looks into this process, and it does not outlive its node.
fn harden() -> std::io::Result<()> {
    // A core dump would hold the PIN and what is sealed, and a debugger of the same user could read them (S-3.1).
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The socket ends with the node too; this also holds while the module hangs. A node that was gone before this call has
    // left the end of its socket behind.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The text of a panic may hold what was being computed with; where it happened does not.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}

fn serve() -> std::io::Result<()> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(no_use());
    }
    let socket = UnixStream::from(input.as_fd().try_clone_to_owned()?);
    let served = tally_hsm_adapter::serve(socket, start_log);
    if let Err(e) = &served {
        say(e);
    }
    // Not by leaving `main`: SoftHSM crashes in its own clearing-up when a process ends while a call hangs in it.
    kill_process(getpid(), Signal::KILL)?;
    served
}

/// Examines the token that the order on standard input names; the report goes to standard output.
fn doctor() -> std::io::Result<()> {
    let order = serde_json::from_reader(std::io::stdin())?;
    let report = tally_hsm_adapter::doctor::examine(&order, &std::env::current_exe()?)?;
    Ok(serde_json::to_writer(std::io::stdout(), &report)?)
}

/// What [`doctor`] starts, so that it survives what the module does.
fn checks() -> std::io::Result<()> {
    let attended = tally_hsm_adapter::doctor::attend(std::io::stdin(), std::io::stdout());
    kill_process(getpid(), Signal::KILL)?;
    attended
}

fn no_use() -> std::io::Error {
    std::io::Error::other("started by tallyd and `tally hsm doctor` only; it has no use of its own")
}

/// As the node's log, into which it goes.
fn start_log(level: &str, json: bool) -> Result<(), String> {
    use tracing_subscriber::EnvFilter;
    // cryptoki logs an error for each mechanism that it has no name for.
    let filter = EnvFilter::try_new(format!("{level},cryptoki=off")).map_err(|e| format!("the log's filter: {e}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.with_ansi(false).init()
    }
    Ok(())
}

fn say(e: &std::io::Error) {
    let line = format!("hsmd: {e}\n");
    let _unread = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
