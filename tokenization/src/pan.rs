//! Card numbers. One is never shown, copied, compared or serialised by accident, and its memory is wiped.

use crate::{brand, luhn};
use tally_domain::token::{BIN_MAX_DIGITS, Bin, Brand, Last4};
use zeroize::Zeroizing;

/// Shortest card number: Maestro's.
pub const DIGITS_MIN: u8 = 12;

/// Longest card number (ISO/IEC 7812-1).
pub const DIGITS_MAX: u8 = 19;

/// Longest input that is looked at: the longest number with a separator beside every digit.
pub const INPUT_MAX_BYTES: usize = 2 * DIGITS_MAX as usize + 1;

/// Digits that stay hidden whatever is shown: PCI's truncation rules remove at least four of sixteen.
pub const HIDDEN_MIN: usize = 4;

/// Length from which a BIN has eight digits (PCI SSC FAQ 1091: first eight and any other four, of sixteen or more).
const LONG_BIN_FROM: usize = 16;

/// Digits of a BIN below that.
const SHORT_BIN_DIGITS: usize = 6;

/// A card number that was read and checked. Only [`Pan::expose`] gives its digits, so it can be searched for.
pub struct Pan(Zeroizing<Vec<u8>>);

/// Why this is not a card number. What was given is never repeated, not even in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPan {
    /// Something other than digits, spaces and dashes.
    #[error("a card number has digits only, with spaces or dashes between them")]
    Character,
    /// Too few digits or too many.
    #[error("a card number has {DIGITS_MIN} to {DIGITS_MAX} digits; count them again")]
    Length,
    /// No issuer has it: a major industry of 0 is none that issues cards (ISO/IEC 7812-1).
    #[error("no issuer has card numbers that begin with 0")]
    Issuer,
    /// The check digit is wrong.
    #[error("the card number's check digit is wrong; a digit was mistyped")]
    Luhn,
}

/// What of a card number is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// All of it.
    Full,
    /// Its last four digits.
    Masked,
    /// Its BIN and its last four digits.
    BinLast4,
}

/// What is shown of a card number.
pub enum Shown {
    /// All of it.
    Full(Pan),
    /// Part of it, with a `*` for each hidden digit.
    Part(String),
}

impl Form {
    /// The word in requests and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Masked => "masked",
            Self::BinLast4 => "bin-last4",
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::Full => 1,
            Self::Masked => 2,
            Self::BinLast4 => 3,
        }
    }

    /// The form of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Full, Self::Masked, Self::BinLast4].into_iter().find(|form| form.number() == number)
    }

    /// The form of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Full, Self::Masked, Self::BinLast4].into_iter().find(|form| form.as_str() == word)
    }
}

impl Pan {
    /// Reads a card number. Spaces and dashes are left out; the caller wipes what it gave.
    ///
    /// # Errors
    /// [`BadPan`], which repeats nothing of the input.
    pub fn parse(input: &[u8]) -> Result<Self, BadPan> {
        // Made at its full size: a vector that grew would leave a copy behind.
        let mut digits = Zeroizing::new(Vec::with_capacity(INPUT_MAX_BYTES));
        for byte in input {
            match byte {
                b'0'..=b'9' if digits.len() < usize::from(DIGITS_MAX) => digits.push(*byte),
                b'0'..=b'9' => return Err(BadPan::Length),
                b' ' | b'-' => {}
                _ => return Err(BadPan::Character),
            }
        }
        if input.len() > INPUT_MAX_BYTES || digits.len() < usize::from(DIGITS_MIN) {
            return Err(BadPan::Length);
        }
        if digits.first() == Some(&b'0') {
            return Err(BadPan::Issuer);
        }
        let pan = Self(digits);
        if luhn::is_valid(pan.values()) { Ok(pan) } else { Err(BadPan::Luhn) }
    }

    /// The digits themselves, as ASCII.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many digits it has.
    pub fn digits(&self) -> u8 {
        self.0.len().try_into().unwrap_or(DIGITS_MAX)
    }

    /// Its brand.
    pub fn brand(&self) -> Brand {
        brand::of(self.values())
    }

    /// As many of its first digits as may be stored: eight of sixteen or more, six of fewer, less where fewer than
    /// [`HIDDEN_MIN`] would stay hidden.
    pub fn bin(&self) -> Option<Bin> {
        Bin::parse(&self.first(bin_digits(self.0.len())))
    }

    /// Its last four digits.
    pub fn last4(&self) -> Option<Last4> {
        Last4::parse(&self.last())
    }

    /// Shows what may be shown of it.
    pub fn show(self, form: Form) -> Shown {
        match form {
            Form::Full => Shown::Full(self),
            Form::Masked => Shown::Part(masked(self.digits(), "", &self.last())),
            Form::BinLast4 => Shown::Part(masked(self.digits(), &self.first(bin_digits(self.0.len())), &self.last())),
        }
    }

    /// Its first digits.
    pub(crate) fn first(&self, count: usize) -> String {
        self.0.iter().take(count).map(|b| char::from(*b)).collect()
    }

    /// Its last four digits.
    pub(crate) fn last(&self) -> String {
        self.0.iter().skip(self.0.len().saturating_sub(4)).map(|b| char::from(*b)).collect()
    }

    fn values(&self) -> impl DoubleEndedIterator<Item = u8> + ExactSizeIterator {
        self.0.iter().map(|b| b.wrapping_sub(b'0'))
    }
}

/// A card number of that many digits of which only the first and last few are known; made from a row, without opening it.
pub fn masked(digits: u8, first: &str, last: &str) -> String {
    let hidden = usize::from(digits).saturating_sub(first.len() + last.len());
    format!("{first}{}{last}", "*".repeat(hidden))
}

fn bin_digits(digits: usize) -> usize {
    let wanted = if digits >= LONG_BIN_FROM { BIN_MAX_DIGITS } else { SHORT_BIN_DIGITS };
    wanted.min(digits.saturating_sub(4 + HIDDEN_MIN))
}
