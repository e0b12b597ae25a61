//! What a shell and `man` are told of this program, from the same definitions that read its arguments.

use crate::output::Shown;
use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `tally completion SHELL`
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// For `bash`, put it where bash-completion looks: `tally completion bash > ~/.local/share/bash-completion/completions/tally`
    shell: Shell,
}

/// `tally man DIR`
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Directory for the pages: `tally.1`, and one for each command
    dir: PathBuf,
}

impl Completion {
    /// Runs it.
    pub fn run(&self) -> Shown {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Args::command(), "tally", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let document = json!({ "shell": self.shell.to_string(), "script": script });
        Shown::done(script, document)
    }
}

impl Man {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Shown> {
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {}", self.dir.display()))?;
        let mut command = crate::Args::command();
        command.build();
        let mut pages = Vec::new();
        write_pages(&command, &self.dir, &mut pages)?;
        Ok(Shown::done(format!("{} pages in {}", pages.len(), self.dir.display()), json!({ "pages": pages })))
    }
}

fn write_pages(command: &Command, dir: &Path, pages: &mut Vec<String>) -> anyhow::Result<()> {
    let file = format!("{}.1", command.get_display_name().unwrap_or(command.get_name()));
    let path = dir.join(&file);
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).context("cannot write a page")?;
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    pages.push(file);
    let mut commands = command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set());
    commands.try_for_each(|sub| write_pages(sub, dir, pages))
}
