//! What tokens look like, how many of them there are, and which formats have too few.

mod capacity;
mod draw;

pub use capacity::{Bucket, CAPACITY_MIN, Capacity, Load};
pub use draw::DrawError;

/// What a domain's tokens look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `tok_`, four characters of the domain, 128 random bits, two check characters.
    Opaque,
    /// A UUID of version 4 (RFC 9562): version 7 would tell when the token was made.
    Uuid,
    /// Nineteen digits that start with 9 and fail the check digit.
    Num19,
    /// First six and last four digits kept, letters and digits between, at least one letter.
    Bin6Last4Alnum,
    /// First six and last four digits kept, digits between that make the check digit wrong.
    Bin6Last4LuhnInvalid,
    /// First eight and last four digits kept, letters and digits between, at least one letter.
    Bin8Last4Alnum,
}

/// Why a domain cannot have a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// There is none of that name.
    #[error(
        "there is no such token format; use opaque, uuid, num19, bin6-last4-alnum, bin6-last4-luhn-invalid or bin8-last4-alnum"
    )]
    Unknown,
    /// Too few tokens: they would run out, or could be guessed.
    #[error(
        "the format {format} leaves {capacity} for a card number of {digits} digits with the same kept digits, fewer \
         than the {CAPACITY_MIN} that are safe; use opaque, or keep fewer digits, or allow letters"
    )]
    TooSmall {
        /// The format.
        format: &'static str,
        /// Digits of the card number.
        digits: u8,
        /// How many there are.
        capacity: Capacity,
    },
    /// A token could be taken for a card number.
    #[error("tokens of the format {format} could be card numbers, which no token may be; use bin6-last4-luhn-invalid")]
    MayBePan {
        /// The format.
        format: &'static str,
    },
}

/// Formats that other products offer and this one refuses: kept digits in front, and whether the check digit holds.
const REFUSED: [(&str, u32, bool); 4] = [
    ("bin6-last4-luhn-valid", 6, true),
    ("bin8-last4-luhn-valid", 8, true),
    ("bin6-last4-digits", 6, true),
    ("bin8-last4-luhn-invalid", 8, false),
];

/// Length of the usual card number, for the arithmetic of a format that is refused whatever the card.
const USUAL_DIGITS: u8 = 16;

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Opaque, Self::Uuid, Self::Num19, Self::Bin6Last4Alnum, Self::Bin6Last4LuhnInvalid, Self::Bin8Last4Alnum];

    /// The word in requests and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Uuid => "uuid",
            Self::Num19 => "num19",
            Self::Bin6Last4Alnum => "bin6-last4-alnum",
            Self::Bin6Last4LuhnInvalid => "bin6-last4-luhn-invalid",
            Self::Bin8Last4Alnum => "bin8-last4-alnum",
        }
    }

    /// The format of that word.
    ///
    /// # Errors
    /// [`BadFormat`], with the arithmetic where somebody asks for a format that is known to be too small.
    pub fn parse(word: &str) -> Result<Self, BadFormat> {
        if let Some(format) = Self::ALL.into_iter().find(|format| format.as_str() == word) {
            return Ok(format);
        }
        match REFUSED.into_iter().find(|(name, ..)| *name == word) {
            None => Err(BadFormat::Unknown),
            Some((format, _, true)) => Err(BadFormat::MayBePan { format }),
            Some((format, kept, false)) => {
                let capacity = Capacity::luhn_invalid(u32::from(USUAL_DIGITS).saturating_sub(kept + 4));
                Err(BadFormat::TooSmall { format, digits: USUAL_DIGITS, capacity })
            }
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::Opaque => 1,
            Self::Uuid => 2,
            Self::Num19 => 3,
            Self::Bin6Last4Alnum => 4,
            Self::Bin6Last4LuhnInvalid => 5,
            Self::Bin8Last4Alnum => 6,
        }
    }

    /// The format of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.number() == number)
    }

    /// How many tokens there are for card numbers of one length that share the digits which the format keeps. For formats
    /// that keep none: how many there are in a domain.
    pub fn capacity(self, digits: u8) -> Capacity {
        let open = u32::from(digits).saturating_sub(self.kept());
        match self {
            Self::Opaque => Capacity::all(2, 128),
            Self::Uuid => Capacity::all(2, 122),
            Self::Num19 => Capacity::luhn_invalid(18),
            Self::Bin6Last4Alnum | Self::Bin8Last4Alnum => Capacity::with_a_letter(open),
            Self::Bin6Last4LuhnInvalid => Capacity::luhn_invalid(open),
        }
    }

    /// Whether there are enough tokens for a card number of that length.
    ///
    /// # Errors
    /// [`BadFormat::TooSmall`].
    pub fn fits(self, digits: u8) -> Result<Capacity, BadFormat> {
        let capacity = self.capacity(digits);
        if capacity.tokens() >= CAPACITY_MIN {
            Ok(capacity)
        } else {
            Err(BadFormat::TooSmall { format: self.as_str(), digits, capacity })
        }
    }

    /// Digits of the card number that a token repeats, four of them at its end.
    fn kept(self) -> u32 {
        match self {
            Self::Opaque | Self::Uuid | Self::Num19 => 0,
            Self::Bin6Last4Alnum | Self::Bin6Last4LuhnInvalid => 10,
            Self::Bin8Last4Alnum => 12,
        }
    }

    /// Digits of the card number that a token starts with.
    fn kept_first(self) -> usize {
        self.kept().saturating_sub(4) as usize
    }
}
