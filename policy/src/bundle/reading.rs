//! Reading text and TOML so that an error says where it is.

use crate::error::{BundleError, Problem};
use std::collections::BTreeMap;
use tally_domain::ids::NAME_MAX_BYTES;
use toml::Spanned;

/// A file's text.
pub(crate) fn text<'a>(files: &'a BTreeMap<String, Vec<u8>>, path: &str) -> Result<&'a str, BundleError> {
    let content = files.get(path).ok_or_else(|| BundleError::whole(path, Problem::Missing))?;
    std::str::from_utf8(content).map_err(|_| BundleError::whole(path, Problem::NotUtf8))
}

/// A TOML file's content.
pub(crate) fn toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, BundleError> {
    ::toml::from_str(text).map_err(|e| {
        let problem = Problem::Toml { message: e.message().to_owned() };
        match e.span() {
            Some(span) => BundleError::at(file, text, span.start, problem),
            None => BundleError::whole(file, problem),
        }
    })
}

/// A TOML file while its values are checked.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// An error about a value.
    pub(crate) fn error<T>(&self, value: &Spanned<T>, problem: Problem) -> BundleError {
        BundleError::at(self.file, self.text, value.span().start, problem)
    }

    /// The value as `read` understands it, or an error with how a valid one looks.
    pub(crate) fn value<T>(
        &self,
        given: &Spanned<String>,
        what: &'static str,
        want: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BundleError> {
        read(given.get_ref())
            .ok_or_else(|| self.error(given, Problem::Value { what, given: given.get_ref().clone(), want }))
    }
}

/// How names of rules, lists, groups and assets look.
pub(crate) const NAME_FORM: &str = "1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_`, `-`";

/// The name, if it could not confuse a log line, a path or a list of names.
pub(crate) fn plain_name(name: &str) -> Option<String> {
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len());
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    (fits && plain).then(|| name.to_owned())
}
