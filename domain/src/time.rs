//! Wall-clock time as a number that is passed in, never read here.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

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

    #[test]
    fn calendar_parts_match_a_known_moment() {
        let t = UnixMillis(1_795_298_460_000); // 2026-11-21T22:01:00Z, a Saturday
        assert_eq!((t.hour_utc(), t.weekday_utc()), (22, 6));
    }
}
