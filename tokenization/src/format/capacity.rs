//! How many tokens there are, as a sum that a person can check.

use super::Format;
use crate::pan::Pan;
use std::fmt;

/// Fewest tokens that card numbers which share their kept digits may have. With fewer, a token is guessed in an afternoon,
/// and a popular BIN fills its share.
pub const CAPACITY_MIN: u128 = 100_000;

/// Percent of a bucket from which somebody should be told.
const HEAVY_PERCENT: u128 = 25;

/// Percent of a bucket that is never exceeded: at half, every second draw collides, and a guess hits every second time.
const FULL_PERCENT: u128 = 50;

/// Buckets of this many tokens or more are not counted: nobody has so many cards of one BIN and last four.
const COUNTED_BELOW: u128 = 1_000_000_000;

/// `base^places`, less `never^places` or `never^(places - 1)` of them that are not issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    base: u128,
    places: u32,
    less: Option<(u128, u32)>,
}

/// Tokens that share the digits they keep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Kept digits and length, to count by.
    pub name: String,
    /// Most tokens that may ever be drawn in it.
    pub tokens_max: u64,
}

/// How full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Fine.
    Light,
    /// Somebody should be told: a quarter is gone.
    Heavy,
    /// No more.
    Full,
}

impl Capacity {
    pub(super) fn all(base: u128, places: u32) -> Self {
        Self { base, places, less: None }
    }

    /// Digits that make the check digit wrong. Whatever the other digits are, one in ten settings of `places` digits makes
    /// it right, because a digit's share of the sum is different for each of its ten values.
    pub(super) fn luhn_invalid(places: u32) -> Self {
        Self { base: 10, places, less: Some((10, places.saturating_sub(1))) }
    }

    /// Letters and digits, but not digits alone.
    pub(super) fn with_a_letter(places: u32) -> Self {
        Self { base: 36, places, less: Some((10, places)) }
    }

    /// How many; at most `u128::MAX`.
    pub fn tokens(self) -> u128 {
        let less = self.less.map_or(0, |(base, places)| base.saturating_pow(places));
        self.base.saturating_pow(self.places).saturating_sub(less)
    }

    /// How full a bucket with so many tokens is.
    pub fn load(self, drawn: u64) -> Load {
        let percent = u128::from(drawn).saturating_mul(100) / self.tokens().max(1);
        match percent {
            FULL_PERCENT.. => Load::Full,
            HEAVY_PERCENT.. => Load::Heavy,
            _ => Load::Light,
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}^{}", self.base, self.places)?;
        if let Some((base, places)) = self.less {
            write!(f, " - {base}^{places}")?;
        }
        if self.tokens() < u128::MAX { write!(f, " = {} tokens", self.tokens()) } else { f.write_str(" tokens") }
    }
}

impl Format {
    /// The bucket that a card number's token is counted in, if its format has buckets small enough to fill.
    pub fn bucket(self, pan: &Pan) -> Option<Bucket> {
        let tokens = self.capacity(pan.digits()).tokens();
        let name = || format!("{}-{}-{}", pan.first(self.kept_first()), pan.last(), pan.digits());
        let half = u64::try_from(tokens.saturating_mul(FULL_PERCENT) / 100).ok()?;
        (self.kept() > 0 && tokens < COUNTED_BELOW).then(|| Bucket { name: name(), tokens_max: half })
    }
}
