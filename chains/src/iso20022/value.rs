//! The texts of elements: names, codes, dates, numbers and amounts, each in its one form.

use super::fault::{BadPayment, Fault, shown};
use super::fields::{no_attributes, unread};
use super::xml::Element;
use tally_domain::{Account, Currency};

/// Most digits of an amount or control sum (ISO 20022 `DecimalNumber` and amounts).
const DIGITS_MAX: usize = 18;

/// Most digits of a count (ISO 20022 `Max15NumericText`).
const COUNT_DIGITS_MAX: usize = 15;

/// A decimal number as written.
#[derive(Clone)]
pub(super) struct Decimal {
    /// All its digits, without the point.
    digits: u128,
    /// How many of them are behind the point.
    places: usize,
    /// For errors.
    pub(super) written: String,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
        let digits = || whole.bytes().chain(part.unwrap_or_default().bytes());
        let shaped = !whole.is_empty()
            && part.is_none_or(|p| !p.is_empty())
            && digits().all(|b| b.is_ascii_digit())
            && digits().count() <= DIGITS_MAX;
        // 18 digits fit, and each is one: nothing here can overflow.
        let value = || digits().fold(0u128, |n, b| n * 10 + u128::from(b - b'0'));
        shaped.then(|| Self { digits: value(), places: part.map_or(0, str::len), written: text.to_owned() })
    }

    /// The number in units of that many decimals; none when it is not a whole number of them.
    pub(super) fn minor_units(&self, decimals: u8) -> Option<u128> {
        let decimals = usize::from(decimals);
        // 18 digits, and 17 places or 3 decimals more: neither power is near the end of 128 bits.
        let power = |exponent: usize| 10u128.checked_pow(u32::try_from(exponent).ok()?);
        let coarser = power(self.places.saturating_sub(decimals))?;
        let finer = power(decimals.saturating_sub(self.places))?;
        self.digits.is_multiple_of(coarser).then(|| (self.digits / coarser).checked_mul(finer)).flatten()
    }
}

/// The text of an element that has nothing but text.
fn leaf(element: &Element) -> Result<&str, BadPayment> {
    no_attributes(element)?;
    childless(element)
}

fn childless(element: &Element) -> Result<&str, BadPayment> {
    match element.children.first() {
        Some(child) => Err(child.fault(Fault::Unknown { element: child.name.clone(), within: element.name.clone() })),
        None => Ok(&element.text),
    }
}

/// The fault of a value that is not of its form.
pub(super) fn wrong(element: &Element, want: &'static str) -> BadPayment {
    element.fault(Fault::Value { element: element.name.clone(), given: shown(&element.text), want })
}

/// The value as `read` understands it.
pub(super) fn value<T>(
    element: &Element,
    want: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, BadPayment> {
    read(leaf(element)?).ok_or_else(|| wrong(element, want))
}

/// Text for people, of at most 35 characters.
pub(super) fn id(element: &Element) -> Result<String, BadPayment> {
    value(element, "1 to 35 characters in one line", |s| for_people(s, 35))
}

/// Text for people, of at most 140 characters.
pub(super) fn name(element: &Element) -> Result<String, BadPayment> {
    value(element, "1 to 140 characters in one line", |s| for_people(s, 140))
}

/// A code of at most that many upper-case letters and digits.
pub(super) fn code(element: &Element, max: usize) -> Result<String, BadPayment> {
    value(element, "a code of upper-case letters and digits, not too long", |s| {
        let plain = s.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        ((1..=max).contains(&s.len()) && plain).then(|| s.to_owned())
    })
}

/// One of these codes.
pub(super) fn one_of(element: &Element, codes: &[&str], want: &'static str) -> Result<String, BadPayment> {
    value(element, want, |s| codes.contains(&s).then(|| s.to_owned()))
}

/// An account by its IBAN.
pub(super) fn iban(element: &Element) -> Result<Account, BadPayment> {
    let given = leaf(element)?;
    Account::iban(given).ok_or_else(|| element.fault(Fault::Iban { given: shown(given) }))
}

/// The currency of this code.
pub(super) fn currency(element: &Element, code: &str) -> Result<Currency, BadPayment> {
    Currency::parse(code).ok_or_else(|| element.fault(Fault::UnknownCurrency { code: shown(code) }))
}

/// The currency that an element names.
pub(super) fn currency_of(element: &Element) -> Result<Currency, BadPayment> {
    currency(element, leaf(element)?)
}

/// An amount with its currency, in minor units and more than none.
pub(super) fn amount(element: &Element) -> Result<(Currency, u128), BadPayment> {
    if let Some((other, _)) = element.attributes.iter().find(|(name, _)| name != "Ccy") {
        return Err(unread(element, other));
    }
    let missing = || element.fault(Fault::Missing { element: "Ccy", within: element.name.clone() });
    let (_, code) = element.attributes.first().ok_or_else(missing)?;
    let currency = currency(element, code)?;
    let text = childless(element)?;
    let not_positive = || element.fault(Fault::NotPositive { given: shown(text) });
    if text.starts_with('-') {
        return Err(not_positive());
    }
    let decimal = Decimal::parse(text).ok_or_else(|| wrong(element, DECIMAL_FORM))?;
    match decimal.minor_units(currency.decimals()) {
        Some(0) => Err(not_positive()),
        Some(minor) => Ok((currency, minor)),
        None => Err(element.fault(Fault::Decimals {
            given: decimal.written,
            currency: currency.code(),
            decimals: currency.decimals(),
        })),
    }
}

const DECIMAL_FORM: &str = "digits with at most one point, 18 digits at most";

/// A sum, in a currency that is not known yet.
pub(super) fn sum(element: &Element) -> Result<Decimal, BadPayment> {
    value(element, DECIMAL_FORM, Decimal::parse)
}

/// A count.
pub(super) fn count(element: &Element) -> Result<u64, BadPayment> {
    value(element, "1 to 15 digits", |s| {
        let digits = (1..=COUNT_DIGITS_MAX).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
        s.parse().ok().filter(|_| digits)
    })
}

/// A date without a time zone.
pub(super) fn date(element: &Element) -> Result<String, BadPayment> {
    value(element, "a date such as 2026-11-23", |s| is_date(s).then(|| s.to_owned()))
}

/// A date and time, with or without a time zone.
pub(super) fn date_time(element: &Element) -> Result<String, BadPayment> {
    value(element, "a date and time such as 2026-11-21T22:01:00Z", |s| is_date_time(s).then(|| s.to_owned()))
}

/// Text that is shown as it is: no control characters, which could forge a line of a log, and none of those that turn
/// the direction of writing, which could show one name and mean another.
fn for_people(text: &str, max_chars: usize) -> Option<String> {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fits = text.chars().count() <= max_chars && !text.trim().is_empty();
    (fits && !text.chars().any(|c| c.is_control() || turns(c))).then(|| text.to_owned())
}

/// `YYYY-MM-DD`, of the Gregorian calendar.
fn is_date(text: &str) -> bool {
    let [year, month, day] = text.split('-').collect::<Vec<_>>()[..] else { return false };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// `YYYY-MM-DDThh:mm:ss`, with or without a fraction of a second and `Z` or `+hh:mm`.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let in_zone = match zone.strip_prefix(['+', '-']) {
        Some(offset) => is_clock(offset, 2),
        None => matches!(zone, "" | "Z"),
    };
    let split = fraction.is_none_or(|f| (1..=9).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
    is_date(date) && is_clock(clock, 3) && in_zone && split
}

/// Hours, minutes and, as the third part, seconds.
fn is_clock(text: &str, parts: usize) -> bool {
    let below = |part: &str, end: u32| number(part, 2).is_some_and(|n| n < end);
    text.split(':').count() == parts && text.split(':').zip([24, 60, 60]).all(|(part, end)| below(part, end))
}

fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}
