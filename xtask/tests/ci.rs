//! `cargo xtask ci` on a tree whose first gate fails.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail loudly")]

use std::fs;

#[test]
fn the_first_failure_stops_and_names_the_command() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("src")).unwrap();
    fs::write(root.path().join("Cargo.toml"), "[package]\nname = \"a\"\nedition = \"2024\"\n").unwrap();
    fs::write(root.path().join("src/lib.rs"), "fn  ragged( ){}\n").unwrap();
    let problem = xtask::ci::run(root.path()).unwrap_err().to_string();
    assert!(problem.contains("format FAILED"), "{problem}");
    assert!(problem.ends_with("to run it again: cargo fmt --all -- --check"), "{problem}");
}
