//! Brands, told from a card number's first six digits and its length.

use std::ops::RangeInclusive;
use tally_domain::token::Brand;

/// Digits that are looked at.
const PREFIX_DIGITS: u32 = 6;

/// First six digits from, to; the lengths that are issued; whose they are. The narrowest range that holds a number
/// decides, so a brand's own range wins over the wide one that it lies in.
///
/// Sources, read on 2026-11-21: braintree/credit-card-type (card-types.ts at 0bac61c) for all that it has; Wikipedia,
/// "Payment card number", for Visa's 13 digits, Diners 309, JCB's 15 digits, UATP, Verve, and RuPay's 81 and 82;
/// NPCI's ranges for RuPay's 508, 606 to 608 and 652. Networks add ranges; what is not here is `unknown`, not refused.
#[rustfmt::skip]
const RANGES: [(u32, u32, RangeInclusive<u8>, Brand); 64] = [
    (100_000, 199_999, 15..=15, Brand::Uatp),
    (180_000, 180_099, 15..=15, Brand::Jcb),
    (213_100, 213_199, 15..=15, Brand::Jcb),
    (220_000, 220_499, 16..=19, Brand::Mir),
    (222_100, 272_099, 16..=16, Brand::Mastercard),
    (300_000, 305_999, 14..=19, Brand::Diners),
    (309_000, 309_999, 14..=19, Brand::Diners),
    (340_000, 349_999, 15..=15, Brand::Amex),
    (352_800, 358_999, 16..=19, Brand::Jcb),
    (360_000, 369_999, 14..=19, Brand::Diners),
    (370_000, 379_999, 15..=15, Brand::Amex),
    (380_000, 399_999, 14..=19, Brand::Diners),
    (400_000, 499_999, 13..=19, Brand::Visa),
    (401_178, 401_179, 16..=16, Brand::Elo),
    (431_274, 431_274, 16..=16, Brand::Elo),
    (438_935, 438_935, 16..=16, Brand::Elo),
    (451_416, 451_416, 16..=16, Brand::Elo),
    (457_393, 457_393, 16..=16, Brand::Elo),
    (457_631, 457_632, 16..=16, Brand::Elo),
    (493_698, 493_698, 12..=19, Brand::Maestro),
    (500_000, 509_999, 12..=19, Brand::Maestro),
    (504_175, 504_175, 16..=16, Brand::Elo),
    (506_099, 506_198, 16..=19, Brand::Verve),
    (506_699, 506_778, 16..=16, Brand::Elo),
    (507_865, 507_964, 16..=19, Brand::Verve),
    (508_500, 508_999, 16..=16, Brand::RuPay),
    (509_000, 509_999, 16..=16, Brand::Elo),
    (510_000, 559_999, 16..=16, Brand::Mastercard),
    (560_000, 599_999, 12..=19, Brand::Maestro),
    (600_000, 699_999, 12..=19, Brand::Maestro),
    (601_100, 601_199, 16..=19, Brand::Discover),
    (606_282, 606_282, 16..=16, Brand::Hipercard),
    (606_985, 607_984, 16..=16, Brand::RuPay),
    (608_001, 608_500, 16..=16, Brand::RuPay),
    (620_000, 620_999, 14..=19, Brand::UnionPay),
    (621_000, 621_829, 14..=19, Brand::UnionPay),
    (621_840, 621_979, 14..=19, Brand::UnionPay),
    (622_000, 626_999, 14..=19, Brand::UnionPay),
    (627_000, 627_099, 14..=19, Brand::UnionPay),
    (627_200, 627_299, 14..=19, Brand::UnionPay),
    (627_600, 627_799, 14..=19, Brand::UnionPay),
    (627_780, 627_780, 16..=16, Brand::Elo),
    (628_200, 628_999, 14..=19, Brand::UnionPay),
    (629_100, 629_299, 14..=19, Brand::UnionPay),
    (636_297, 636_297, 16..=16, Brand::Elo),
    (636_368, 636_368, 16..=16, Brand::Elo),
    (637_095, 637_095, 16..=16, Brand::Hipercard),
    (637_568, 637_568, 16..=16, Brand::Hipercard),
    (637_599, 637_599, 16..=16, Brand::Hipercard),
    (637_609, 637_612, 16..=16, Brand::Hipercard),
    (644_000, 659_999, 16..=19, Brand::Discover),
    (650_002, 650_027, 16..=19, Brand::Verve),
    (650_031, 650_033, 16..=16, Brand::Elo),
    (650_035, 650_051, 16..=16, Brand::Elo),
    (650_405, 650_439, 16..=16, Brand::Elo),
    (650_485, 650_598, 16..=16, Brand::Elo),
    (650_700, 650_727, 16..=16, Brand::Elo),
    (650_901, 650_978, 16..=16, Brand::Elo),
    (651_652, 651_679, 16..=16, Brand::Elo),
    (652_150, 653_149, 16..=16, Brand::RuPay),
    (655_000, 655_058, 16..=16, Brand::Elo),
    (810_000, 817_199, 14..=19, Brand::UnionPay),
    (817_200, 819_999, 16..=16, Brand::RuPay),
    (820_000, 829_999, 16..=16, Brand::RuPay),
];

/// The brand of a card number of these digits (0 to 9, not ASCII). A length that the brand does not issue makes it unknown.
pub fn of(digits: impl ExactSizeIterator<Item = u8>) -> Brand {
    let length = digits.len();
    let prefix = digits.zip(0..PREFIX_DIGITS).fold(0, |n, (digit, _)| n * 10 + u32::from(digit));
    RANGES
        .iter()
        .filter(|(from, to, ..)| (*from..=*to).contains(&prefix))
        .min_by_key(|(from, to, ..)| to - from)
        .filter(|(_, _, lengths, _)| u8::try_from(length).is_ok_and(|length| lengths.contains(&length)))
        .map_or(Brand::Unknown, |(.., brand)| *brand)
}

/// The lengths in which a brand issues card numbers; of the unknown, those of any.
pub fn lengths(brand: Brand) -> RangeInclusive<u8> {
    let of_brand = || RANGES.iter().filter(|(.., b)| *b == brand).map(|(_, _, lengths, _)| lengths);
    match (brand, of_brand().map(|l| *l.start()).min(), of_brand().map(|l| *l.end()).max()) {
        (Brand::Unknown, ..) | (_, None, _) | (_, _, None) => crate::pan::DIGITS_MIN..=crate::pan::DIGITS_MAX,
        (_, Some(min), Some(max)) => min..=max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order_and_nest_or_are_apart() {
        assert!(RANGES.is_sorted_by_key(|(from, ..)| *from));
        for (a, b) in RANGES.iter().flat_map(|a| RANGES.iter().map(move |b| (a, b))) {
            let apart = a.1 < b.0 || b.1 < a.0;
            let nested = (a.0 >= b.0 && a.1 <= b.1) || (b.0 >= a.0 && b.1 <= a.1);
            assert!(apart || nested, "{a:?} {b:?}");
        }
    }

    #[test]
    fn every_brand_has_lengths() {
        for brand in Brand::ALL {
            assert!(!lengths(*brand).is_empty(), "{brand:?}");
        }
        assert_eq!(lengths(Brand::Amex), 15..=15);
    }
}
