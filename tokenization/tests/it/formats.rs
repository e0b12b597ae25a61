//! Formats: what is drawn has the shape, is never a card number, and there are as many as the arithmetic says.

use crate::helpers::{acme, domain, pan, rng, with_check_digit};
use proptest::prelude::*;
use rand_core::{TryCryptoRng, TryRng};
use std::collections::BTreeSet;
use std::convert::Infallible;
use tally_domain::token::Token;
use tally_tokenization::format::{BadFormat, CAPACITY_MIN, DrawError, Load};
use tally_tokenization::{Format, Pan};

const VISA: &str = "4111111111111111";

/// A generator that is broken: it always gives the same byte.
struct Stuck(u8);

impl TryRng for Stuck {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        Ok(())
    }
}
impl TryCryptoRng for Stuck {}

fn too_small(result: Result<impl Sized, BadFormat>) -> String {
    match result.err() {
        Some(e @ BadFormat::TooSmall { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn capacities_are_those_of_the_reference() {
    let tokens = |format: Format, digits| format.capacity(digits).tokens();
    assert_eq!(tokens(Format::Num19, 16), 900_000_000_000_000_000);
    assert_eq!(tokens(Format::Bin6Last4Alnum, 16), 36_u128.pow(6) - 1_000_000);
    assert_eq!(tokens(Format::Bin6Last4LuhnInvalid, 16), 900_000);
    assert_eq!(tokens(Format::Bin8Last4Alnum, 16), 36_u128.pow(4) - 10_000);
    assert_eq!(tokens(Format::Uuid, 16), 1 << 122);
    assert_eq!(tokens(Format::Opaque, 16), u128::MAX);
    assert_eq!(Format::Opaque.capacity(16).to_string(), "2^128 tokens");
    assert_eq!(Format::Bin8Last4Alnum.capacity(16).to_string(), "36^4 - 10^4 = 1669616 tokens");
}

#[test]
fn formats_that_are_too_small_are_refused_with_the_arithmetic() {
    let said = too_small(Format::parse("bin8-last4-luhn-invalid"));
    assert!(said.contains("10^4 - 10^3 = 9000 tokens"), "{said}");
    let said = too_small(Format::Bin6Last4LuhnInvalid.fits(15));
    assert!(said.contains("10^5 - 10^4 = 90000 tokens") && said.contains("15 digits"), "{said}");
    let said = too_small(Format::Bin8Last4Alnum.fits(15));
    assert!(said.contains("36^3 - 10^3 = 45656 tokens"), "{said}");
    too_small(Format::Bin6Last4Alnum.fits(13));
    for (format, least) in [
        (Format::Opaque, 12),
        (Format::Uuid, 12),
        (Format::Num19, 12),
        (Format::Bin6Last4Alnum, 14),
        (Format::Bin6Last4LuhnInvalid, 16),
        (Format::Bin8Last4Alnum, 16),
    ] {
        assert!((least..=19).all(|digits| format.fits(digits).unwrap().tokens() >= CAPACITY_MIN), "{format:?}");
        assert!((12..least).all(|digits| format.fits(digits).is_err()), "{format:?}");
    }
}

#[test]
fn formats_whose_tokens_could_be_card_numbers_are_refused() {
    for word in ["bin6-last4-luhn-valid", "bin8-last4-luhn-valid", "bin6-last4-digits"] {
        let error = Format::parse(word).unwrap_err();
        assert!(matches!(error, BadFormat::MayBePan { .. }) && error.to_string().contains(word));
    }
    assert_eq!(Format::parse("Opaque"), Err(BadFormat::Unknown));
    for format in Format::ALL {
        assert_eq!(Format::parse(format.as_str()), Ok(format));
        assert_eq!(Format::from_number(format.number()), Some(format));
    }
}

/// Counts instead of trusting the formula: of all settings of the open digits, nine in ten fail the check digit.
#[test]
fn the_share_of_settings_that_fail_the_check_digit_is_exact() {
    for (front, back) in [("37828", "0005"), ("22230", "3222"), ("41111", "1111")] {
        let invalid = (0..10_000).filter(|middle| Pan::parse(format!("{front}{middle:04}{back}").as_bytes()).is_err());
        assert_eq!(invalid.count() as u128, Format::Bin6Last4LuhnInvalid.capacity(14).tokens());
    }
}

#[test]
fn tokens_have_their_formats_shape() {
    let mut rng = rng(1);
    let token = Format::Opaque.draw(&acme(), &pan(VISA), &mut rng).unwrap();
    assert!(token.as_str().starts_with("tok_") && token.as_str().len() == 36, "{token}");
    let token = Format::Num19.draw(&acme(), &pan(VISA), &mut rng).unwrap();
    assert!(token.as_str().starts_with('9') && token.as_str().len() == 19, "{token}");
    for (format, front) in [
        (Format::Bin6Last4Alnum, "411111"),
        (Format::Bin6Last4LuhnInvalid, "411111"),
        (Format::Bin8Last4Alnum, "41111111"),
    ] {
        let token = format.draw(&acme(), &pan(VISA), &mut rng).unwrap();
        assert!(token.as_str().starts_with(front) && token.as_str().ends_with("1111"), "{token}");
        assert_eq!(token.as_str().len(), 16);
    }
    // RFC 9562: version 4, variant 10.
    let token = Format::Uuid.draw(&acme(), &pan(VISA), &mut Stuck(0xff)).unwrap();
    assert_eq!(token.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    let token = Format::Uuid.draw(&acme(), &pan(VISA), &mut Stuck(0)).unwrap();
    assert_eq!(token.as_str(), "00000000-0000-4000-8000-000000000000");
}

/// Frozen: tokens that were issued must go on being recognised.
#[test]
fn an_opaque_token_that_was_issued_stays_one() {
    let token = Format::Opaque.draw(&acme(), &pan(VISA), &mut Stuck(0xa5)).unwrap();
    assert_eq!(token.as_str(), FROZEN);
    assert!(Format::Opaque.admits(&acme(), &token));
}

const FROZEN: &str = "tok_kmpnfnjl2swufnjl2swufnjl2swuff5s";

#[test]
fn a_mistyped_opaque_token_and_one_of_another_domain_are_seen() {
    let token = Format::Opaque.draw(&acme(), &pan(VISA), &mut rng(2)).unwrap();
    for other in [domain("acme", "other"), domain("globex", "cards"), domain("acme-cards", "x")] {
        assert!(!Format::Opaque.admits(&other, &token), "{other}");
    }
    let mut passed = 0;
    for (at, new) in (8..36).flat_map(|at| b"abcdefghijklmnopqrstuvwxyz234567".map(|new| (at, new))) {
        let mut text = token.as_str().as_bytes().to_vec();
        if text[at] != new {
            text[at] = new;
            let mistyped = Token::parse(std::str::from_utf8(&text).unwrap()).unwrap();
            passed += u32::from(Format::Opaque.admits(&acme(), &mistyped));
        }
    }
    assert!(passed <= 4, "{passed} of {} mistyped tokens were taken", 28 * 31);
}

#[test]
fn no_format_admits_a_card_number_or_nonsense() {
    let nines = with_check_digit(&"9".repeat(18));
    let numbers = [VISA, "378282246310005", "6205500000000000004", &nines];
    for text in numbers.into_iter().chain(["tok_", "a", "41111A1111", "4111111111111111111A", "9", "----"]) {
        let token = Token::parse(text).unwrap();
        assert!(Format::ALL.iter().all(|format| !format.admits(&acme(), &token)), "{text}");
    }
}

#[test]
fn a_generator_that_is_stuck_gives_no_card_number() {
    for byte in 0..=255 {
        for format in Format::ALL {
            match format.draw(&acme(), &pan(VISA), &mut Stuck(byte)) {
                Ok(token) => assert!(Pan::parse(token.as_str().as_bytes()).is_err()),
                Err(e) => assert_eq!(e, DrawError::Randomness),
            }
        }
    }
    // All digits and no letter, for ever: refused instead of issued or awaited.
    assert_eq!(Format::Bin6Last4Alnum.draw(&acme(), &pan(VISA), &mut Stuck(0)), Err(DrawError::Randomness));
}

#[test]
fn every_symbol_is_drawn_about_as_often() {
    let (mut rng, mut counts) = (rng(3), [0_u32; 128]);
    let draws = 3_600;
    for _ in 0..draws {
        let token = Format::Bin6Last4Alnum.draw(&acme(), &pan(VISA), &mut rng).unwrap();
        token.as_str().as_bytes()[6..12].iter().for_each(|b| counts[usize::from(*b)] += 1);
    }
    // Six symbols of 36 a draw: 600 of each, with a deviation of 24.
    for symbol in (b'0'..=b'9').chain(b'A'..=b'Z') {
        let count = counts[usize::from(symbol)];
        assert!((450..750).contains(&count), "{}: {count}", char::from(symbol));
    }
}

#[test]
fn buckets_are_counted_where_they_can_fill() {
    let bucket = Format::Bin6Last4LuhnInvalid.bucket(&pan(VISA)).unwrap();
    assert_eq!((bucket.name.as_str(), bucket.tokens_max), ("411111-1111-16", 450_000));
    let bucket = Format::Bin8Last4Alnum.bucket(&pan(VISA)).unwrap();
    assert_eq!((bucket.name.as_str(), bucket.tokens_max), ("41111111-1111-16", 834_808));
    for unfillable in [Format::Opaque, Format::Uuid, Format::Num19, Format::Bin6Last4Alnum] {
        assert_eq!(unfillable.bucket(&pan(VISA)), None);
    }
    let capacity = Format::Bin6Last4LuhnInvalid.capacity(16);
    let loads = [0, 224_999, 225_000, 449_999, 450_000, u64::MAX].map(|drawn| capacity.load(drawn));
    assert_eq!(loads, [Load::Light, Load::Light, Load::Heavy, Load::Heavy, Load::Full, Load::Full]);
}

proptest! {
    #[test]
    fn what_is_drawn_is_admitted_unlike_any_card_number_and_rarely_the_same(stem in "[1-9][0-9]{10,17}", seed: u64) {
        let (text, mut rng) = (with_check_digit(&stem), rng(seed));
        for format in Format::ALL {
            let drawn: Result<BTreeSet<_>, _> =
                (0..8).map(|_| format.draw(&acme(), &pan(&text), &mut rng)).collect();
            match drawn {
                Err(e) => prop_assert_eq!(e, DrawError::Format(format.fits(pan(&text).digits()).unwrap_err())),
                Ok(tokens) => {
                    prop_assert!(tokens.len() >= 7, "{:?}", tokens);
                    for token in tokens {
                        prop_assert!(format.admits(&acme(), &token));
                        prop_assert!(Pan::parse(token.as_str().as_bytes()).is_err());
                    }
                }
            }
        }
    }
}
