//! `tallyd --config FILE`: one node.

use anyhow::Context as _;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tally_domain::NodeName;
use tally_node::config::{Config, Isolation, LogFormat};

/// One Tigertally node.
#[derive(Debug, Parser)]
#[command(name = "tallyd", version)]
struct Args {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Make the identity key on the token, if there is none, print its public half as JSON, and stop.
    #[arg(long)]
    init: bool,
    /// Accept what this peer is now, after it was restored from an older copy, and stop. The node must be stopped.
    #[arg(long, value_name = "NODE")]
    accept_restore: Option<NodeName>,
}

/// Cedar recurses over a rule's expression: a debug build takes up to 50 KiB a level, of at most 24 levels.
const THREAD_STACK_BYTES: usize = 4 * 1024 * 1024;

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with all its causes; a log that is read by machines stays readable.
            let line = format!("tallyd: {error:#}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    with_module_environment(&config)?;
    // A core dump would hold shares, and a debugger of the same user could read them (S-3.1).
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .context("cannot switch core dumps off")?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("cannot refuse debuggers")?;
    start_log(&config)?;
    // The text of a panic may hold what was being computed with; where it happened does not.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    if args.init {
        let identity = tally_node::init_identity(&config)?;
        let line = serde_json::json!({ "identity": identity.to_string() });
        return print_line(&line.to_string());
    }
    if let Some(peer) = &args.accept_restore {
        return tally_node::accept_restore(&config, peer);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(tally_node::run(config))
}

/// Sets what the PKCS#11 module reads from its environment by starting this program again with it: a running process
/// cannot change its environment safely. A module in a process of its own is started with it.
fn with_module_environment(config: &Config) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let missing = config.hsm.env.iter().any(|(k, v)| std::env::var_os(k).as_deref() != Some(v.as_os_str()));
    if !missing || config.hsm.isolation == Isolation::Process {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot tell the path of this program")?;
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).envs(&config.hsm.env).exec();
    Err(error).context("cannot start again with the module's environment")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    use tracing_subscriber::EnvFilter;
    // A word that is no level would be read as the name of a module, and nothing would be logged.
    let level = config.log.level.as_str();
    if !level.contains('=') && level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        anyhow::bail!(
            "`log.level` is `{level}`: use off, error, warn, info, debug or trace, or a filter such as `tally_node=debug`"
        );
    }
    // cryptoki logs an error for each mechanism that it has no name for.
    let filter =
        EnvFilter::try_new(format!("{},cryptoki=off", config.log.level)).context("`log.level` is not a filter")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(tally_node::scrubbed_stderr());
    match config.log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn print_line(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
