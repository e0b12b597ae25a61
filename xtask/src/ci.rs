//! Every gate in order, with the time each one took. The first failure stops and says what to run again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::suite;

/// Pinned, so that every machine gives the same verdict on the same commit.
const CARGO_DENY: &str = "0.20.2";

/// One gate: its headline and the arguments of `cargo`.
type Gate = (&'static str, &'static [&'static str]);

/// Cheapest first. The dependencies on other people's code come before anything is linked.
const BEFORE_DENY: [Gate; 4] = [
    ("format", &["fmt", "--all", "--", "--check"]),
    ("generated code", &["xtask", "codegen", "--check"]),
    ("tidy", &["xtask", "tidy"]),
    ("clippy", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
];

/// `--all-targets` compiles with the very features that the tests will want, so nothing is built twice, and it leaves the
/// binaries where the end-to-end tests look for them.
const AFTER_DENY: Gate = ("build", &["build", "--locked", "--workspace", "--all-targets"]);

/// Runs all gates.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    for (headline, arguments) in BEFORE_DENY {
        gate(root, headline, Command::new("cargo").args(arguments))?;
    }
    let deny = cargo_deny(root)?;
    let checks = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    gate(root, "licences, bans, sources", Command::new(deny).args(["--locked", "--log-level", "error"]).args(checks))?;
    let (headline, arguments) = AFTER_DENY;
    gate(root, headline, Command::new("cargo").args(arguments))?;
    println!("\n==> tests");
    let tests = Instant::now();
    suite::run(root)?;
    println!("==> tests: {:.1?}", tests.elapsed());
    // The tour is also a test: it ends with an error when a step does not show what it promises.
    gate(root, "demo", Command::new(target_dir(root).join("debug/tally")).arg("demo"))?;
    println!("\n==> all gates passed in {:.0?}", start.elapsed());
    Ok(())
}

/// How long the long storm lasts.
const STORM_SECONDS: &str = "600";

/// Lines of the long import.
const IMPORT_LINES: &str = "1000000";

/// What takes longer than anyone wants to wait for at each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Long {
    /// Clients whose libraries take long to compile.
    Clients,
    /// Faults over real processes.
    Storm,
    /// A large file of cards.
    Import,
}

/// Runs one of them, or all.
pub fn long(root: &Path, part: Option<Long>) -> anyhow::Result<()> {
    let all = [Long::Clients, Long::Storm, Long::Import];
    gate(root, "programs", Command::new("cargo").args(["build", "--locked", "--workspace", "--bins"]))?;
    all.into_iter().filter(|one| part.is_none_or(|part| part == *one)).try_for_each(|one| match one {
        Long::Clients => clients(root),
        Long::Storm => storm(root),
        Long::Import => import(root),
    })
}

/// alloy's own `Web3Signer` pays beside the stock clients of every day.
fn clients(root: &Path) -> anyhow::Result<()> {
    let target = target_dir(root).join("alloy");
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--manifest-path", "tools/alloy-client/Cargo.toml", "--target-dir"]).arg(&target);
    gate(root, "alloy", &mut build)?;
    let mut test = Command::new("cargo");
    test.args(["test", "--locked", "-p", "tally-node", "--test", "e2e", "stock_clients::"]);
    gate(root, "clients", test.env("TALLY_ALLOY_CLIENT", target.join("debug/alloy-client")))
}

fn storm(root: &Path) -> anyhow::Result<()> {
    let mut storm = Command::new("cargo");
    storm.args(["test", "--locked", "-p", "tally-node", "--test", "e2e", "storm::", "--", "--nocapture"]);
    gate(root, "storm", storm.env("TALLY_STORM_SECONDS", STORM_SECONDS))
}

fn import(root: &Path) -> anyhow::Result<()> {
    let mut import = Command::new("cargo");
    import.args(["test", "--locked", "-p", "tally-node", "--test", "e2e", "cards_import::"]);
    gate(root, "import", import.env("TALLY_IMPORT_LINES", IMPORT_LINES))
}

pub(crate) fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

pub(crate) fn gate(root: &Path, headline: &str, command: &mut Command) -> anyhow::Result<()> {
    println!("\n==> {headline}");
    let start = Instant::now();
    let status = command.current_dir(root).status().with_context(|| format!("cannot start: {}", shown(command)))?;
    if !status.success() {
        bail!("\n==> {headline} FAILED after {:.1?}; to run it again: {}", start.elapsed(), shown(command));
    }
    println!("==> {headline}: {:.1?}", start.elapsed());
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The pinned cargo-deny inside the target directory, installed there unless it is there already.
fn cargo_deny(root: &Path) -> anyhow::Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let home = metadata.target_directory.join("tools").join(format!("cargo-deny-{CARGO_DENY}")).into_std_path_buf();
    let program = home.join("bin/cargo-deny");
    if !program.is_file() {
        let spec = format!("cargo-deny@{CARGO_DENY}");
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", "--no-default-features", &spec, "--no-track", "--root"]);
        // It runs for a second: what counts is how fast it compiles.
        install.arg(&home).env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        gate(root, "install cargo-deny", &mut install)?;
        ensure!(program.is_file(), "cargo install left no {}", program.display());
    }
    Ok(program)
}
