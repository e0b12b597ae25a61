//! Amounts in whole units for rules: exact 256-bit arithmetic, rounded up to the 4 places that Cedar's `decimal` has.

use tally_domain::facts::Amount;

/// Places after the point of Cedar's `decimal`.
const PLACES: u8 = 4;

/// Most decimals an asset can have: 10^77 is the largest power of ten in 256 bits.
pub(crate) const DECIMALS_MAX: u8 = 77;

/// The amount in whole units as Cedar writes a `decimal`, rounded up. None when it is more than a `decimal` can hold.
pub(crate) fn whole_units(amount: &Amount, decimals: u8) -> Option<String> {
    let mut number = amount.0;
    let mut rest = false;
    for _ in PLACES..decimals {
        rest |= divide_by_ten(&mut number) != 0;
    }
    let (high, low) = number.split_last_chunk::<16>()?;
    if high.iter().any(|b| *b != 0) {
        return None;
    }
    let scale = 10u128.checked_pow(u32::from(PLACES.saturating_sub(decimals)))?;
    let steps = u128::from_be_bytes(*low).checked_mul(scale)?.checked_add(u128::from(rest))?;
    // Cedar's decimal is an i64 that counts ten-thousandths.
    let steps = i64::try_from(steps).ok()?;
    Some(format!("{}.{:04}", steps / 10_000, steps % 10_000))
}

/// Divides a big-endian number in place and gives the remainder.
fn divide_by_ten(number: &mut [u8; 32]) -> u16 {
    number.iter_mut().fold(0, |carry, digit| {
        let n = carry * 256 + u16::from(*digit);
        // n < 10 * 256, so the quotient is below 256.
        *digit = (n / 10) as u8;
        n % 10
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(n: u128, decimals: u8) -> Option<String> {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&n.to_be_bytes());
        whole_units(&Amount(bytes), decimals)
    }

    #[test]
    fn amounts_are_rounded_up_to_four_places() {
        for (n, decimals, text) in [
            (0, 18, "0.0000"),
            (1, 18, "0.0001"),
            (1_000_000_000, 6, "1000.0000"),
            (1_000_000_010, 6, "1000.0001"),
            (1_000_000_100, 6, "1000.0001"),
            (1_000_000_101, 6, "1000.0002"),
            (7, 0, "7.0000"),
            (7, 3, "0.0070"),
            (7, 4, "0.0007"),
            (u128::MAX, 77, "0.0001"),
        ] {
            assert_eq!(units(n, decimals).as_deref(), Some(text), "{n} with {decimals} decimals");
        }
    }

    #[test]
    fn what_a_decimal_cannot_hold_is_none() {
        let most = i64::MAX as u128;
        assert_eq!(units(most, 4).as_deref(), Some("922337203685477.5807"));
        assert_eq!(units(most + 1, 4), None);
        assert_eq!(units(most * 100, 6).as_deref(), Some("922337203685477.5807"));
        assert_eq!(units(most * 100 + 1, 6), None);
        assert_eq!(units(u128::MAX, 0), None);
        assert_eq!(whole_units(&Amount([0xff; 32]), 18), None);
        // 2^256 - 1 with 77 decimals is 1.157920892..
        assert_eq!(whole_units(&Amount([0xff; 32]), 77).as_deref(), Some("1.1580"));
    }
}
