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
