//! `tally policy diff`

use super::read;
use crate::output::{Shown, Usage, field};
use crate::profile::ProfileArg;
use serde_json::{Value, json};
use std::path::Path;
use tally_policy::{Bundle, Change, Direction, changes, span_words, tightens_only};

/// In place of a file: the bundle that a node has.
pub const ACTIVE: &str = "ACTIVE";

pub async fn with_active(profile: &ProfileArg, new: &Path) -> anyhow::Result<Shown> {
    let bytes = profile.client()?.signed_policy().await?;
    let bytes = bytes.ok_or_else(|| Usage("the node's policy is a directory that nobody signed; name it".into()))?;
    let old = read::of_bytes(&bytes, "the node's bundle")?;
    let (lines, json) = between(&old.bundle, &read::any(new)?.bundle);
    Ok(Shown::done(lines.join("\n"), json))
}

pub fn run(old: &Path, new: &Path) -> anyhow::Result<Shown> {
    let (old, new) = (read::any(old)?, read::any(new)?);
    let (lines, json) = between(&old.bundle, &new.bundle);
    Ok(Shown::done(lines.join("\n"), json))
}

/// What changes, line by line and as JSON, and what that means.
pub fn between(old: &Bundle, new: &Bundle) -> (Vec<String>, Value) {
    let changes = changes(old, new);
    let at_once = tightens_only(&changes);
    let delay = span_words(old.header().loosening_delay_ms);
    let meaning = match (changes.is_empty(), at_once) {
        (true, _) => "nothing that decides has changed: it may take effect at once".to_owned(),
        (false, true) => "every change tightens: it may take effect at once".to_owned(),
        (false, false) => format!("something loosens: it waits {delay}, for anyone to veto it"),
    };
    let mut lines = vec![meaning];
    lines.extend(changes.iter().map(|c| field(word(c.direction), format!("{}: {}", place(c), c.words))));
    let listed: Vec<_> = changes
        .iter()
        .map(|c| json!({ "direction": word(c.direction), "file": c.file, "item": c.item, "words": c.words }))
        .collect();
    (lines, json!({ "at_once": at_once, "loosening_delay_ms": old.header().loosening_delay_ms, "changes": listed }))
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Tighter => "tighter",
        Direction::Looser => "looser",
    }
}

fn place(change: &Change) -> String {
    if change.item.is_empty() { change.file.clone() } else { format!("{} {}", change.file, change.item) }
}
