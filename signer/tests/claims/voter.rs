//! What a voter holds claims against before it looks at what it remembers.

use super::*;
use tally_domain::claim::{BadClaim, INTERVALS_MAX, ISSUED_AT_TOLERANCE_MS, LINES_MAX};
use tally_signer::claims::NotAccepted;
use tally_signer::claims::voter::check;

fn two_charges() -> Vec<Charge> {
    vec![
        charge(100, HOUR, 5),
        Charge { line: line(2), limit: LimitId::parse("client-day").unwrap(), ..charge(50, HOUR, 3) },
    ]
}

fn two_claims() -> Vec<LineClaim> {
    let [a, b] = two_charges().try_into().unwrap();
    vec![LineClaim::new(&a, vec![piece(0, 5)]).unwrap(), LineClaim::new(&b, vec![piece(7, 10)]).unwrap()]
}

#[test]
fn claims_are_for_every_charge_and_for_nothing_else() {
    let ok = claims(NOW, &two_claims());
    assert_eq!(check(&two_charges(), Some(&ok), NOW), Ok(()));
    assert_eq!(check(&[], None, NOW), Ok(()));

    let limit = |name| LimitId::parse(name).unwrap();
    assert_eq!(check(&two_charges(), None, NOW), Err(NotAccepted::Missing { limit: limit("hot-day") }));
    let one = claims(NOW, &two_claims()[..1]);
    assert_eq!(check(&two_charges(), Some(&one), NOW), Err(NotAccepted::Missing { limit: limit("client-day") }));
    assert_eq!(check(&two_charges()[..1], Some(&ok), NOW), Err(NotAccepted::TooMuch));
    assert_eq!(check(&[], Some(&ok), NOW), Err(NotAccepted::TooMuch));
}

#[test]
fn a_claim_is_for_the_amount_line_and_window_that_this_node_charges() {
    let differs = Err(NotAccepted::Differs { limit: LimitId::parse("hot-day").unwrap() });
    let mine = charge(100, HOUR, 5);
    for theirs in [charge(101, HOUR, 5), charge(100, HOUR + 1, 5), charge(100, HOUR, 4), charge(100, HOUR, 6)] {
        let claim = LineClaim::new(&theirs, vec![piece(0, theirs.amount)]).unwrap();
        assert_eq!(check(std::slice::from_ref(&mine), Some(&claims(NOW, &[claim])), NOW), differs, "{theirs:?}");
    }
}

#[test]
fn a_claim_is_issued_within_the_tolerance_of_this_nodes_clock() {
    for (apart, fits) in
        [(0, true), (ISSUED_AT_TOLERANCE_MS, true), (ISSUED_AT_TOLERANCE_MS + 1, false), (24 * HOUR, false)]
    {
        for at in [NOW.plus(apart), NOW.minus(apart)] {
            let outcome = check(&two_charges(), Some(&claims(at, &two_claims())), NOW);
            assert_eq!(outcome.is_ok(), fits, "{apart}");
            assert!(fits || outcome == Err(NotAccepted::Clock { apart_ms: apart }));
        }
    }
    let skewed = check(&two_charges(), Some(&claims(NOW.plus(24 * HOUR), &two_claims())), NOW).unwrap_err();
    let refusal = Refusal::from(skewed);
    assert_eq!(refusal.reason, Reason::ClockSkew);
    assert_eq!(refusal.metadata["detail"], "the claims were issued 1 day away from this node's clock");
}

#[test]
fn pieces_are_ascending_apart_within_the_line_and_the_amount() {
    let new = |amount, pieces: &[(u128, u128)]| {
        LineClaim::new(&charge(100, HOUR, amount), pieces.iter().map(|(a, b)| piece(*a, *b)).collect()).map(|_| ())
    };
    assert_eq!(new(5, &[(0, 2), (3, 6)]), Ok(()));
    assert_eq!(new(1, &[(99, 100)]), Ok(()));
    assert_eq!(new(5, &[]), Err(BadClaim::Pieces));
    assert_eq!(new(5, &[(3, 6), (0, 2)]), Err(BadClaim::Pieces), "descending");
    assert_eq!(new(5, &[(0, 2), (2, 5)]), Err(BadClaim::Pieces), "one piece written as two");
    assert_eq!(new(6, &[(0, 3), (2, 5)]), Err(BadClaim::Pieces), "a unit twice");
    assert_eq!(new(5, &[(96, 101)]), Err(BadClaim::Outside));
    assert_eq!(new(5, &[(0, 4)]), Err(BadClaim::Amount));
    let many: Vec<_> = (0..=u128::try_from(INTERVALS_MAX).unwrap()).map(|i| (2 * i, 2 * i + 1)).collect();
    assert_eq!(new(9, &many), Err(BadClaim::Pieces));
    assert_eq!(new(8, &many[1..]), Ok(()));
    assert_eq!(Interval::new(4, 4), None);
}

#[test]
fn claims_have_one_reading_and_every_changed_byte_is_seen() {
    let claims = claims(NOW, &two_claims());
    let bytes = claims.to_bytes();
    assert_eq!(Claims::from_bytes(&bytes), Ok(claims.clone()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert_ne!(Claims::from_bytes(&changed).ok(), Some(claims.clone()), "byte {at}");
        }
        assert_ne!(Claims::from_bytes(&bytes[..at]).ok(), Some(claims.clone()), "cut at {at}");
    }
    let twice = [two_claims(), two_claims()].concat();
    assert_eq!(Claims::new(NOW, twice), Err(BadClaim::Lines));
    assert_eq!(Claims::new(NOW, vec![]), Err(BadClaim::Lines));
    let on = |n: usize| {
        let on = Charge { line: line(u8::try_from(n).unwrap()), ..charge(100, HOUR, 1) };
        LineClaim::new(&on, vec![piece(0, 1)]).unwrap()
    };
    assert_eq!(Claims::new(NOW, (0..=LINES_MAX).map(on).collect()), Err(BadClaim::Lines));
}

#[test]
fn the_largest_votes_of_all_nodes_fit_a_message_between_nodes() {
    let pieces: Vec<_> = (0..8u128).map(|i| (u128::MAX - 3 * (8 - i), u128::MAX - 3 * (8 - i) + 2)).collect();
    let on = |n: usize| {
        let on = Charge { line: line(u8::try_from(n).unwrap()), ..charge(u128::MAX, u64::MAX, 16) };
        LineClaim::new(&on, pieces.iter().map(|(a, b)| piece(*a, *b)).collect()).unwrap()
    };
    let largest = Claims::new(NOW, (0..LINES_MAX).map(on).collect()).unwrap().to_bytes();
    // 256 KiB between nodes, sixteen voters; a vote is some 2 KiB without its claims.
    assert!(16 * (largest.len() + 2_048) <= 256 * 1_024, "{} bytes", largest.len());
}
