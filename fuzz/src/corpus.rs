//! The files of `corpus/`: one directory for each target.

use crate::target::Target;
use std::io;
use std::path::PathBuf;

fn directory(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// What changes begin with: the target's own examples, which must be read, and how many these are; then what is in its files,
/// which may be anything.
pub fn examples(target: &Target) -> (Vec<Vec<u8>>, usize) {
    let mut all = (target.examples)();
    let own = all.len();
    let Ok(entries) = std::fs::read_dir(directory(target)) else { return (all, own) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // As the file system gives them would be another order on another machine.
    paths.sort();
    all.extend(
        paths.into_iter().map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
    );
    (all, own)
}

/// Writes all examples of a target into a directory, for a driver that begins with files.
///
/// # Errors
/// Those of the file system.
pub fn keep(target: &Target, into: &std::path::Path) -> io::Result<()> {
    std::fs::create_dir_all(into)?;
    examples(target)
        .0
        .iter()
        .enumerate()
        .try_for_each(|(i, bytes)| std::fs::write(into.join(format!("example-{i}")), bytes))
}
