//! Drawing a token, and telling whether something could be one.

use super::{BadFormat, Format};
use crate::bind::of_domain;
use crate::luhn;
use crate::pan::Pan;
use rand_core::CryptoRng;
use tally_domain::digest::TaggedHash;
use tally_domain::token::{Token, TokenDomain};

/// Draws of one token before its format is taken for broken. Of the formats that refuse some draws, the worst refuses one
/// in ten, so honest randomness does not get there.
const DRAWS_MAX: u32 = 128;

/// RFC 4648 base 32 in lower case: no 0, 1, 8 or 9, which are mistaken for letters.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Letters and digits of the formats that look like a card number.
const ALNUM: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

const DIGITS: &[u8; 10] = b"0123456789";

const OPAQUE_PREFIX: &str = "tok_";

/// Characters of an opaque token that name its domain: a token of another domain is seen at a glance.
const DOMAIN_CHARS: u32 = 4;

/// Characters that hold 128 bits.
const BODY_CHARS: u32 = 26;

/// Check characters: of a thousand mistyped tokens one gets through to the vault.
const CHECK_CHARS: u32 = 2;

/// Why no token was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// The caller's card number is too short for the domain's format.
    #[error(transparent)]
    Format(#[from] BadFormat),
    /// Our bug, or a generator that is broken: what was drawn was a card number, or never a token.
    #[error("no token could be drawn; the generator of randomness is broken")]
    Randomness,
}

impl Format {
    /// Draws a token for a card number in a domain. Whether it is free is for the vault to say.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn draw<R: CryptoRng + ?Sized>(self, domain: &TokenDomain, pan: &Pan, rng: &mut R) -> Result<Token, DrawError> {
        self.fits(pan.digits())?;
        for _ in 0..DRAWS_MAX {
            let text = self.draw_once(domain, pan, rng);
            if Pan::parse(text.as_bytes()).is_err() && self.is_shape(domain, &text) {
                return Token::parse(&text).map_err(|_| DrawError::Randomness);
            }
        }
        Err(DrawError::Randomness)
    }

    /// Whether a token could be one of this domain: what could not need not be looked for.
    pub fn admits(self, domain: &TokenDomain, token: &Token) -> bool {
        self.is_shape(domain, token.as_str())
    }

    fn draw_once<R: CryptoRng + ?Sized>(self, domain: &TokenDomain, pan: &Pan, rng: &mut R) -> String {
        match self {
            Self::Opaque => opaque(domain, random(rng)),
            Self::Uuid => uuid(random(rng)),
            Self::Num19 => format!("9{}", symbols(DIGITS, 18, rng)),
            Self::Bin6Last4Alnum | Self::Bin8Last4Alnum => self.around(pan, ALNUM, rng),
            Self::Bin6Last4LuhnInvalid => self.around(pan, DIGITS, rng),
        }
    }

    /// The kept digits with others between them.
    fn around<R: CryptoRng + ?Sized>(self, pan: &Pan, alphabet: &[u8], rng: &mut R) -> String {
        let open = u32::from(pan.digits()).saturating_sub(self.kept());
        format!("{}{}{}", pan.first(self.kept_first()), symbols(alphabet, open, rng), pan.last())
    }

    fn is_shape(self, domain: &TokenDomain, text: &str) -> bool {
        match self {
            Self::Opaque => {
                let end = text.len().saturating_sub(CHECK_CHARS as usize);
                let body = text.strip_prefix(OPAQUE_PREFIX).and_then(|rest| rest.strip_prefix(&domain_chars(domain)));
                let length = (BODY_CHARS + CHECK_CHARS) as usize;
                body.is_some_and(|body| body.len() == length && body.bytes().all(|b| BASE32.contains(&b)))
                    && text.split_at_checked(end).is_some_and(|(stem, check)| check_chars(stem) == check)
            }
            Self::Uuid => is_uuid(text),
            Self::Num19 => text.len() == 19 && text.starts_with('9') && is_luhn_invalid(text),
            Self::Bin6Last4LuhnInvalid => self.is_kept_shape(text) && is_luhn_invalid(text),
            Self::Bin6Last4Alnum | Self::Bin8Last4Alnum => {
                let letter = text.bytes().any(|b| b.is_ascii_uppercase());
                letter && self.is_kept_shape(text) && text.bytes().all(|b| ALNUM.contains(&b))
            }
        }
    }

    /// Whether the digits that would be kept are digits.
    fn is_kept_shape(self, text: &str) -> bool {
        let last = text.len().saturating_sub(4);
        let kept = |at: usize| at < self.kept_first() || at >= last;
        let fits = u8::try_from(text.len()).is_ok_and(|digits| self.fits(digits).is_ok());
        fits && text.len() <= 19 && text.bytes().enumerate().all(|(at, b)| !kept(at) || b.is_ascii_digit())
    }
}

fn opaque(domain: &TokenDomain, random: [u8; 16]) -> String {
    let stem = format!("{OPAQUE_PREFIX}{}{}", domain_chars(domain), base32(u128::from_be_bytes(random), BODY_CHARS));
    let check = check_chars(&stem);
    stem + &check
}

fn domain_chars(domain: &TokenDomain) -> String {
    base32(low_bits(of_domain("tally/v1/token-domain", domain)), DOMAIN_CHARS)
}

fn check_chars(stem: &str) -> String {
    base32(low_bits(TaggedHash::new("tally/v1/token-check").field(stem.as_bytes())), CHECK_CHARS)
}

fn low_bits(hash: TaggedHash) -> u128 {
    hash.finish().0.iter().take(16).fold(0, |n, b| (n << 8) | u128::from(*b))
}

/// The lowest bits of a number, five a character, lowest first.
fn base32(number: u128, chars: u32) -> String {
    symbols_of(BASE32, (0..chars).map(|place| (number >> (5 * place)) as usize))
}

fn uuid(mut bytes: [u8; 16]) -> String {
    // RFC 9562, section 5.4: four bits of version, two of variant.
    let marked = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    bytes = marked.to_be_bytes();
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            14 => b == b'4',
            19 => matches!(b, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_luhn_invalid(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && !luhn::is_valid(text.bytes().map(|b| b.wrapping_sub(b'0')))
}

fn random<R: CryptoRng + ?Sized>(rng: &mut R) -> [u8; 16] {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Symbols drawn evenly: the remainder of 64 bits by at most 36 is even to one part in 2^58.
fn symbols<R: CryptoRng + ?Sized>(alphabet: &[u8], count: u32, rng: &mut R) -> String {
    let size = alphabet.len() as u64;
    symbols_of(alphabet, (0..count).map(|_| (rng.next_u64() % size) as usize))
}

/// The symbols at these places of an alphabet, counted around.
fn symbols_of(alphabet: &[u8], places: impl Iterator<Item = usize>) -> String {
    places.filter_map(|place| alphabet.get(place % alphabet.len())).map(|b| char::from(*b)).collect()
}
