//! Where leaders look for room.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::convert::Infallible;
use tally_domain::claim::{INTERVALS_MAX, LineMemory, Voted};
use tally_signer::claims::placement::{HINTS_MAX, place};
use tally_signer::claims::{NoRoom, Part, Placer, Room, Search};

/// Which units of a small line are taken.
fn taken(max: u128, occupied: &[Interval]) -> Vec<bool> {
    (0..max).map(|unit| occupied.iter().any(|o| o.overlaps(piece(unit, unit + 1)))).collect()
}

/// Lengths of the free stretches, the longest first.
fn room(taken: &[bool]) -> Vec<usize> {
    let mut room: Vec<_> = taken.split(|t| *t).map(<[bool]>::len).filter(|n| *n > 0).collect();
    room.sort_unstable_by(|a, b| b.cmp(a));
    room
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn room_is_found_whenever_one_place_or_eight_have_it(
        max in 1u128..60,
        amount in 1u128..60,
        occupied in proptest::collection::vec((0u128..70, 1u128..6), 0..24),
        seed in any::<u64>(),
        begin in proptest::option::of((0u128..70, 1u128..60)),
    ) {
        let occupied: Vec<_> = occupied.into_iter().map(|(from, units)| piece(from, from + units)).collect();
        let charge = charge(max, HOUR, amount);
        let mut rng = StdRng::seed_from_u64(seed);
        let begin = begin.map(|(from, units)| piece(from, from + units));
        let memory = memory(&occupied, None);
        let search = Search { charge: &charge, begin, hints: &[] };
        let seen = Room::of(&memory, &charge, NOW).see(&memory, &who(ME), &search, std::iter::empty(), &mut rng);
        let found = place(&charge, seen.gaps(), begin, &mut rng);
        let taken = taken(max, &occupied);
        let room = room(&taken);
        let amount = usize::try_from(amount).unwrap();
        let in_one = room.first().is_some_and(|longest| *longest >= amount);
        let in_pieces = room.iter().take(INTERVALS_MAX).sum::<usize>() >= amount;
        prop_assert_eq!(found.is_some(), in_pieces);
        if let Some(pieces) = found {
            prop_assert_eq!(pieces.len() == 1, in_one);
            let units: Vec<usize> = pieces.iter().flat_map(|p| p.from()..p.to()).map(|u| usize::try_from(u).unwrap()).collect();
            prop_assert!(units.iter().all(|unit| !taken[*unit]));
            prop_assert!(LineClaim::new(&charge, pieces).is_ok());
        }
    }

    #[test]
    fn the_longest_line_there_is_has_room(seed in any::<u64>(), amount in prop_oneof![Just(1), Just(u128::MAX / 2), Just(u128::MAX)]) {
        let whole = charge(u128::MAX, HOUR, amount);
        let mut rng = StdRng::seed_from_u64(seed);
        let gaps = [piece(0, u128::MAX)];
        for found in [place(&whole, &gaps, None, &mut rng), place(&whole, &gaps, Some(piece(7, 9)), &mut rng)] {
            prop_assert!(LineClaim::new(&whole, found.unwrap()).is_ok());
        }
    }
}

/// Whose search it is.
const ME: u8 = 200;

/// Another request for each piece that is taken, and what the request itself holds.
fn memory(taken: &[Interval], own: Option<&[Interval]>) -> LineMemory {
    let voted = |by, intervals| Voted { by, nth: 1, intervals, first: NOW, last: NOW };
    let others = (0_u64..).zip(taken).map(|(n, piece)| {
        let mut request = [0; 16];
        request[..8].copy_from_slice(&n.to_be_bytes());
        voted(Claimant { request: RequestId(request), ..who(0) }, vec![*piece])
    });
    let own = own.map(|own| voted(who(ME), own.to_vec()));
    LineMemory::new(UnixMillis(0), others.chain(own).collect())
}

fn placer() -> Placer {
    Placer::new(&[charge(1_000, HOUR, 10)])
}

fn placed_beside(placer: &Placer, memory: &LineMemory, held: &[Interval], seed: u64) -> Result<Option<Claims>, NoRoom> {
    let see = |search: &Search<'_>, rng: &mut StdRng| {
        let room = Room::of(memory, search.charge, NOW);
        Ok::<_, Infallible>(room.see(memory, &who(ME), search, held.iter().copied(), rng))
    };
    placer.place(see, NOW, &mut StdRng::seed_from_u64(seed)).unwrap()
}

fn placed(placer: &Placer, memory: &LineMemory, seed: u64) -> Vec<Interval> {
    let claims = placed_beside(placer, memory, &[], seed).unwrap().unwrap();
    assert_eq!(claims.issued_at(), NOW);
    claims.lines()[0].intervals().to_vec()
}

#[test]
fn leaders_that_have_collided_scatter_and_the_same_seed_gives_the_same_place() {
    let mut placer = placer();
    let memory = memory(&[piece(0, 20)], None);
    assert!((0..50).all(|seed| placed(&placer, &memory, seed) == [piece(20, 30)]), "the first place that fits");
    placer.collided(line(1), [piece(20, 30)]);
    let places: BTreeSet<_> = (0..50).map(|seed| placed(&placer, &memory, seed)).collect();
    assert!(places.len() > 25, "{places:?}");
    assert!(places.iter().all(|p| p[0].from() >= 30));
    assert_eq!(placed(&placer, &memory, 7), placed(&placer, &memory, 7));
}

#[test]
fn leaders_that_see_the_same_line_begin_with_different_parts_and_then_look_everywhere() {
    let part = |number| placer().beginning_with(Part { number, of: 3 });
    let empty = LineMemory::default();
    let first = [0, 1, 2].map(|number| placed(&part(number), &empty, 1));
    assert_eq!(first, [[piece(0, 10)], [piece(334, 344)], [piece(668, 678)]]);
    let full = memory(&[piece(0, 900)], None);
    let places: BTreeSet<_> = (0..50).map(|seed| placed(&part(1), &full, seed)).collect();
    assert!(places.len() > 3 && places.iter().all(|p| p[0].from() >= 900), "{places:?}");
    for part in (0..=255).flat_map(|number| [0, 1, 7, 255].map(|of| Part { number, of })) {
        assert!(placed_beside(&placer().beginning_with(part), &empty, &[], 1).is_ok(), "{part:?}");
    }
}

#[test]
fn what_is_only_held_is_in_the_way_now_and_not_later() {
    let (placer, empty) = (placer(), LineMemory::default());
    assert!(placed_beside(&placer, &empty, &[piece(0, 995)], 1).is_err());
    assert_eq!(placed(&placer, &empty, 1), [piece(0, 10)]);
}

#[test]
fn a_retry_keeps_its_pieces_until_somebody_is_in_the_way() {
    let mut placer = placer();
    let mine = memory(&[piece(0, 20)], Some(&[piece(500, 504), piece(600, 606)]));
    assert_eq!(placed(&placer, &mine, 1), [piece(500, 504), piece(600, 606)]);
    assert_ne!(placed_beside(&placer, &mine, &[piece(503, 504)], 1).unwrap().unwrap().lines()[0].intervals().len(), 2);
    placer.collided(line(1), [piece(605, 700)]);
    let elsewhere = placed(&placer, &mine, 1);
    assert_eq!(elsewhere.len(), 1);
    assert!(!elsewhere[0].overlaps(piece(605, 700)) && !elsewhere[0].overlaps(piece(0, 20)));

    let changed = Placer::new(&[charge(1_000, HOUR, 11)]);
    let mine = memory(&[], Some(&[piece(500, 510)]));
    assert_eq!(placed(&changed, &mine, 1), [piece(0, 11)], "pieces for another amount are no use");
}

#[test]
fn a_full_line_is_a_limit_and_says_which() {
    let full = memory(&[piece(0, 995)], None);
    let refused: Refusal = placed_beside(&placer(), &full, &[], 1).unwrap_err().into();
    assert_eq!((refused.reason, refused.metadata["limit"].as_str()), (Reason::VelocityLimit, "hot-day"));
    let own = memory(&[piece(0, 990)], Some(&[piece(990, 995)]));
    assert_eq!(placed(&placer(), &own, 1), [piece(990, 1_000)], "what the request itself holds is free to it");
    let nothing = placed_beside(&Placer::new(&[]), &full, &[], 1);
    assert_eq!(nothing, Ok(None), "what is not charged claims nothing");
}

#[test]
fn a_voter_that_says_too_much_is_not_listened_to_for_ever() {
    let mut placer = Placer::new(&[charge(1_000_000, HOUR, 10)]);
    placer.collided(line(1), (0..).map(|i| piece(2 * i, 2 * i + 1)).take(HINTS_MAX));
    placer.collided(line(1), [piece(0, 1_000_000)]);
    assert!(placed_beside(&placer, &LineMemory::default(), &[], 1).is_ok());
}
