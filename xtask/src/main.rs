//! `cargo xtask`: see the library.
#![expect(clippy::print_stderr, reason = "a tool for the terminal reports there")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use xtask::{ci, codegen, tidy};

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
    /// Run what takes too long for every change, all of it or one part
    Long {
        /// `clients` (alloy's provider, built first), `storm` (ten minutes over real processes) or `import`
        part: Option<ci::Long>,
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
        Command::Long { part } => ci::long(&root, *part),
    }
}

/// The directory above this crate's, whatever directory the command was given in.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("the xtask crate has no parent directory")?.to_path_buf())
}
