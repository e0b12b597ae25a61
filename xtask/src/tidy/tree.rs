//! The workspace as the checks see it: members with their dependencies, and source files taken apart.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::{Dependency, MetadataCommand};

use super::lexer::{Lexed, lex};

/// Written by `cargo xtask codegen`, not by people.
const GENERATED: &str = "src/generated";

/// Everything there is to look at.
pub struct Tree {
    /// The crates of the workspace.
    pub members: Vec<Member>,
    /// Every Rust file in a member's directory, except generated ones.
    pub files: Vec<SourceFile>,
}

/// One crate of the workspace.
pub struct Member {
    /// Its name without the `tally-` that all of ours share.
    pub room: String,
    /// `Cargo.toml`, relative to the root.
    pub manifest: PathBuf,
    /// The text of the manifest, to find lines in.
    pub manifest_text: String,
    /// As declared, inherited features included.
    pub dependencies: Vec<Dependency>,
}

/// One Rust file.
pub struct SourceFile {
    /// The member that it belongs to.
    pub room: String,
    /// Relative to the root.
    pub path: PathBuf,
    /// Relative to the member.
    pub inner: PathBuf,
    /// As it is on disk.
    pub text: String,
    /// The same, taken apart.
    pub lexed: Lexed,
}

impl Tree {
    /// Reads the workspace below `root`. Nothing is resolved, so neither network nor lock file is needed.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
        let root = metadata.workspace_root.as_std_path();
        let mut tree = Self { members: Vec::new(), files: Vec::new() };
        for package in metadata.packages {
            let room = room(&package.name).to_owned();
            let manifest = package.manifest_path.as_std_path();
            let directory = manifest.parent().context("a manifest has no directory")?;
            for path in rust_files(directory)? {
                tree.files.push(SourceFile::read(&room, root, directory, &path)?);
            }
            tree.members.push(Member {
                room,
                manifest: relative(manifest, root),
                manifest_text: read(manifest)?,
                dependencies: package.dependencies,
            });
        }
        Ok(tree)
    }
}

impl SourceFile {
    fn read(room: &str, root: &Path, directory: &Path, path: &Path) -> anyhow::Result<Self> {
        let text = read(path)?;
        let lexed = lex(&text);
        Ok(Self { room: room.to_owned(), path: relative(path, root), inner: relative(path, directory), text, lexed })
    }
}

/// `tally-domain` is the room `domain`.
pub fn room(package: &str) -> &str {
    package.strip_prefix("tally-").unwrap_or(package)
}

fn relative(path: &Path, base: &Path) -> PathBuf {
    path.strip_prefix(base).unwrap_or(path).to_path_buf()
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Sorted, so that a report does not depend on the file system.
fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(current) = directories.pop() {
        for entry in fs::read_dir(&current).with_context(|| format!("cannot read {}", current.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                if name != "target" && !current.join(name).ends_with(GENERATED) {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
