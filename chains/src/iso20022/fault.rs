//! Why a payment file is refused. All of it is the caller's to mend.

use super::{DEPTH_MAX, ELEMENTS_MAX, FILE_MAX_BYTES, TRANSFERS_MAX};

/// Longest part of a wrong value that an error repeats.
const SHOWN_MAX_CHARS: usize = 64;

/// A payment file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadPayment {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a payment file, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// More than [`FILE_MAX_BYTES`].
    #[error("the file is larger than {} bytes; send the payments in several files", FILE_MAX_BYTES)]
    Oversized,
    /// Not text.
    #[error("the file is not UTF-8 text without control characters; save it as UTF-8")]
    NotUtf8,
    /// An XML declaration of another version or encoding.
    #[error("the XML declaration must say version 1.0 and, if any encoding, UTF-8")]
    Declaration,
    /// The file ends before its last element does.
    #[error("the file ends within an element, it seems to be cut off")]
    Truncated,
    /// Not well-formed XML.
    #[error("this is not well-formed XML: {message}")]
    NotXml {
        /// What the XML reader says.
        message: String,
    },
    /// A document type, which could define entities.
    #[error("the file has a document type (DTD), which is not read; remove it")]
    Doctype,
    /// An entity that XML does not predefine, or a character by its number.
    #[error("`&{name};` is not read; only &amp; &lt; &gt; &quot; and &apos; are, write other characters as they are")]
    Entity {
        /// Its name.
        name: String,
    },
    /// XML of which readers differ on what it means.
    #[error("the file has a {what}, which is not read; remove it")]
    Markup {
        /// What was found.
        what: &'static str,
    },
    /// Elements within elements without end.
    #[error("elements are nested more than {} deep", DEPTH_MAX)]
    TooDeep,
    /// More than [`ELEMENTS_MAX`].
    #[error("the file has more than {} elements; send the payments in several files", ELEMENTS_MAX)]
    TooManyElements,
    /// More than [`TRANSFERS_MAX`].
    #[error("the file has more than {} transfers; send them in several files", TRANSFERS_MAX)]
    TooManyTransfers,
    /// Not a payment file of a version that is read.
    #[error("the file is of `{found}`, but only pain.001.001.03, .09 and .11 are read")]
    Namespace {
        /// The namespace, or what is there instead.
        found: String,
    },
    /// An element that is not on the list of those that are read here.
    #[error("`{element}` in `{within}` is not read, and a bank could act on it; remove it")]
    Unknown {
        /// The element.
        element: String,
        /// Its parent.
        within: String,
    },
    /// An attribute that is not read here.
    #[error("attribute `{attribute}` of `{element}` is not read; remove it")]
    Attribute {
        /// The attribute.
        attribute: String,
        /// The element that has it.
        element: String,
    },
    /// Text beside elements.
    #[error("`{element}` has text beside its elements; remove it")]
    Text {
        /// The element.
        element: String,
    },
    /// An element that may be there only once.
    #[error("`{element}` is there more than once in `{within}`; leave one")]
    Duplicate {
        /// The element.
        element: String,
        /// Its parent.
        within: String,
    },
    /// An element that must be there.
    #[error("`{element}` is missing in `{within}`")]
    Missing {
        /// The element.
        element: &'static str,
        /// Its parent.
        within: String,
    },
    /// Said for the block and for a transfer of it, so which one holds is open.
    #[error("`{element}` is there for the whole block already; say it for the block or for each transfer")]
    Twice {
        /// The element.
        element: &'static str,
    },
    /// A value that is not of its form.
    #[error("`{given}` is not a valid `{element}`: {want}")]
    Value {
        /// The element.
        element: String,
        /// What it has, cut to a sane length.
        given: String,
        /// How a valid one looks.
        want: &'static str,
    },
    /// Wrong check digits or form.
    #[error("`{given}` is not a valid IBAN: upper case, no spaces, check digits right")]
    Iban {
        /// What was given.
        given: String,
    },
    /// An account number that is no IBAN, without the bank that gives it a meaning.
    #[error("the account is no IBAN, so its bank must be given by BIC or by clearing system and member number")]
    AccountWithoutBank,
    /// A currency of which the decimals are not known.
    #[error("`{code}` is not the ISO 4217 code of a currency that is known here")]
    UnknownCurrency {
        /// The code.
        code: String,
    },
    /// A second currency.
    #[error("`{other}` beside `{first}`; a file has one currency, send one file for each")]
    TwoCurrencies {
        /// The file's first.
        first: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A transfer of nothing, or of less.
    #[error("the amount `{given}` is not more than zero")]
    NotPositive {
        /// The amount.
        given: String,
    },
    /// More decimals than the currency has.
    #[error("`{given}` has more decimals than {currency}, which has {decimals}")]
    Decimals {
        /// The amount.
        given: String,
        /// The currency.
        currency: &'static str,
        /// Its decimals.
        decimals: u8,
    },
    /// `NbOfTxs` is wrong.
    #[error("`NbOfTxs` of `{within}` says {stated}, but there are {counted} transfers")]
    Count {
        /// Group header or block.
        within: String,
        /// What it says.
        stated: u64,
        /// How many there are.
        counted: u64,
    },
    /// `CtrlSum` is wrong.
    #[error("`CtrlSum` of `{within}` says {stated}, but the amounts add up to {added}")]
    Sum {
        /// Group header or block.
        within: String,
        /// What it says.
        stated: String,
        /// What the amounts add up to.
        added: String,
    },
}

impl Fault {
    /// The fault at this line.
    pub(super) fn at(self, line: usize) -> BadPayment {
        BadPayment { line, fault: self }
    }
}

/// As much of a wrong value as an error repeats.
pub(super) fn shown(given: &str) -> String {
    given.chars().filter(|c| !c.is_control()).take(SHOWN_MAX_CHARS).collect()
}
