//! How many votes make a thing certain that only one may have: claims on limits, bundle versions, key epochs.
//!
//! With n voters of whom f may be bad and r more may have been restored from an older copy, any two sets of q votes share
//! at least `2q - n` voters. `q = floor((n + f + r) / 2) + 1` makes that more than f + r: at least one of them neither lies
//! nor has forgotten, and it would have had to vote for both (reference 2.5).

use crate::ids::NodeName;
use crate::roster::Roster;
use std::collections::BTreeSet;

/// What certificates withstand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Voters that may be bad (f).
    pub faulty: u8,
    /// Honest voters that may have forgotten votes and not been found out yet (r).
    pub restored: u8,
}

impl Tolerance {
    /// What a roster that does not say otherwise withstands: as many bad voters as the smallest threshold of its keys
    /// withstands, t - 1; and one restored voter, wherever that costs no further vote.
    pub fn usual(signers: usize, voters: usize) -> Self {
        let faulty = u8::try_from(signers / 2).unwrap_or(u8::MAX);
        let restored = u8::from(voters.saturating_add(usize::from(faulty)).is_multiple_of(2));
        Self { faulty, restored }
    }

    /// Votes of so many voters that make a certificate: q. More than there are voters, if that many faults cannot be
    /// withstood.
    pub fn votes_needed(self, voters: usize) -> usize {
        voters.saturating_add(usize::from(self.faulty)).saturating_add(usize::from(self.restored)) / 2 + 1
    }
}

/// Voters, and how many of them make a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    voters: BTreeSet<NodeName>,
    votes: usize,
}

impl Quorum {
    /// These voters under this tolerance.
    pub fn new(voters: BTreeSet<NodeName>, tolerance: Tolerance) -> Self {
        let votes = tolerance.votes_needed(voters.len());
        Self { voters, votes }
    }

    /// All nodes of a roster: witnesses vote as signers do.
    pub fn of(roster: &Roster) -> Self {
        Self::new(roster.nodes.iter().map(|n| n.name.clone()).collect(), roster.tolerance)
    }

    /// Votes that make a certificate.
    pub fn votes(&self) -> usize {
        self.votes
    }

    /// Voters that may be away while certificates are still made; nothing when there are too few even with all.
    pub fn spare(&self) -> Option<usize> {
        self.voters.len().checked_sub(self.votes)
    }

    fn reached(&self, voted: &BTreeSet<NodeName>) -> bool {
        self.voters.intersection(voted).count() >= self.votes
    }
}

/// Who has to vote. While the roster changes, both the old and the new must agree, or two certificates could share nobody
/// (S-2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Electorate {
    /// One roster is in force.
    One(Quorum),
    /// One roster is about to follow another.
    Joint {
        /// The one that is in force.
        before: Quorum,
        /// The one that will be.
        after: Quorum,
    },
}

impl Electorate {
    /// Whether these voters make a certificate.
    pub fn reached(&self, voted: &BTreeSet<NodeName>) -> bool {
        match self {
            Self::One(quorum) => quorum.reached(voted),
            Self::Joint { before, after } => before.reached(voted) && after.reached(voted),
        }
    }

    /// Everyone who may vote.
    pub fn voters(&self) -> BTreeSet<NodeName> {
        match self {
            Self::One(quorum) => quorum.voters.clone(),
            Self::Joint { before, after } => before.voters.union(&after.voters).cloned().collect(),
        }
    }
}

impl From<&Roster> for Electorate {
    fn from(roster: &Roster) -> Self {
        Self::One(Quorum::of(roster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_tolerance_gives_the_table_of_the_reference() {
        // Signers, witnesses; then f, r, q and how many voters may be away.
        let table = [
            ((3, 0), (1, 1, 3, 0)),
            ((3, 2), (1, 1, 4, 1)),
            ((5, 0), (2, 0, 4, 1)),
            ((5, 1), (2, 1, 5, 1)),
            ((5, 2), (2, 0, 5, 2)),
            ((7, 0), (3, 1, 6, 1)),
        ];
        for ((signers, witnesses), (f, r, q, spare)) in table {
            let voters = signers + witnesses;
            let tolerance = Tolerance::usual(signers, voters);
            assert_eq!(tolerance, Tolerance { faulty: f, restored: r }, "{signers} + {witnesses}");
            assert_eq!(tolerance.votes_needed(voters), q, "{signers} + {witnesses}");
            let quorum = Quorum::new((0..voters).map(name).collect(), tolerance);
            assert_eq!(quorum.spare(), Some(spare), "{signers} + {witnesses}");
        }
    }

    #[test]
    fn a_quorum_that_cannot_be_had_is_never_reached() {
        let everyone: BTreeSet<_> = (0..3).map(name).collect();
        let quorum = Quorum::new(everyone.clone(), Tolerance { faulty: 3, restored: 0 });
        assert_eq!(quorum.spare(), None);
        assert!(!Electorate::One(quorum).reached(&everyone));
    }

    #[test]
    fn a_vote_of_a_stranger_does_not_count() {
        let quorum = Quorum::new((0..3).map(name).collect(), Tolerance::usual(3, 3));
        let electorate = Electorate::One(quorum);
        assert!(!electorate.reached(&[name(0), name(1), name(7)].into()));
        assert!(electorate.reached(&[name(0), name(1), name(2), name(7)].into()));
    }

    fn name(i: usize) -> NodeName {
        NodeName::parse(&format!("node-{i}")).unwrap()
    }
}
