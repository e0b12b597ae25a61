//! `cargo xtask`: see the library.
#![expect(clippy::print_stderr, reason = "a tool for the terminal reports there")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use xtask::{ci, codegen, fuzz, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's gates")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write proto/src/generated from proto/tally
    Codegen {
        /// Write nothing; fail if the committed files differ
        #[arg(long)]
        check: bool,
    },
    /// Check the rules of the house: layers, purity, sizes, habits
    Tidy,
    /// Run every gate in order, stopping at the first that fails
    Ci,
    /// Run what takes too long for every change: ten minutes of storm over real processes, a long import, stock clients
    Long {
        #[command(subcommand)]
        what: Option<Long>,
    },
}

#[derive(Subcommand)]
enum Long {
    /// A signer of alloy's own, built first
    Clients,
    /// Ten minutes of storm over real processes
    Storm,
    /// An import of a million lines
    Import,
    /// Fuzz decoders, led by coverage
    Fuzz {
        /// Which; all of them, one after the other, if none is named
        target: Option<String>,
        /// How long for each
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let root = workspace_root()?;
    match command {
        Command::Codegen { check: true } => codegen::check(&root),
        Command::Codegen { check: false } => codegen::write(&root),
        Command::Tidy => tidy::run(&root),
        Command::Ci => ci::run(&root),
        Command::Long { what } => match what {
            None => ci::long(&root, None),
            Some(Long::Clients) => ci::long(&root, Some(ci::Long::Clients)),
            Some(Long::Storm) => ci::long(&root, Some(ci::Long::Storm)),
            Some(Long::Import) => ci::long(&root, Some(ci::Long::Import)),
            Some(Long::Fuzz { target, minutes }) => {
                fuzz::run(&root, target.as_deref(), Duration::from_secs(u64::from(*minutes) * 60))
            }
        },
    }
}

/// The directory above this crate's, whatever directory the command was given in.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("the xtask crate has no parent directory")?.to_path_buf())
}
