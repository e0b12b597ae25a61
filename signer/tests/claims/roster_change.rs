//! While one roster follows another, certificates of the old, of both and of the new one still share an honest voter.

use super::*;
use std::collections::BTreeSet;
use tally_domain::quorum::{Electorate, Quorum, Tolerance};

const NODES: u8 = 7;

fn nodes(mask: u32) -> BTreeSet<NodeName> {
    let names = (0..NODES).filter(|n| mask >> n & 1 == 1);
    names.map(|n| NodeName::parse(&format!("node-{n}")).unwrap()).collect()
}

struct Roster {
    mask: u32,
    /// f + r.
    forsworn: usize,
    quorum: Quorum,
}

fn roster(mask: u32) -> Roster {
    let voters = nodes(mask);
    let tolerance = Tolerance::usual(voters.len(), voters.len());
    let forsworn = usize::from(tolerance.faulty + tolerance.restored);
    Roster { mask, forsworn, quorum: Quorum::new(voters, tolerance) }
}

/// All sets of voters that make a certificate.
fn certificates(electorate: &Electorate) -> Vec<u32> {
    (0..1 << NODES).filter(|mask| electorate.reached(&nodes(*mask))).collect()
}

/// Whether any two certificates share a voter of the roster that neither lies nor has forgotten.
fn meet(a: &[u32], b: &[u32], within: &Roster) -> bool {
    a.iter().all(|a| b.iter().all(|b| (a & b & within.mask).count_ones() as usize > within.forsworn))
}

#[test]
fn s_2_5_both_quorums_count_while_the_roster_changes() {
    // One voter leaves and one comes; two of three are replaced; the cluster grows from three to five; it moves whole.
    let changes =
        [(0b000_0111, 0b000_1110), (0b000_0111, 0b001_1001), (0b000_0111, 0b001_1111), (0b000_0111, 0b011_1000)];
    for (before, after) in changes {
        let (before, after) = (roster(before), roster(after));
        let old = certificates(&Electorate::One(before.quorum.clone()));
        let new = certificates(&Electorate::One(after.quorum.clone()));
        let joint = Electorate::Joint { before: before.quorum.clone(), after: after.quorum.clone() };
        let both = certificates(&joint);
        assert!(!both.is_empty());
        assert!(meet(&old, &both, &before) && meet(&both, &new, &after) && meet(&both, &both, &after));
        let shared = Roster { mask: before.mask & after.mask, ..roster(after.mask) };
        assert!(!meet(&old, &new, &shared), "without the joint step the two would not have to meet");
        assert_eq!(joint.voters(), nodes(before.mask | after.mask));
    }
}

/// Whether any two certificates of q voters share one that is not among those who lie, forget or were replaced.
fn always_meet(voters: u8, votes: u32, not_counting: u32) -> bool {
    let all: Vec<u32> = (0_u32..1 << voters).filter(|mask| mask.count_ones() >= votes).collect();
    all.iter().all(|a| all.iter().all(|b| a & b & !not_counting != 0))
}

/// A voter that comes back into its seat with nothing on its disk is one that has forgotten, whoever else lies; together with
/// a second one that has forgotten it is one too many (`docs/adr/0012`).
#[test]
fn s_2_5_a_voter_replaced_in_its_seat_is_the_restored_one_that_quorums_withstand() {
    for (signers, witnesses) in [(3_u8, 2_u8), (5, 1), (3, 0)] {
        let voters = signers + witnesses;
        let tolerance = Tolerance::usual(signers.into(), voters.into());
        assert_eq!(tolerance.restored, 1, "{signers} + {witnesses}");
        let votes = u32::try_from(tolerance.votes_needed(voters.into())).unwrap();
        let sets = |size: u8| (0_u32..1 << voters).filter(move |mask| mask.count_ones() == u32::from(size));
        assert!(sets(tolerance.faulty + 1).all(|out| always_meet(voters, votes, out)), "{signers} + {witnesses}");
        assert!(sets(tolerance.faulty + 2).any(|out| !always_meet(voters, votes, out)), "{signers} + {witnesses}");
    }
    // Exchanged for one of another name, the two voters are no seat, and the quorums share too few.
    let (before, after) = (roster(0b001_1111), roster(0b010_1111));
    let old = certificates(&Electorate::One(before.quorum.clone()));
    let new = certificates(&Electorate::One(after.quorum.clone()));
    assert!(!meet(&old, &new, &Roster { mask: before.mask & after.mask, ..roster(before.mask) }));
}
