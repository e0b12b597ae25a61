//! The target that `TALLY_FUZZ_TARGET` names, led by coverage: libFuzzer, in the stable compiler's own instrumentation.
//! `cargo xtask long fuzz` builds and runs it. The examples are first written to the directory that `TALLY_FUZZ_CORPUS` names.

#![no_main]
#![expect(clippy::panic, reason = "what is wrong here is told whoever started it")]

use std::path::PathBuf;
use std::sync::LazyLock;
use tally_fuzz::{Target, keep, named};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TALLY_FUZZ_TARGET").unwrap_or_default();
    named(&name).unwrap_or_else(|| panic!("TALLY_FUZZ_TARGET names no target: {name:?}"))
});

fn prepare() {
    if let Some(corpus) = std::env::var_os("TALLY_FUZZ_CORPUS") {
        keep(&TARGET, &PathBuf::from(corpus)).unwrap_or_else(|e| panic!("cannot write the corpus: {e}"));
    }
}

libfuzzer_sys::fuzz_target!(init: prepare(), |bytes: &[u8]| {
    (TARGET.run)(bytes);
});
