//! Sums of what requests hold.

use super::Voted;

/// A sum of any number of lines' worth of units: claims of different times share units, so that their sum may be more
/// than one number of a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units {
    low: u128,
    high: u64,
}

/// Units of the largest of these claims of one request, which is signed once.
pub fn most<'a>(claims: impl IntoIterator<Item = &'a Voted>) -> u128 {
    claims.into_iter().map(Voted::units).max().unwrap_or(0)
}

impl Units {
    /// With these units more.
    #[must_use]
    pub fn and(self, units: u128) -> Self {
        let (low, carried) = self.low.overflowing_add(units);
        Self { low, high: self.high.saturating_add(carried.into()) }
    }

    /// Without these units, which are part of the sum.
    #[must_use]
    pub fn less(self, units: u128) -> Self {
        let (low, borrowed) = self.low.overflowing_sub(units);
        Self { low, high: self.high.saturating_sub(borrowed.into()) }
    }

    /// As one number, or the largest there is.
    pub fn saturated(self) -> u128 {
        if self.high == 0 { self.low } else { u128::MAX }
    }

    /// For keeping.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&self.high.to_be_bytes());
        low.copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// What was kept.
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let (high, low) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        Self { low: number(low), high: u64::try_from(number(high)).unwrap_or(u64::MAX) }
    }
}
