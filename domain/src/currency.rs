//! Currencies of bank money.

use crate::facts::Amount;
use std::fmt;

/// ISO 4217: code and decimals of the minor unit. What is not here is refused: with wrong decimals an amount would be
/// wrong by factors of ten.
#[rustfmt::skip]
const CURRENCIES: [(&str, u8); 92] = [
    ("AED", 2), ("ALL", 2), ("AMD", 2), ("ARS", 2), ("AUD", 2), ("AZN", 2), ("BAM", 2), ("BBD", 2), ("BDT", 2), ("BGN", 2),
    ("BHD", 3), ("BND", 2), ("BOB", 2), ("BRL", 2), ("BSD", 2), ("BWP", 2), ("BZD", 2), ("CAD", 2), ("CHF", 2), ("CLP", 0),
    ("CNY", 2), ("COP", 2), ("CRC", 2), ("CZK", 2), ("DKK", 2), ("DOP", 2), ("DZD", 2), ("EGP", 2), ("ETB", 2), ("EUR", 2),
    ("FJD", 2), ("GBP", 2), ("GEL", 2), ("GHS", 2), ("GTQ", 2), ("HKD", 2), ("HUF", 2), ("IDR", 2), ("ILS", 2), ("INR", 2),
    ("IQD", 3), ("ISK", 0), ("JMD", 2), ("JOD", 3), ("JPY", 0), ("KES", 2), ("KHR", 2), ("KRW", 0), ("KWD", 3), ("KZT", 2),
    ("LKR", 2), ("LYD", 3), ("MAD", 2), ("MDL", 2), ("MKD", 2), ("MUR", 2), ("MXN", 2), ("MYR", 2), ("NAD", 2), ("NGN", 2),
    ("NOK", 2), ("NPR", 2), ("NZD", 2), ("OMR", 3), ("PAB", 2), ("PEN", 2), ("PHP", 2), ("PKR", 2), ("PLN", 2), ("PYG", 0),
    ("QAR", 2), ("RON", 2), ("RSD", 2), ("RUB", 2), ("RWF", 0), ("SAR", 2), ("SEK", 2), ("SGD", 2), ("THB", 2), ("TND", 3), ("TRY", 2),
    ("TWD", 2), ("TZS", 2), ("UAH", 2), ("UGX", 0), ("USD", 2), ("UYU", 2), ("VND", 0), ("XAF", 0), ("XOF", 0), ("XPF", 0),
    ("ZAR", 2),
];

/// A currency and the decimals of its minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    code: &'static str,
    decimals: u8,
}

impl Currency {
    /// The currency of this ISO 4217 code.
    pub fn parse(code: &str) -> Option<Self> {
        let (code, decimals) = CURRENCIES.into_iter().find(|(known, _)| *known == code)?;
        Some(Self { code, decimals })
    }

    /// Its ISO 4217 code.
    pub fn code(self) -> &'static str {
        self.code
    }

    /// How many decimals its minor unit has.
    pub fn decimals(self) -> u8 {
        self.decimals
    }

    /// An amount of minor units in whole ones: `1234.50`.
    pub fn units(self, amount: &Amount) -> String {
        let places = usize::from(self.decimals);
        let digits = format!("{:0>width$}", amount.to_string(), width = places + 1);
        match digits.split_at_checked(digits.len() - places) {
            Some((whole, part)) if places > 0 => format!("{whole}.{part}"),
            _ => digits,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_once_and_by_their_exact_letters() {
        assert!(CURRENCIES.is_sorted_by(|a, b| a.0 < b.0));
        for (code, decimals) in [("EUR", 2), ("JPY", 0), ("KWD", 3)] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!((currency.code(), currency.decimals()), (code, decimals));
        }
        for unknown in ["eur", "EUR ", "EU", "", "XXX", "DEM", "BTC"] {
            assert_eq!(Currency::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn amounts_are_shown_with_the_currencys_decimals() {
        let show = |code, n: u128| Currency::parse(code).unwrap().units(&Amount::from(n));
        assert_eq!(show("EUR", 0), "0.00");
        assert_eq!(show("EUR", 5), "0.05");
        assert_eq!(show("EUR", 123_450), "1234.50");
        assert_eq!(show("JPY", 1_234), "1234");
        assert_eq!(show("KWD", 1), "0.001");
    }
}
