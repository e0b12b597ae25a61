//! How many share-holders a key has, how many sign, and exactly who signs in one session.

use crate::ids::PartyIndex;
use std::collections::BTreeSet;

/// t of n with 2 <= t <= n <= 16 and 2t > n. The last condition makes any two signer sets share a node, so that one
/// vote a node is enough to make a request's attempts exclusive (DESIGN 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Threshold {
    t: u8,
    n: u8,
}

/// t and n that do not make a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("threshold {t} of {n} is not possible: 2 <= t <= n <= 16 and 2t > n")]
pub struct BadThreshold {
    /// Signers asked for.
    pub t: u32,
    /// Share-holders asked for.
    pub n: u32,
}

impl Threshold {
    /// Checks the three conditions.
    ///
    /// # Errors
    /// [`BadThreshold`] when one does not hold.
    pub fn new(t: u32, n: u32) -> Result<Self, BadThreshold> {
        let possible = 2 <= t && t <= n && n <= u32::from(PartyIndex::MAX) && 2 * t > n;
        match (possible, u8::try_from(t), u8::try_from(n)) {
            (true, Ok(t), Ok(n)) => Ok(Self { t, n }),
            _ => Err(BadThreshold { t, n }),
        }
    }

    /// Signers needed.
    pub fn t(self) -> u8 {
        self.t
    }

    /// Share-holders.
    pub fn n(self) -> u8 {
        self.n
    }

    /// All share-holders, 1 to n.
    pub fn parties(self) -> impl Iterator<Item = PartyIndex> {
        (1..=self.n).filter_map(|i| PartyIndex::new(i).ok())
    }
}

/// The exact set of t share-holders of one session (S-D4: a presignature belongs to exactly this set).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignerSet(BTreeSet<PartyIndex>);

/// A set that is not t distinct share-holders of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signer set must be exactly {t} distinct parties out of 1 to {n}")]
pub struct BadSignerSet {
    /// Signers needed.
    pub t: u8,
    /// Share-holders.
    pub n: u8,
}

impl SignerSet {
    /// The set of exactly t distinct parties, each within 1 to n.
    ///
    /// # Errors
    /// [`BadSignerSet`] when there are more or fewer, a repeated one, or one outside the key.
    pub fn new(threshold: Threshold, members: &[PartyIndex]) -> Result<Self, BadSignerSet> {
        let set: BTreeSet<_> = members.iter().copied().collect();
        let exact = set.len() == members.len() && set.len() == usize::from(threshold.t());
        let inside = set.iter().all(|p| p.get() <= threshold.n());
        if exact && inside { Ok(Self(set)) } else { Err(BadSignerSet { t: threshold.t(), n: threshold.n() }) }
    }

    /// Members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = PartyIndex> + '_ {
        self.0.iter().copied()
    }

    /// Whether `p` is a member.
    pub fn contains(&self, p: PartyIndex) -> bool {
        self.0.contains(&p)
    }

    /// Members other than `me`, ascending.
    pub fn others(&self, me: PartyIndex) -> impl Iterator<Item = PartyIndex> + '_ {
        self.iter().filter(move |p| *p != me)
    }

    /// Number of members, which is t.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; here for the sake of `len`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The indices as bytes, ascending: the form that is hashed and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.iter().map(PartyIndex::get).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_refuses_what_two_signer_sets_could_split() {
        assert!(Threshold::new(2, 3).is_ok());
        assert!(Threshold::new(9, 16).is_ok());
        for (t, n) in [(1, 1), (2, 4), (4, 3), (8, 16), (9, 17), (0, 0), (u32::MAX, u32::MAX)] {
            assert!(Threshold::new(t, n).is_err(), "{t} of {n}");
        }
    }

    #[test]
    fn signer_set_is_exact() {
        let th = Threshold::new(2, 3).unwrap();
        let p = |i| PartyIndex::new(i).unwrap();
        assert!(SignerSet::new(th, &[p(1), p(3)]).is_ok());
        assert!(SignerSet::new(th, &[p(1), p(1)]).is_err());
        assert!(SignerSet::new(th, &[p(1), p(2), p(3)]).is_err());
        assert!(SignerSet::new(th, &[p(1), p(4)]).is_err());
    }
}
