//! `tests/*.case.toml`: what a bundle's author expects it to decide.

use crate::bundle::plain_name;

/// The name of the cases in the file of this path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    plain_name(path.strip_prefix("tests/")?.strip_suffix(".case.toml")?)
}
