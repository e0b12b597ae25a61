//! Card numbers and tokens as they are typed, and what keeps card numbers out of logs.

use crate::target::Verdict;
use tally_domain::token::Token;
use tally_tokenization::pan::{DIGITS_MAX, DIGITS_MIN, Form, HIDDEN_MIN, Shown};
use tally_tokenization::scrub::Scrubber;
use tally_tokenization::{Pan, luhn};

pub const WORDS: &[&str] = &[
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    " ",
    "-",
    ",",
    "\"pan\":",
    "{",
    "}",
    "\"subject\":\"c-1\"",
    "tok_",
    "\u{feff}",
    "\"",
    "\r\n",
    "\\u0034",
    "4111 1111 1111 1111",
];

fn scrubbed(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut scrubber, mut out) = (Scrubber::new(), Vec::new());
    pieces.iter().for_each(|piece| scrubber.feed(piece, &mut out));
    scrubber.finish(&mut out);
    out
}

/// Reads a card number, or a token, and takes card numbers out of the bytes.
pub fn card(bytes: &[u8]) -> Verdict {
    let clean = scrubbed(&[bytes]);
    assert_eq!(scrubbed(&[&clean]), clean, "a card number was left");
    for at in [bytes.len() / 3, bytes.len() / 2] {
        assert_eq!(scrubbed(&[&bytes[..at], &bytes[at..]]), clean, "cut in two at {at}");
    }
    let token = std::str::from_utf8(bytes).ok().and_then(|text| Token::parse(text).ok());
    assert!(token.as_ref().is_none_or(|token| token.as_str().as_bytes() == bytes));
    let read = Pan::parse(bytes);
    let Ok(pan) = read else {
        let why = read.err();
        return if token.is_some() { Verdict::Read("token".into()) } else { Verdict::refused(&why) };
    };
    let digits: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_digit).collect();
    assert_eq!(pan.expose(), digits, "other digits");
    assert!((DIGITS_MIN..=DIGITS_MAX).contains(&pan.digits()));
    assert!(luhn::is_valid(digits.iter().map(|d| d - b'0')), "a wrong check digit");
    let brand = format!("{:?} {}", pan.brand(), pan.digits());
    for form in [Form::Masked, Form::BinLast4] {
        let Ok(again) = Pan::parse(bytes) else { panic!("read twice") };
        let Shown::Part(shown) = again.show(form) else { panic!("all of it is shown") };
        let hidden = shown.bytes().filter(|b| *b == b'*').count();
        assert!(hidden >= HIDDEN_MIN && shown.len() == digits.len(), "{shown}");
    }
    Verdict::Read(brand)
}

pub fn cards() -> Vec<Vec<u8>> {
    let all = ["4111111111111111", "3782-822463-10005", "6304 0000 0000 0000", "tok_abcd", "9000000000000000001"];
    all.map(|text| text.as_bytes().to_vec()).into()
}
