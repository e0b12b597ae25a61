//! Small things as text: moments, and paths in commands to be copied.

use std::path::Path;
use tally_domain::UnixMillis;

const DAY_MS: u64 = 86_400_000;

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T22:01:00.000Z`.
pub fn utc(time: UnixMillis) -> String {
    let (days, ms) = (time.0 / DAY_MS, time.0 % DAY_MS);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar. Years begin in March here, so that the leap
/// day is the last; a cycle of 400 years has 146,097 days (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// A span of time that is still to come, rounded up: `45s`, `12m 5s`, `24h 2m`, `6d 3h`. Days are counted from two on, as in
/// bundles.
pub fn lasting(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let ((large, unit), (small, part)) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (("m", 60), ("s", 1)),
        3_600..172_800 => (("h", 3_600), ("m", 60)),
        _ => (("d", 86_400), ("h", 3_600)),
    };
    let parts = seconds.div_ceil(part);
    let (whole, rest) = (parts / (unit / part), parts % (unit / part));
    if rest == 0 { format!("{whole}{large}") } else { format!("{whole}{large} {rest}{small}") }
}

/// Accounting units as whole ones, exactly; a plain number where movements and requests are counted.
pub fn units(decimals: Option<u8>, units: u128) -> String {
    let Some(decimals) = decimals else { return units.to_string() };
    let digits = format!("{units:0>width$}", width = usize::from(decimals) + 1);
    let (whole, rest) = digits.split_at_checked(digits.len() - usize::from(decimals)).unwrap_or((&digits, ""));
    match rest.trim_end_matches('0') {
        "" => whole.to_owned(),
        rest => format!("{whole}.{rest}"),
    }
}

/// A path as a shell takes it back: in quotes where it has anything but letters, digits and a few signs.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each moment as `date --utc --rfc-3339` gives it.
    #[test]
    fn moments_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (1_795_298_460_000, "2026-11-21T22:01:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(UnixMillis(ms)), text);
        }
        // Far beyond all calendars, and still no panic.
        assert!(utc(UnixMillis(u64::MAX)).ends_with('Z'));
    }

    #[test]
    fn what_is_still_to_come_is_rounded_up() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1s"),
            (45_000, "45s"),
            (59_001, "1m"),
            (60_000, "1m"),
            (90_000, "1m 30s"),
            (3_600_000, "1h"),
            (3_660_001, "1h 2m"),
            (86_047_000, "23h 55m"),
            (3_599_001, "1h"),
            (86_400_000, "24h"),
            (86_431_000, "24h 1m"),
            (172_800_000, "2d"),
            (529_200_001, "6d 4h"),
        ] {
            assert_eq!(lasting(ms), text, "{ms}");
        }
        assert!(lasting(u64::MAX).contains("d "));
    }

    #[test]
    fn units_are_written_exactly_as_whole_ones() {
        let table = [
            (Some(6), 1_500_000, "1.5"),
            (Some(6), 1, "0.000001"),
            (Some(6), 0, "0"),
            (Some(6), 5_000_000_000, "5000"),
            (Some(0), 7, "7"),
            (None, 12, "12"),
        ];
        for (decimals, n, text) in table {
            assert_eq!(units(decimals, n), text);
        }
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_read_something_else() {
        for (path, shown) in [
            ("/tmp/tally-1.2/my_cluster", "/tmp/tally-1.2/my_cluster"),
            ("my cluster", "'my cluster'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), shown);
        }
    }
}
