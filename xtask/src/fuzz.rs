//! Fuzzing led by coverage, with the stable compiler: libFuzzer, and rustc's own pass that counts where execution goes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::ci::{gate, target_dir};

/// LLVM's `SanitizerCoverage` through stable options of rustc: a counter for each edge, a table of where they are, and what
/// is compared with what. No sanitizer, which stable has none of: there is next to no `unsafe` here to be watched.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Longest input that is tried: most readers refuse above 64 KiB, and long inputs are slow ones.
const LENGTH_MAX: u32 = 32 * 1024;

/// What one input may take before it counts as hanging.
const TIMEOUT_S: u32 = 20;

/// Fuzzes one target, or each for so long. Corpora grow in the target directory; what fails is left there, and named.
pub fn run(root: &Path, target: Option<&str>, time: Duration) -> anyhow::Result<()> {
    let host = host()?;
    let home = target_dir(root).join("fuzz");
    let mut build = Command::new("cargo");
    build.args([
        "build",
        "--locked",
        "-p",
        "tally-fuzz",
        "--features",
        "guided",
        "--bin",
        "guided",
        "--profile",
        "fuzz",
    ]);
    // Naming the target keeps the instrumentation out of build scripts, which nothing links the counters for.
    build.args(["--target", &host, "--target-dir"]).arg(&home).env("RUSTFLAGS", INSTRUMENTED);
    gate(root, "build, instrumented", &mut build)?;
    let program = home.join(&host).join("fuzz/guided");
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => names(root)?,
    };
    for target in targets {
        let (corpus, artifacts) = (home.join("corpus").join(&target), home.join("artifacts").join(&target));
        for directory in [&corpus, &artifacts] {
            std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut fuzz = Command::new(&program);
        fuzz.env("TALLY_FUZZ_TARGET", &target).env("TALLY_FUZZ_CORPUS", &corpus).arg(&corpus);
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display())).arg("-print_final_stats=1");
        fuzz.arg(format!("-max_total_time={}", time.as_secs()));
        fuzz.arg(format!("-max_len={LENGTH_MAX}")).arg(format!("-timeout={TIMEOUT_S}"));
        gate(root, &format!("fuzz {target}"), &mut fuzz)?;
    }
    Ok(())
}

/// The machine that this runs on, as cargo names it.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say which host it is for")?.to_owned())
}

/// All targets: the list that the tests play.
fn names(root: &Path) -> anyhow::Result<Vec<String>> {
    let list = ["test", "--quiet", "--locked", "-p", "tally-fuzz", "--test", "decoders", "--", "--list"];
    let output = Command::new("cargo").args(list).current_dir(root).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the targets do not build: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
