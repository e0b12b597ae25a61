//! The generated half of `proto/`: messages, clients, servers and the descriptor set that reflection serves.
//!
//! The code is committed: a build needs neither protoc nor a build script, and a change of the contract is seen in review.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Where the contract is, below the root of the workspace.
const PROTO_ROOT: &str = "proto";
/// The only package there is, as a directory below [`PROTO_ROOT`].
const PACKAGE_DIR: &str = "tally/v1";
/// Where the generated files go, below the root of the workspace.
const GENERATED_DIR: &str = "proto/src/generated";
/// The descriptor set, without source positions: reflection needs none, and a comment must not change it.
const DESCRIPTOR_FILE: &str = "tally.bin";

/// Messages that carry a secret. They get no `Debug`, so that no log can show one by mistake.
const SECRET_MESSAGES: [&str; 12] = [
    ".tally.v1.GenerateDataKeyResponse",
    ".tally.v1.WrapRequest",
    ".tally.v1.UnwrapResponse",
    ".tally.v1.TokenizeRequest",
    ".tally.v1.RevealResponse",
    ".tally.v1.SearchRequest",
    ".tally.v1.DeleteTokenRequest",
    ".tally.v1.CardRow",
    ".tally.v1.BatchTokenizeRequest",
    ".tally.v1.RevealedRow",
    ".tally.v1.BatchRevealResponse",
    ".tally.v1.BatchRevealRequest",
];

/// Contents by file name.
type Files = BTreeMap<String, Vec<u8>>;

/// Generates and writes what differs; removes what is no longer generated.
pub fn write(root: &Path) -> anyhow::Result<()> {
    let (wanted, found) = (generate(root)?, committed(root)?);
    let directory = root.join(GENERATED_DIR);
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for name in different(&wanted, &found) {
        let path = directory.join(name);
        match wanted.get(name) {
            Some(content) => fs::write(&path, content),
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("cannot change {}", path.display()))?;
        println!("codegen: {GENERATED_DIR}/{name}");
    }
    Ok(())
}

/// Fails if [`write`] would change anything.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let (wanted, found) = (generate(root)?, committed(root)?);
    let names = different(&wanted, &found);
    ensure!(
        names.is_empty(),
        "{GENERATED_DIR}: not what the contract generates: {}; run `cargo xtask codegen` and commit the result",
        names.join(", ")
    );
    Ok(())
}

fn generate(root: &Path) -> anyhow::Result<Files> {
    let proto_root = root.join(PROTO_ROOT);
    let mut compiler = protox::Compiler::new([&proto_root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(contract_files(&proto_root)?)?;

    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .skip_debug(SECRET_MESSAGES)
        .out_dir(out.path())
        .compile_fds(compiler.file_descriptor_set())?;
    let mut files = read_dir(out.path())?;

    compiler.include_source_info(false);
    files.insert(DESCRIPTOR_FILE.to_owned(), compiler.encode_file_descriptor_set());
    Ok(files)
}

/// Sorted, so that the output does not depend on the file system.
fn contract_files(proto_root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let directory = proto_root.join(PACKAGE_DIR);
    let mut files: Vec<PathBuf> = read_dir(&directory)?
        .into_keys()
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "proto"))
        .map(|name| directory.join(name))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "{}: no .proto file", directory.display());
    Ok(files)
}

fn committed(root: &Path) -> anyhow::Result<Files> {
    let directory = root.join(GENERATED_DIR);
    if directory.is_dir() { read_dir(&directory) } else { Ok(Files::new()) }
}

fn read_dir(directory: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(files)
}

/// Names that are in one of the two only, or in both with different contents.
fn different<'a>(wanted: &'a Files, found: &'a Files) -> Vec<&'a str> {
    let mut names: Vec<&str> = wanted.keys().chain(found.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| wanted.get(*name) != found.get(*name));
    names
}
