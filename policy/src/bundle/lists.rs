//! `lists/*.txt`: one address or bank account a line; what follows a `#` is a comment.

use super::reading::{self, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::Account;

/// Lists by name.
pub(crate) type Lists = BTreeMap<String, BTreeSet<Listed>>;

/// What a list has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Listed {
    /// A lower-case address.
    Address(String),
    /// A bank account.
    Account(Account),
}

/// How an address looks.
pub(crate) const ADDRESS_FORM: &str = "0x and 40 hex digits";

/// How a bank account looks.
pub(crate) const ACCOUNT_FORM: &str = "an IBAN in upper case without spaces, or `other:BANK/NUMBER`";

/// How an entry of a list looks.
const ENTRY_FORM: &str = "0x and 40 hex digits, or an IBAN in upper case without spaces, or `other:BANK/NUMBER`";

/// The name of the list in the file of this path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    plain_name(path.strip_prefix("lists/")?.strip_suffix(".txt")?)
}

/// All lists of a bundle.
pub(crate) fn load_all(files: &BTreeMap<String, Vec<u8>>) -> Result<Lists, BundleError> {
    let named = files.keys().filter_map(|path| Some((path, name_of(path)?)));
    named.map(|(path, name)| Ok((name, load(path, reading::text(files, path)?)?))).collect()
}

fn load(path: &str, text: &str) -> Result<BTreeSet<Listed>, BundleError> {
    let mut entries = BTreeSet::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or_default();
        let (byte, given) = (start + entry.len() - entry.trim_start().len(), entry.trim());
        start += line.len();
        if given.is_empty() {
            continue;
        }
        let address = || evm_address(given).map(Listed::Address);
        let entry = address().or_else(|| Account::parse(given).map(Listed::Account)).ok_or_else(|| {
            let problem = Problem::Value { what: "address or bank account", given: given.into(), want: ENTRY_FORM };
            BundleError::at(path, text, byte, problem)
        })?;
        entries.insert(entry);
    }
    Ok(entries)
}

/// The address in lower case, as facts have it. Only EVM addresses exist so far.
pub(crate) fn evm_address(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}
