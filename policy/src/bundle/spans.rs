//! Spans of time as people write them: `10m`, `24h`, `30d`.

use super::reading::Source;
use crate::error::{BundleError, Problem};
use toml::Spanned;

const MINUTE_MS: u64 = 60 * 1_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

const FORM: &str = "a whole number and a unit, such as 10m, 24h or 30d";

/// The milliseconds of a span that is within `range`; `want` says in words which range.
pub(crate) fn read(
    source: &Source<'_>,
    given: &Spanned<String>,
    what: &'static str,
    range: std::ops::RangeInclusive<u64>,
    want: &'static str,
) -> Result<u64, BundleError> {
    let ms = source.value(given, what, FORM, milliseconds)?;
    if range.contains(&ms) {
        return Ok(ms);
    }
    Err(source.error(given, Problem::Value { what, given: given.get_ref().clone(), want }))
}

/// A span of milliseconds in the largest unit that is exact. One day is `24h`, as bundles have it: what is counted by it is
/// no calendar's day.
pub fn words(ms: u64) -> String {
    let units = [("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS)];
    let exact =
        units.into_iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit) && (*unit, ms) != (DAY_MS, DAY_MS));
    exact.map_or_else(|| format!("{ms} ms"), |(name, unit)| format!("{}{name}", ms / unit))
}

/// One spelling for each number: no sign, no leading zero, no fraction.
fn milliseconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_spelling_and_read_back() {
        for (text, ms) in [("1m", 60_000), ("10m", 600_000), ("24h", DAY_MS), ("30d", 30 * DAY_MS)] {
            assert_eq!(milliseconds(text), Some(ms));
        }
        for bad in [
            "",
            "m",
            "0m",
            "01m",
            "+1m",
            "-1m",
            "1.5h",
            "1 h",
            "1s",
            "1w",
            "1H",
            "10",
            "é",
            "1é",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
        for (ms, text) in
            [(600_000, "10m"), (DAY_MS, "24h"), (2 * DAY_MS, "2d"), (25 * HOUR_MS, "25h"), (1, "1 ms"), (0, "0 ms")]
        {
            assert_eq!(words(ms), text);
        }
    }
}
