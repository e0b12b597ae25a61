//! The check digit of ISO/IEC 7812-1, annex B.

/// Whether the last of these digits is the check digit of those before it. Digits are 0 to 9, not ASCII.
pub fn is_valid(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    digits.rev().zip(0_u32..).map(|(digit, place)| weight(u32::from(digit), place)).sum::<u32>() % 10 == 0
}

/// A digit's share of the sum, `place` places left of the check digit: every second one counts twice, cast out nines.
fn weight(digit: u32, place: u32) -> u32 {
    match (place % 2, digit * 2) {
        (0, _) => digit,
        (_, twice @ 0..=9) => twice,
        (_, twice) => twice - 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> bool {
        is_valid(text.bytes().map(|b| b - b'0'))
    }

    #[test]
    fn published_examples() {
        // US patent 2,950,048 (Luhn, 1960), and the usual one of ISO/IEC 7812-1's readers.
        assert!(valid("79927398713"));
        for wrong in "012456789".chars() {
            assert!(!valid(&format!("7992739871{wrong}")));
        }
    }

    #[test]
    fn any_one_wrong_digit_and_most_swaps_are_noticed() {
        let good = b"4111111111111111";
        for (at, new) in (0..good.len()).flat_map(|at| (b'0'..=b'9').map(move |new| (at, new))) {
            let mut bad = *good;
            bad[at] = new;
            assert_eq!(valid(std::str::from_utf8(&bad).unwrap()), bad == *good);
        }
    }
}
