//! `cargo xtask codegen` on a small contract.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail loudly")]

use std::fs;

use tempfile::TempDir;
use xtask::codegen::{check, write};

const CONTRACT: &str = "syntax = \"proto3\";\npackage tally.v1;\n\n// Says hello.\nservice Greeter { rpc Greet(Name) returns (Name); }\nmessage Name { string name = 1; }\n";

fn contract() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("proto/tally/v1")).unwrap();
    fs::write(root.path().join("proto/tally/v1/greeter.proto"), CONTRACT).unwrap();
    root
}

#[test]
fn what_was_just_written_passes_the_check() {
    let root = contract();
    assert!(check(root.path()).is_err());
    write(root.path()).unwrap();
    check(root.path()).unwrap();
    let code = fs::read_to_string(root.path().join("proto/src/generated/tally.v1.rs")).unwrap();
    for wanted in ["pub mod greeter_client", "pub mod greeter_server", "pub struct Name", "Says hello."] {
        assert!(code.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_check_sees_a_changed_contract_an_edited_file_and_a_stale_one() {
    let root = contract();
    write(root.path()).unwrap();
    let generated = root.path().join("proto/src/generated");

    fs::write(generated.join("tally.v1.rs"), "// edited").unwrap();
    assert!(check(root.path()).unwrap_err().to_string().contains("tally.v1.rs; run `cargo xtask codegen`"));
    write(root.path()).unwrap();

    fs::write(generated.join("old.rs"), "").unwrap();
    assert!(check(root.path()).unwrap_err().to_string().contains("old.rs"));
    write(root.path()).unwrap();
    assert!(!generated.join("old.rs").exists());

    let changed = CONTRACT.replace("string name", "string full_name");
    fs::write(root.path().join("proto/tally/v1/greeter.proto"), changed).unwrap();
    assert!(check(root.path()).unwrap_err().to_string().contains("tally.bin, tally.v1.rs"));
}

#[test]
fn a_comment_in_the_contract_does_not_change_the_descriptor_set() {
    let root = contract();
    write(root.path()).unwrap();
    fs::write(root.path().join("proto/tally/v1/greeter.proto"), CONTRACT.replace("hello", "goodbye")).unwrap();
    let problem = check(root.path()).unwrap_err().to_string();
    assert!(problem.contains("tally.v1.rs") && !problem.contains("tally.bin"), "{problem}");
}

#[test]
fn an_empty_contract_is_an_error() {
    let root = contract();
    fs::remove_file(root.path().join("proto/tally/v1/greeter.proto")).unwrap();
    assert!(write(root.path()).is_err());
}
