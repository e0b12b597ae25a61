//! Why a bundle is refused: where, what, and what to do.

use std::fmt;

/// A bundle is refused. All of it is the author's to mend, except [`Problem::Internal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleError {
    /// The file, by its path in the bundle.
    pub file: String,
    /// Where in the file; none when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub problem: Problem,
}

/// A position in a text file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// What is wrong with a bundle, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that every bundle has is not there.
    #[error("the file is missing; a bundle has policy.cedar, assets.toml, roster.toml, bundle.toml and lists/*.txt")]
    Missing,
    /// A file that no bundle has.
    #[error("a bundle has no such file; remove it, or give a list a plain name such as lists/vendors.txt")]
    UnknownFile,
    /// Something that a later version enforces. Ignoring it would permit more than the author meant.
    #[error("{what} is not supported by this version; remove it, or use a version that enforces it")]
    NotSupported {
        /// What was found.
        what: String,
    },
    /// Over a limit of size or number.
    #[error("{what} is over the limit of {limit}; make it smaller")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or pieces as `what` says.
        limit: usize,
    },
    /// Not text.
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    /// Not TOML, or a field that is unknown, missing or of another type.
    #[error("{message}")]
    Toml {
        /// What the TOML reader says.
        message: String,
    },
    /// Cedar cannot read the rule, or it does not fit the schema.
    #[error("{message}{}", help.as_deref().map(|h| format!("; {h}")).unwrap_or_default())]
    Cedar {
        /// What Cedar says.
        message: String,
        /// What Cedar says to do, if it does.
        help: Option<String>,
    },
    /// A rule with `?principal` or `?resource`.
    #[error("the rule is a template; write out the principal and the resource")]
    Template,
    /// A rule without a name.
    #[error("the rule has no @id; give every rule its own, such as @id(\"payouts-small\")")]
    NoId,
    /// An annotation that nothing reads. Ignoring it could lose a condition.
    #[error("unknown annotation `@{name}`; a rule has @id and may have @description")]
    UnknownAnnotation {
        /// Its name.
        name: String,
    },
    /// A permit that matches any action, opaque transactions included.
    #[error("a permit must name its actions, such as `action == Action::\"sign\"`, or it would permit all of them")]
    PermitAnyAction,
    /// A name that the bundle does not define.
    #[error("there is no {what} `{name}`; {known}")]
    UnknownName {
        /// What it should be: a list, a group, an asset.
        what: &'static str,
        /// The name.
        name: String,
        /// Where such names come from.
        known: &'static str,
    },
    /// A value that is not allowed.
    #[error("`{given}` is not a valid {what}: {want}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What was given.
        given: String,
        /// How a valid one looks.
        want: &'static str,
    },
    /// Something that may be there only once.
    #[error("{what} `{value}` is there twice; remove one")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// The repeated value.
        value: String,
    },
    /// A chain of which the fee could not be told.
    #[error("chain `{chain}` has assets but no native coin, in which fees are paid; add one without a contract")]
    NoNativeCoin {
        /// The chain.
        chain: String,
    },
    /// Our bug.
    #[error("the bundle could not be loaded ({what}); this is a bug, please report it")]
    Internal {
        /// What failed.
        what: &'static str,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for BundleError {}

impl BundleError {
    /// About the file as a whole.
    pub(crate) fn whole(file: &str, problem: Problem) -> Self {
        Self { file: file.into(), place: None, problem }
    }

    /// About what is at a byte of the file's text.
    pub(crate) fn at(file: &str, text: &str, byte: usize, problem: Problem) -> Self {
        Self { file: file.into(), place: Some(Place::of_byte(text, byte)), problem }
    }
}

impl Place {
    fn of_byte(text: &str, byte: usize) -> Self {
        // A position inside a character is that of the character.
        let end = (0..=byte.min(text.len())).rev().find(|b| text.is_char_boundary(*b)).unwrap_or(0);
        let before = text.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}
