//! All test programs of the workspace, three at a time: many of them mostly wait, for a token that hangs or a node that starts.

use anyhow::{Context as _, bail};
use cargo_metadata::{Artifact, Message};
use std::collections::VecDeque;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Programs that run at the same time. With two of them two cores are idle for a fifth of the time; with more the slowest waits for
/// a core longer than they save.
const LANES: usize = 3;

/// The slowest, so that none of them is what is left at the end.
const FIRST: [&str; 5] = ["e2e", "softhsm", "it", "schedules", "process"];

/// One program of tests.
struct Program {
    package: String,
    target: String,
    /// As arguments of `cargo test`.
    chosen_by: Vec<String>,
    executable: PathBuf,
    directory: PathBuf,
}

impl Program {
    fn of(artifact: Artifact) -> Option<Self> {
        let executable = artifact.executable.filter(|_| artifact.profile.test)?.into_std_path_buf();
        let directory = artifact.manifest_path.parent()?.as_std_path().to_path_buf();
        let package = artifact.package_id.repr.rsplit(['/', '#']).find_map(|part| {
            let name = part.split('@').next()?;
            (!name.starts_with(|c: char| c.is_ascii_digit())).then(|| name.to_owned())
        })?;
        let target = artifact.target;
        let chosen_by = match () {
            () if target.is_test() => vec!["--test".to_owned(), target.name.clone()],
            () if target.is_bin() => vec!["--bin".to_owned(), target.name.clone()],
            () => vec!["--lib".to_owned()],
        };
        Some(Self { package, target: target.name, chosen_by, executable, directory })
    }

    fn rank(&self) -> usize {
        FIRST.iter().position(|first| *first == self.target).unwrap_or(FIRST.len())
    }

    fn run(&self) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.directory).env("CARGO_MANIFEST_DIR", &self.directory).stdin(Stdio::null());
        command.output().with_context(|| format!("cannot start {}", self.executable.display()))
    }

    fn again(&self) -> String {
        format!("cargo test --locked -p {} {}", self.package, self.chosen_by.join(" "))
    }
}

/// Builds and runs every test of the workspace below `root`. After the first program that fails no further one is started.
/// Examples in the documentation are not run: there are none, and `tidy` sees to it.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut programs = programs(root)?;
    programs.sort_by_key(Program::rank);
    let queue = Mutex::new(VecDeque::from(programs));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| lane(&queue, &failed));
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("tests FAILED; to run them again:\n{}", failed.join("\n"));
    }
    Ok(())
}

fn lane(queue: &Mutex<VecDeque<Program>>, failed: &Mutex<Vec<String>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(program) = next else { return };
        let start = Instant::now();
        let outcome = program.run();
        // One program's lines stay together.
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        println!("\n     {} {} ({:.1?})", program.package, program.chosen_by.join(" "), start.elapsed());
        let passed = match outcome {
            Ok(output) => {
                print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                output.status.success()
            }
            Err(e) => {
                println!("{e:#}");
                false
            }
        };
        if !passed {
            failed.push(program.again());
            queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

fn programs(root: &Path) -> anyhow::Result<Vec<Program>> {
    let arguments = ["test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(root).stdout(Stdio::piped());
    let mut building = cargo.spawn().context("cannot start cargo")?;
    let output = building.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")? {
            programs.extend(Program::of(artifact));
        }
    }
    if !building.wait()?.success() {
        bail!("the tests do not build; to see it again: cargo {}", arguments.join(" "));
    }
    Ok(programs)
}
