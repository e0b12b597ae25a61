//! `tallyd --config FILE`: one node.

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;
use tally_domain::NodeName;
use tally_node::config::{Config, Isolation, LogFormat};
use tally_node::traces::Exporter;

/// One Tigertally node.
#[derive(Debug, Parser)]
#[command(name = "tallyd", version)]
struct Args {
    /// The node's configuration file.
    #[arg(long, required_unless_present_any = ["completion", "man"])]
    config: Option<PathBuf>,
    /// Make the identity key on the token, if there is none, print its public half as JSON, and stop.
    #[arg(long)]
    init: bool,
    /// Say everything that is wrong with the configuration and the files that it names, and stop.
    #[arg(long)]
    check_config: bool,
    /// Accept what this peer is now, after it was restored from an older copy, and stop. The node must be stopped.
    #[arg(long, value_name = "NODE")]
    accept_restore: Option<NodeName>,
    /// Print what makes a shell complete this program's arguments, and stop.
    #[arg(long, value_name = "SHELL")]
    completion: Option<Shell>,
    /// Print this program's page for `man`, and stop.
    #[arg(long)]
    man: bool,
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
    let Some(file) = &args.config else { return described(args) };
    if args.check_config {
        return checked(file);
    }
    let config = Config::load(file)?;
    with_module_environment(&config)?;
    // A core dump would hold shares, and a debugger of the same user could read them (S-3.1).
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .context("cannot switch core dumps off")?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("cannot refuse debuggers")?;
    allow_descriptors();
    // The text of a panic may hold what was being computed with; where it happened does not.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    let Args { init: false, accept_restore: None, .. } = args else { return at_rest(args, &config) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()
        .context("cannot start the runtime")?;
    let traces = {
        let _runtime = runtime.enter();
        config.traces.as_ref().map(|traces| Exporter::new(traces, &config.name)).transpose()?
    };
    start_log(&config, traces.as_ref())?;
    let ended = runtime.block_on(tally_node::run(config));
    if let Some(traces) = traces {
        traces.shut_down();
    }
    ended
}

/// What a shell and `man` are told, from the same definitions that read the arguments.
fn described(args: &Args) -> anyhow::Result<()> {
    let mut text = Vec::new();
    match args.completion {
        Some(shell) => clap_complete::generate(shell, &mut Args::command(), "tallyd", &mut text),
        None => clap_mangen::Man::new(Args::command()).render(&mut text).context("cannot write the page")?,
    }
    print_line(&String::from_utf8_lossy(&text))
}

fn checked(file: &std::path::Path) -> anyhow::Result<()> {
    let (faults, shown) = (tally_node::faults(file), file.display());
    if faults.is_empty() {
        return print_line(&format!("{shown} is good; the token has not been tried (`tally hsm doctor` does)"));
    }
    let lines: Vec<_> = faults.iter().map(|fault| format!("\n- {fault}")).collect();
    let count = if lines.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", lines.len()) };
    anyhow::bail!("{shown}: {count}{}", lines.concat())
}

/// What is done while the node does not run.
fn at_rest(args: &Args, config: &Config) -> anyhow::Result<()> {
    start_log(config, None)?;
    if args.init {
        let identity = tally_node::init_identity(config)?;
        let line = serde_json::json!({ "identity": identity.to_string() });
        return print_line(&line.to_string());
    }
    if let Some(peer) = &args.accept_restore {
        return tally_node::accept_restore(config, peer);
    }
    Ok(())
}

/// A node under attack has many connections; what the operator allows is used in full.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is not allowed, the usual number has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
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

fn start_log(config: &Config, traces: Option<&Exporter>) -> anyhow::Result<()> {
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let filter = config.log.filter()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(tally_node::scrubbed_stderr());
    let lines = match config.log.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    match traces {
        Some(traces) => registry.with(traces.layer()).init(),
        None => registry.init(),
    }
    Ok(())
}

fn print_line(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
