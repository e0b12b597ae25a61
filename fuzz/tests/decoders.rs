//! Plays every target for some seconds, from a seed that is another each time. It is a program of its own, so that it can be
//! told which target, for how long, from which seed:
//!
//! `cargo test -p tally-fuzz --test decoders -- [--target NAME] [--seconds N] [--seed N] [--input FILE] [--list]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that is also a tool for the terminal"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};
use tally_fuzz::{Budget, TARGETS, Target, named, play, smallest};

/// For all targets together.
const SECONDS: u64 = 60;

/// As a node's threads have.
const STACK_BYTES: usize = 4 * 1024 * 1024;

struct Asked {
    targets: Vec<Target>,
    seconds: Option<u64>,
    seed: u64,
    input: Option<PathBuf>,
    /// Names the targets and plays none.
    lists: bool,
}

impl Asked {
    fn read() -> Result<Self, String> {
        let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let mut asked = Self { targets: TARGETS.to_vec(), seconds: None, seed: now, input: None, lists: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
            match argument.as_str() {
                "--target" => {
                    let name = value()?;
                    let names = || TARGETS.map(|target| target.name).join(", ");
                    asked.targets =
                        vec![named(&name).ok_or_else(|| format!("there is no {name}; there are {}", names()))?];
                }
                "--seconds" => asked.seconds = Some(number(value()?)?),
                "--seed" => asked.seed = number(value()?)?,
                "--input" => asked.input = Some(value()?.into()),
                "--list" => asked.lists = true,
                // What the harness of other tests understands.
                other if other.starts_with('-') => {}
                other => asked.targets.retain(|target| target.name.contains(other)),
            }
        }
        Ok(asked)
    }
}

fn main() -> ExitCode {
    let asked = match Asked::read() {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let deep = std::thread::Builder::new().stack_size(STACK_BYTES);
    let outcome = deep.spawn(move || run(&asked)).map(std::thread::JoinHandle::join);
    if matches!(outcome, Ok(Ok(true))) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(asked: &Asked) -> bool {
    if asked.lists {
        asked.targets.iter().for_each(|target| println!("{}: test", target.name));
        return true;
    }
    if let (Some(file), [target]) = (&asked.input, asked.targets.as_slice()) {
        println!("{}: {:?}", target.name, (target.run)(&std::fs::read(file).unwrap()));
        return true;
    }
    println!("seed {}", asked.seed);
    let count = u32::try_from(asked.targets.len()).unwrap_or(u32::MAX).max(1);
    let each = Duration::from_secs(asked.seconds.unwrap_or(SECONDS)) / count;
    let mut all_held = true;
    for target in &asked.targets {
        // Said before: an overflowing stack says nothing afterwards.
        print!("{:<12} ", target.name);
        let _ = std::io::Write::flush(&mut std::io::stdout());
        match play(target, asked.seed, Budget::Time(each)) {
            Ok(played) => println!("{:>8} inputs, {:>8} read, {:>4} words", played.cases, played.read, played.words),
            Err(failure) => {
                all_held = false;
                let small = smallest(target, &failure.input);
                let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-failed", target.name));
                let kept = std::fs::write(&file, &small);
                println!("FAILED at case {:?} of seed {}: {}", failure.case, asked.seed, hex::encode(&small));
                println!("{}: {kept:?}; --target {} --input FILE shows it again", file.display(), target.name);
            }
        }
    }
    all_held
}
