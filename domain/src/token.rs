//! What a vault of card numbers and the rules about it both speak of. None of it is a card number.

mod facts;

pub use facts::*;

use crate::ids::{DomainName, Tenant};
use std::fmt;

/// Longest token: the longest format has 36 characters, and one that was issued elsewhere may be longer.
pub const TOKEN_MAX_BYTES: usize = 64;

/// A token domain: tokens mean something within one only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDomain {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub name: DomainName,
}

impl fmt::Display for TokenDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

/// What stands for a card number outside the vault. It is no secret: without the vault it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

/// Not a token: empty, too long, or with a character outside `a-z A-Z 0-9 _ -`. What was given is not repeated, because
/// it may be a card number that was sent by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: a token has 1 to 64 characters out of a-z, A-Z, 0-9, `_`, `-`")]
pub struct BadToken;

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let fits = (1..=TOKEN_MAX_BYTES).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(BadToken) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Token {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, BadToken> {
        Self::parse(text)
    }
}

/// The digits of a card number that may be shown and stored: its first ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bin(String);

/// Most digits of a BIN (ISO/IEC 7812-1:2017).
pub const BIN_MAX_DIGITS: usize = 8;

impl Bin {
    /// Reads 1 to 8 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=BIN_MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| Self(text.to_owned()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The last four digits of a card number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Last4(String);

impl Last4 {
    /// Reads exactly four digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which data key of a domain, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataKeyNumber(pub u32);

/// Which blind-index key of a domain, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKeyNumber(pub u32);

/// A card number under a blind-index key: an HMAC that the token's HSM made. It tells whether two card numbers are the
/// same, so it is kept away from BIN and last four, and out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $t:ident { $($(#[$vdoc:meta])* $v:ident = $n:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $t { $($(#[$vdoc])* $v),+ }

        impl $t {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The number on the wire and in the store; it never changes.
            pub fn number(self) -> u8 {
                match self { $(Self::$v => $n),+ }
            }

            /// The one of that number.
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($n => Some(Self::$v),)+ _ => None }
            }

            /// The word in answers, rules and commands.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$v => $word),+ }
            }

            /// The one of that word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$v),)+ _ => None }
            }
        }
    };
}

words!(
    /// Whose rules a card follows, told from its first digits.
    Brand {
        /// None that is known.
        Unknown = 0 "unknown",
        /// Visa.
        Visa = 1 "visa",
        /// Mastercard.
        Mastercard = 2 "mastercard",
        /// American Express.
        Amex = 3 "amex",
        /// Discover.
        Discover = 4 "discover",
        /// Diners Club.
        Diners = 5 "diners",
        /// JCB.
        Jcb = 6 "jcb",
        /// UnionPay.
        UnionPay = 7 "unionpay",
        /// Maestro.
        Maestro = 8 "maestro",
        /// Mir.
        Mir = 9 "mir",
        /// RuPay.
        RuPay = 10 "rupay",
        /// Elo.
        Elo = 11 "elo",
        /// Hipercard.
        Hipercard = 12 "hipercard",
        /// Verve.
        Verve = 13 "verve",
        /// UATP.
        Uatp = 14 "uatp",
    }
);

words!(
    /// Whether a card number that comes again gets the token that it has.
    Reuse {
        /// No: every time a new token.
        Random = 1 "random",
        /// Yes, whoever's card it is.
        PerDomain = 2 "per-domain",
        /// Yes, for the same subject.
        PerSubject = 3 "per-subject",
    }
);

words!(
    /// What was written down of a token. That it is used up or expired is computed, not stored.
    StoredState {
        /// May be used, as far as its uses and its time allow.
        Active = 1 "active",
        /// Not to be used until it is resumed.
        Suspended = 2 "suspended",
        /// Its card number is gone; the token is remembered, so that it is never issued again.
        Shredded = 3 "shredded",
    }
);

words!(
    /// What a domain does.
    DomainState {
        /// Everything.
        Active = 1 "active",
        /// Nothing until it is resumed, but deletion.
        Suspended = 2 "suspended",
        /// Its keys are destroyed. Its name stays taken.
        Deleted = 3 "deleted",
    }
);

words!(
    /// What a key version of a domain does.
    VersionState {
        /// Being filled: an index key whose fingerprints are not complete yet.
        Filling = 1 "filling",
        /// In use for what is new.
        Current = 2 "current",
        /// In use for what is old.
        Previous = 3 "previous",
        /// Gone.
        Destroyed = 4 "destroyed",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_refuse_what_could_confuse_a_log_and_do_not_repeat_it() {
        for bad in ["", "a b", "a/b", "ä", "a.b", &"x".repeat(65)] {
            assert_eq!(Token::parse(bad), Err(BadToken), "{bad:?}");
        }
        assert!(!BadToken.to_string().contains("a/b"));
        assert_eq!(Token::parse("tok_a-1").unwrap().as_str(), "tok_a-1");
    }

    #[test]
    fn a_fingerprint_does_not_show_itself() {
        assert_eq!(format!("{:?}", Fingerprint([7; 32])), "Fingerprint(..)");
    }

    #[test]
    fn words_and_numbers_read_back() {
        for brand in Brand::ALL {
            assert_eq!(Brand::from_number(brand.number()), Some(*brand));
            assert_eq!(Brand::parse(brand.as_str()), Some(*brand));
        }
        assert_eq!((Brand::from_number(200), Brand::parse("Visa")), (None, None));
    }
}
