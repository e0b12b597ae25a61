//! What a leader sees of a line, held against a walk over everything that is remembered.

use super::walk::is_near;
use super::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tally_domain::claim::{INTERVALS_MAX, LineMemory, Voted, horizon_ms};
use tally_signer::claims::placement::place;
use tally_signer::claims::{Room, Search};

const WINDOW: u64 = 60_000;

/// What of `[0, max)` nobody else holds.
fn gaps(memory: &LineMemory, by: &Claimant, at: UnixMillis, max: u128, beside: &[Interval]) -> Vec<Interval> {
    let live = |v: &&Voted| v.by != *by && is_near(v, at, horizon_ms(WINDOW));
    let mut taken: Vec<_> = memory.voted().filter(live).flat_map(|v| v.intervals.clone()).collect();
    taken.extend(beside);
    taken.sort_unstable();
    let mut from = 0;
    let mut gaps = Vec::new();
    for taken in taken {
        gaps.extend(Interval::new(from, taken.from().min(max)));
        from = from.max(taken.to());
    }
    gaps.extend(Interval::new(from, max));
    gaps
}

/// Units of the eight longest.
fn in_eight(gaps: &[Interval]) -> u128 {
    let mut units: Vec<_> = gaps.iter().map(|gap| gap.units()).collect();
    units.sort_unstable_by(|a, b| b.cmp(a));
    units.iter().take(INTERVALS_MAX).sum()
}

#[derive(Debug, Clone)]
struct Deed {
    pass: u64,
    by: u8,
    amount: u128,
    /// Where it is taken, whatever the search says, as other leaders would.
    at: Option<u128>,
    beside: Vec<(u128, u128)>,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let pass = prop_oneof![12 => 0..300u64, 3 => 0..9_000u64, 1 => 50_000..140_000u64];
    let amount = prop_oneof![4 => 1..4u128, 1 => 1..60u128];
    let beside = proptest::collection::vec((0..1_000u128, 1..30u128), 0..5);
    let deed = (pass, 0u8..150, amount, proptest::option::of(0..1_000u128), beside)
        .prop_map(|(pass, by, amount, at, beside)| Deed { pass, by, amount, at, beside });
    proptest::collection::vec(deed, 20..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Kept claim by claim it is what a walk finds: room where there is room, none where there is none, in one piece where
    /// one fits, and the moment from which there is room.
    #[test]
    fn a_leader_sees_what_a_walk_over_all_claims_sees(deeds in deeds(), max in 100..900u128, seed in any::<u64>()) {
        let mut memory = LineMemory::default();
        let mut room = Room::of(&memory, &charge(max, WINDOW, 1), NOW);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = NOW;
        for deed in deeds {
            now = now.plus(deed.pass);
            let (by, charge) = (who(deed.by), charge(max, WINDOW, deed.amount));
            let beside: Vec<_> = deed.beside.iter().map(|(from, units)| piece(*from, from + units)).collect();
            prop_assert!(room.is_of(&charge, now));
            room.advance(&memory, now);

            let begin = deed.at.map(|from| piece(from, from + 40));
            let search = Search { charge: &charge, begin, hints: &beside };
            let seen = room.see(&memory, &by, &search, std::iter::empty(), &mut rng);
            let free = gaps(&memory, &by, now, max, &beside);
            let found = place(&charge, seen.gaps(), begin, &mut rng);
            prop_assert_eq!(found.is_some(), in_eight(&free) >= deed.amount);
            for found in found.iter().flatten() {
                prop_assert!(free.iter().any(|gap| gap.from() <= found.from() && found.to() <= gap.to()));
            }
            let fits = free.iter().any(|gap| gap.units() >= deed.amount);
            prop_assert!(found.as_ref().is_none_or(|found| (found.len() == 1) == fits));
            prop_assert!(seen.kept().into_iter().flatten().all(|k| free.iter().any(|g| g.from() <= k.from() && k.to() <= g.to())));

            let has_room = |at| in_eight(&gaps(&memory, &by, at, max, &[])) >= deed.amount;
            let when = room.room_at(&memory, &by, &charge);
            prop_assert_eq!(has_room(when), deed.amount <= max);
            prop_assert!(when == now || !has_room(UnixMillis(when.0 - 1)), "no later than it has to be");

            let kept = deed.at.filter(|from| from + deed.amount <= max).map(|from| vec![piece(from, from + deed.amount)]);
            let Some(pieces) = kept.or(found) else { continue };
            let claim = LineClaim::new(&charge, pieces).unwrap();
            if let Ok(voted) = memory.consider(&by, &claim, now) {
                memory.keep(voted.clone(), WINDOW);
                room.note(&voted);
            }
        }
    }
}

/// Leaders that look among a few of very many gaps find the one that is long enough, and seldom the same short one.
#[test]
fn of_very_many_gaps_the_longest_are_seen_and_the_rest_by_lot() {
    let max = 100_000;
    let mut memory = LineMemory::default();
    for n in 0..20_000_u32 {
        let from = 5 * u128::from(n);
        let request = [n.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        let by = Claimant { request: RequestId(request.try_into().unwrap()), ..who(0) };
        if n != 777 {
            memory.keep(memory.consider(&by, &claim(max, WINDOW, &[(from, from + 4)]), NOW).unwrap(), WINDOW);
        }
    }
    let find = |amount, seed| {
        let charge = charge(max, WINDOW, amount);
        let mut rng = StdRng::seed_from_u64(seed);
        let search = Search { charge: &charge, begin: None, hints: &[] };
        let seen = Room::of(&memory, &charge, NOW).see(&memory, &who(9), &search, std::iter::empty(), &mut rng);
        assert!(seen.gaps().len() < 200);
        place(&charge, seen.gaps(), None, &mut rng)
    };
    assert_eq!(find(6, 1), Some(vec![piece(3_884, 3_890)]));
    assert_eq!(find(13, 1).map(|found| found.len()), Some(8));
    assert_eq!(find(14, 1), None);
    let places: std::collections::BTreeSet<_> = (0..20).map(|seed| find(1, seed)).collect();
    assert!(places.len() > 15);
}
