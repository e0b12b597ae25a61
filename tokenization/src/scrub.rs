//! The last line: takes card numbers out of bytes that are about to be logged. Nothing should reach it.
//!
//! What counts as one: 13 to 19 digits, in one piece or in groups of two to six with a space or dash between, with a right
//! check digit, of a brand's range and length, and no letter on either side. The letters keep it off hexadecimal digests and
//! our own ids; ranges keep it off times. Not seen are a card number that is glued to a letter, and the rare ones of 12 digits,
//! which parts of UUIDs look like. In groups, the first that complete a card number are taken.

use crate::{brand, luhn};
use tally_domain::token::Brand;
use zeroize::Zeroizing;

/// What stands for a card number.
pub const MASK: &[u8] = b"[PAN]";

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = crate::pan::DIGITS_MAX as usize;

/// Digits in one of several groups: cards are printed 4-4-4-4, 4-6-5 and 4-6-4.
const GROUPED: std::ops::RangeInclusive<usize> = 2..=6;

/// Reads a stream in pieces, and gives it on without card numbers. Holds back at most one possible card number.
#[derive(Default)]
pub struct Scrubber {
    /// Digits and separators that are not given on yet: whole groups, each with its separator, then the unfinished one.
    held: Zeroizing<Vec<u8>>,
    /// Digits in each whole group that is held.
    groups: Vec<usize>,
    /// Digits in the unfinished group.
    open: usize,
    /// Inside a word or a number too long to be a card's, whose digits are left alone.
    word: bool,
    masked: u64,
}

impl Scrubber {
    /// Starts a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on; what is known to be no card number is added to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            match byte {
                b'0'..=b'9' if self.word => out.push(*byte),
                b'0'..=b'9' => self.digit(*byte, out),
                b' ' | b'-' if self.open > 0 => {
                    self.end_group(out);
                    self.separator(*byte, out);
                }
                b'a'..=b'z' | b'A'..=b'Z' => {
                    self.give(out);
                    self.word = true;
                    out.push(*byte);
                }
                _ => {
                    self.end_group(out);
                    self.give(out);
                    self.word = false;
                    out.push(*byte);
                }
            }
        }
    }

    /// The stream ends: gives the rest. How many card numbers there were.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        self.end_group(out);
        self.give(out);
        self.masked
    }

    /// How many card numbers there were so far.
    pub fn masked(&self) -> u64 {
        self.masked
    }

    fn digit(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held.push(byte);
        self.open += 1;
        if self.open > DIGITS_MAX {
            self.give(out);
            self.word = true;
        }
    }

    /// A separator belongs to what is held; after a card number nothing is.
    fn separator(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.groups.is_empty() {
            out.push(byte);
        } else {
            self.held.push(byte);
        }
    }

    /// The group at the end of what is held is whole: is it, alone or with groups before it, a card number?
    fn end_group(&mut self, out: &mut Vec<u8>) {
        if self.open == 0 {
            return;
        }
        self.groups.push(std::mem::take(&mut self.open));
        while self.groups.iter().sum::<usize>() > DIGITS_MAX {
            let first = self.groups.remove(0) + 1;
            self.give_first(first, out);
        }
        let mut start = 0;
        for (at, group) in self.groups.iter().enumerate() {
            let rest = self.groups.get(at..).unwrap_or_default();
            if is_grouping(rest) && is_card(self.held.get(start..).unwrap_or_default()) {
                self.give_first(start, out);
                out.extend_from_slice(MASK);
                self.masked += 1;
                self.held.clear();
                self.groups.clear();
                return;
            }
            start += group + 1;
        }
    }

    fn give_first(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let bytes = bytes.min(self.held.len());
        out.extend(self.held.drain(..bytes));
    }

    fn give(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.groups.clear();
        self.open = 0;
    }
}

/// Takes card numbers out of a whole text; how many there were.
pub fn scrub(text: &[u8]) -> (Vec<u8>, u64) {
    let (mut scrubber, mut out) = (Scrubber::new(), Vec::with_capacity(text.len()));
    scrubber.feed(text, &mut out);
    let masked = scrubber.finish(&mut out);
    (out, masked)
}

fn is_grouping(groups: &[usize]) -> bool {
    groups.len() == 1 || groups.iter().all(|digits| GROUPED.contains(digits))
}

fn is_card(text: &[u8]) -> bool {
    let digits: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().filter(|b| b.is_ascii_digit()).map(|b| b.wrapping_sub(b'0')).collect());
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
        && luhn::is_valid(digits.iter().copied())
        && brand::of(digits.iter().copied()) != Brand::Unknown
}
