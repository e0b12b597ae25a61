//! Wall-clock time as a number that is passed in, never read here.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How far two honest clocks may be apart (δ, S-2.2 step 5). NTP keeps hosts within a few milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 1_000;

/// Longest validity of an intent that no person has to approve (S-2.2 step 4).
pub const INTENT_VALIDITY_MAX_MS: u64 = 10 * 60 * 1_000;

/// Longest validity of an intent that persons have to approve (S-2.2 step 4): people answer within a day, or are asked anew.
pub const APPROVED_INTENT_VALIDITY_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

impl UnixMillis {
    /// This moment plus `ms`; stays at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This moment minus `ms`; stays at the epoch instead of wrapping.
    #[must_use]
    pub fn minus(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Hour of the UTC day, 0 to 23.
    pub fn hour_utc(self) -> u8 {
        ((self.0 / 3_600_000) % 24) as u8
    }

    /// Day of the week, 1 = Monday to 7 = Sunday (1970-01-01 was a Thursday).
    pub fn weekday_utc(self) -> u8 {
        ((self.0 / 86_400_000 + 3) % 7 + 1) as u8
    }
}

/// RFC 3339 in UTC, to the millisecond: `2026-11-21T22:01:00.000Z`.
impl std::fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (ms / HOUR_MS, ms / MINUTE_MS % 60, ms / SECOND_MS % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % SECOND_MS)
    }
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

/// A span in words, of its two largest units: `1 day 3 h`, `10 min`, `45 s`, `250 ms`.
pub fn span_words(ms: u64) -> String {
    let days = ms / DAY_MS;
    let units = [
        (days, if days == 1 { "day" } else { "days" }),
        (ms % DAY_MS / HOUR_MS, "h"),
        (ms % HOUR_MS / MINUTE_MS, "min"),
        (ms % MINUTE_MS / SECOND_MS, "s"),
        (ms % SECOND_MS, "ms"),
    ];
    let Some(first) = units.iter().position(|(count, _)| *count > 0) else { return "0 s".into() };
    let two = units.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    two.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// How far a clock that is `offset_ms` away is off, in words.
pub fn offset_words(offset_ms: i64) -> String {
    let way = if offset_ms < 0 { "behind" } else { "ahead" };
    format!("{} {way}", span_words(offset_ms.unsigned_abs()))
}

/// How far the middle one of all clocks, one's own among them, is from one's own; of two in the middle the nearer one.
/// A majority that is right keeps the middle with it.
pub fn most_are_apart(others: impl Iterator<Item = i64>) -> i64 {
    let mut clocks: Vec<i64> = others.chain([0]).collect();
    clocks.sort_unstable();
    let upper = clocks.len() / 2;
    let middle = [upper, (clocks.len() - 1) / 2].into_iter().filter_map(|i| clocks.get(i).copied());
    middle.min_by_key(|offset| offset.unsigned_abs()).unwrap_or_default()
}

/// Reads a span as people write it, in seconds: `90s`, `15m`, `24h` or `7d`.
pub fn parse_span(text: &str) -> Option<u32> {
    let (digits, seconds) = match text.chars().last()? {
        's' => (text.strip_suffix('s')?, 1),
        'm' => (text.strip_suffix('m')?, 60),
        'h' => (text.strip_suffix('h')?, 3_600),
        'd' => (text.strip_suffix('d')?, 24 * 3_600),
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse::<u32>().ok()?.checked_mul(seconds)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them_and_nothing_else() {
        let good = [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)];
        assert!(good.into_iter().all(|(text, seconds)| parse_span(text) == Some(seconds)));
        let bad = ["", "s", "7", "-1s", "+1s", "1.5h", "1 d", "7D", "99999999999s", "4294967295d", "7é"];
        assert!(bad.into_iter().all(|text| parse_span(text).is_none()));
    }

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
            assert_eq!(UnixMillis(ms).to_string(), text);
        }
        // Far beyond all calendars, and still no panic.
        assert!(UnixMillis(u64::MAX).to_string().ends_with('Z'));
    }

    #[test]
    fn spans_are_said_in_their_two_largest_units() {
        for (ms, words) in [
            (0, "0 s"),
            (250, "250 ms"),
            (5_000, "5 s"),
            (5_250, "5 s 250 ms"),
            (600_000, "10 min"),
            (DAY_MS - 1, "23 h 59 min"),
            (DAY_MS, "1 day"),
            (DAY_MS + 3 * HOUR_MS + 59_000, "1 day 3 h"),
            (2 * DAY_MS + 59_000, "2 days"),
        ] {
            assert_eq!(span_words(ms), words);
        }
        assert_eq!((offset_words(-(DAY_MS as i64)), offset_words(7)), ("1 day behind".into(), "7 ms ahead".into()));
        assert!(offset_words(i64::MIN).ends_with("behind"));
    }

    #[test]
    fn the_clock_that_is_off_is_the_one_that_most_others_contradict() {
        let day = DAY_MS as i64;
        let table: [(&[i64], i64); 6] =
            [(&[], 0), (&[day], 0), (&[day, 3], 3), (&[-day, -day], -day), (&[day, day, 2, 0], 2), (&[day; 4], day)];
        for (others, apart) in table {
            assert_eq!(most_are_apart(others.iter().copied()), apart, "{others:?}");
        }
    }

    #[test]
    fn calendar_parts_match_a_known_moment() {
        let t = UnixMillis(1_795_298_460_000); // 2026-11-21T22:01:00Z, a Saturday
        assert_eq!((t.hour_utc(), t.weekday_utc()), (22, 6));
    }
}
