//! `lists/*.txt`: one address a line; what follows a `#` is a comment.

use super::reading::{self, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};

/// Lists by name, each a set of lower-case addresses.
pub(crate) type Lists = BTreeMap<String, BTreeSet<String>>;

/// How an address looks.
pub(crate) const ADDRESS_FORM: &str = "0x and 40 hex digits";

/// The name of the list in the file of this path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    plain_name(path.strip_prefix("lists/")?.strip_suffix(".txt")?)
}

/// All lists of a bundle.
pub(crate) fn load_all(files: &BTreeMap<String, Vec<u8>>) -> Result<Lists, BundleError> {
    let named = files.keys().filter_map(|path| Some((path, name_of(path)?)));
    named.map(|(path, name)| Ok((name, load(path, reading::text(files, path)?)?))).collect()
}

fn load(path: &str, text: &str) -> Result<BTreeSet<String>, BundleError> {
    let mut addresses = BTreeSet::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or_default();
        let (byte, given) = (start + entry.len() - entry.trim_start().len(), entry.trim());
        start += line.len();
        if given.is_empty() {
            continue;
        }
        let address = evm_address(given).ok_or_else(|| {
            let problem = Problem::Value { what: "address", given: given.into(), want: ADDRESS_FORM };
            BundleError::at(path, text, byte, problem)
        })?;
        addresses.insert(address);
    }
    Ok(addresses)
}

/// The address in lower case, as facts have it. Only EVM addresses exist so far.
pub(crate) fn evm_address(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}
