//! `tally policy init`

use crate::output::{Shown, Usage};
use crate::words::quoted;
use anyhow::Context as _;
use serde_json::json;
use std::path::Path;
use tally_policy::EXAMPLE;

pub fn run(dir: &Path) -> anyhow::Result<Shown> {
    let empty = std::fs::read_dir(dir).map(|mut entries| entries.next().is_none());
    if !empty.unwrap_or(true) {
        return Err(Usage(format!("{} is not empty; name a directory that is not there yet", dir.display())).into());
    }
    for (path, text) in EXAMPLE {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let dir = quoted(dir);
    let text = format!(
        "wrote an example bundle to {dir}\n\
         Put your own nodes, clients, persons and admins into roster.toml and groups.toml: everyone knows the keys that are\n\
         there now. Then: tally policy check {dir}; tally policy test {dir}"
    );
    let files: Vec<_> = EXAMPLE.iter().map(|(path, _)| path).collect();
    Ok(Shown::done(text, json!({ "dir": dir, "files": files })))
}
