//! The other programs of this installation.

use crate::output::Usage;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// A program: as given by `option`, beside this one, or on the PATH.
pub fn find(name: &str, option: &str, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        let found = path.is_file().then(|| std::path::absolute(path));
        let found = found.ok_or_else(|| Usage(format!("{} is no file", path.display())))?;
        return found.context("cannot tell the current directory");
    }
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    let found = beside.into_iter().chain(on_path).find(|candidate| candidate.is_file());
    found.ok_or_else(|| Usage(format!("the program `{name}` is not beside `tally`; give {option} PATH")).into())
}
