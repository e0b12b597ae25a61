//! Wall-clock time as a number that is passed in, never read here.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// How far two honest clocks may be apart (δ, S-2.2 step 5). NTP keeps hosts within a few milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 1_000;

/// Longest validity of an intent that no person has to approve (S-2.2 step 4).
pub const INTENT_VALIDITY_MAX_MS: u64 = 10 * 60 * 1_000;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_parts_match_a_known_moment() {
        let t = UnixMillis(1_795_298_460_000); // 2026-11-21T22:01:00Z, a Saturday
        assert_eq!((t.hour_utc(), t.weekday_utc()), (22, 6));
    }
}
