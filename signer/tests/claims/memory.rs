//! One voter and one line: what excludes what, and that nothing is forgotten that still excludes something.

use super::*;
use proptest::prelude::*;
use tally_domain::claim::{CLAIMS_MAX, Excluded, ISSUED_AT_TOLERANCE_MS, LineMemory, Voted, horizon_ms};
use tally_domain::time::CLOCK_TOLERANCE_MS;

const WINDOW: u64 = HOUR;

fn vote(memory: &mut LineMemory, n: u8, claim: &LineClaim, at: UnixMillis) -> Result<(), Excluded> {
    let voted = memory.consider(&who(n), claim, at)?;
    memory.keep(voted, claim.window_ms());
    Ok(())
}

#[test]
fn a_unit_is_taken_once_within_a_horizon_whichever_claim_was_issued_first() {
    let (mine, theirs) = (claim(10, WINDOW, &[(0, 4)]), claim(10, WINDOW, &[(3, 6)]));
    let horizon = horizon_ms(WINDOW);
    for (after, outcome) in
        [(0, Err(Excluded::Taken(piece(0, 4)))), (horizon - 1, Err(Excluded::Taken(piece(0, 4)))), (horizon, Ok(()))]
    {
        for at in [NOW.plus(after), NOW.minus(after)] {
            let mut memory = LineMemory::default();
            vote(&mut memory, 1, &mine, NOW).unwrap();
            let asked = memory.consider(&who(2), &theirs, at).map(|_| ());
            assert!(asked == outcome || asked == Err(Excluded::Forgotten), "{after}: {asked:?}");
            assert_eq!(memory.consider(&who(1), &mine, at).is_ok(), asked != Err(Excluded::Forgotten));
        }
    }
}

#[test]
fn neighbours_do_not_meet_and_pieces_are_looked_at_one_by_one() {
    let mut memory = LineMemory::default();
    vote(&mut memory, 1, &claim(10, WINDOW, &[(0, 2), (5, 7)]), NOW).unwrap();
    vote(&mut memory, 2, &claim(10, WINDOW, &[(2, 5)]), NOW).unwrap();
    let asked = memory.consider(&who(3), &claim(10, WINDOW, &[(6, 8)]), NOW);
    assert_eq!(asked, Err(Excluded::Taken(piece(5, 7))));
    let around = |n, from, to| memory.around(&who(n), &claim(10, WINDOW, &[(from, to)]), NOW).collect::<Vec<_>>();
    assert_eq!(around(3, 6, 8), [piece(5, 7), piece(0, 2), piece(2, 5)], "what is in the way comes first");
    assert_eq!(around(2, 7, 8), [piece(0, 2), piece(5, 7)], "one's own is in nobody's way");
}

#[test]
fn a_lowered_limit_counts_what_is_held_beyond_its_end() {
    let mut memory = LineMemory::default();
    vote(&mut memory, 1, &claim(50, WINDOW, &[(0, 4)]), NOW).unwrap();
    vote(&mut memory, 2, &claim(50, WINDOW, &[(30, 34)]), NOW).unwrap();
    // A retry elsewhere: the request is signed once.
    vote(&mut memory, 2, &claim(50, WINDOW, &[(40, 44)]), NOW).unwrap();
    for (max, to, outcome) in [(10, 6, Ok(())), (10, 7, Err(Excluded::Lowered)), (8, 5, Err(Excluded::Lowered))] {
        let asked = memory.consider(&who(3), &claim(max, WINDOW, &[(4, to)]), NOW).map(|_| ());
        assert_eq!(asked, outcome, "{max}");
    }
    // The whole window later they count no more.
    let later = NOW.plus(horizon_ms(WINDOW));
    memory.consider(&who(3), &claim(10, WINDOW, &[(0, 10)]), later).unwrap();
}

#[test]
fn the_same_request_id_of_another_tenant_is_another_request() {
    let mut memory = LineMemory::default();
    let claim = claim(10, WINDOW, &[(0, 4)]);
    vote(&mut memory, 1, &claim, NOW).unwrap();
    let other = Claimant { tenant: Tenant::parse("globex").unwrap(), ..who(1) };
    assert_eq!(memory.consider(&other, &claim, NOW), Err(Excluded::Taken(piece(0, 4))));
}

#[test]
fn a_request_claims_three_times_and_keeps_what_it_has_as_often_as_it_likes() {
    let mut memory = LineMemory::default();
    let place = |i: u128| claim(100, WINDOW, &[(10 * i, 10 * i + 5)]);
    for i in 0..u128::try_from(CLAIMS_MAX).unwrap() {
        vote(&mut memory, 1, &place(i), NOW).unwrap();
    }
    assert_eq!(vote(&mut memory, 1, &place(9), NOW), Err(Excluded::TooMany));
    for again in 0..20 {
        vote(&mut memory, 1, &place(1), NOW.plus(again)).unwrap();
    }
    assert_eq!(memory.len(), CLAIMS_MAX);
    let kept = memory.voted().find(|v| v.intervals == [piece(10, 15)]).unwrap();
    assert_eq!((kept.first, kept.last), (NOW, NOW.plus(19)));
    let own: Vec<_> = memory.own(&who(1)).map(|v| v.nth).collect();
    assert_eq!(own, [1, 2, 3]);
}

#[test]
fn a_claim_that_was_kept_holds_its_units_from_its_last_issue() {
    let mut memory = LineMemory::default();
    let mine = claim(10, WINDOW, &[(0, 4)]);
    vote(&mut memory, 1, &mine, NOW).unwrap();
    vote(&mut memory, 1, &mine, NOW.plus(60_000)).unwrap();
    let late = NOW.plus(horizon_ms(WINDOW));
    assert_eq!(memory.consider(&who(2), &mine, late), Err(Excluded::Taken(piece(0, 4))));
    assert!(memory.consider(&who(2), &mine, late.plus(60_000)).is_ok());
}

#[test]
fn a_clock_that_ran_ahead_leaves_a_voter_that_holds_back() {
    let mut memory = LineMemory::default();
    let mine = claim(10, WINDOW, &[(0, 4)]);
    vote(&mut memory, 1, &mine, NOW).unwrap();
    let day = 24 * HOUR;
    vote(&mut memory, 2, &mine, NOW.plus(day)).unwrap();
    assert_eq!(memory.len(), 1, "a day ahead nothing of today is in the way");
    let asked = memory.consider(&who(3), &mine, NOW.plus(1_000));
    assert_eq!(asked, Err(Excluded::Forgotten), "back in today nobody knows");

    let (elsewhere, again) = (claim(10, WINDOW, &[(5, 6)]), memory.forgotten().plus(horizon_ms(WINDOW)));
    assert_eq!(memory.consider(&who(3), &elsewhere, again.minus(1)), Err(Excluded::Forgotten));
    assert!(memory.consider(&who(3), &elsewhere, again).is_ok(), "time has caught up");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A voter that forgets as it may says yes to nothing that one with a perfect memory would refuse; and while its
    /// clock is one that tolerances allow, it says yes to everything that the other does.
    #[test]
    fn what_is_forgotten_excludes_nothing(
        asked in proptest::collection::vec((0u64..90_000, -6_000i64..=6_000, 0u8..6, 0u128..6, 1u128..4), 1..60),
        window in prop_oneof![Just(10_000u64), Just(60_000)],
    ) {
        let (mut forgetful, mut perfect) = (LineMemory::default(), LineMemory::default());
        let mut now = NOW;
        let mut forgot = 0;
        let tolerance = i64::try_from(ISSUED_AT_TOLERANCE_MS + CLOCK_TOLERANCE_MS).unwrap();
        for (pass, skew, n, from, units) in asked {
            now = now.plus(pass);
            let issued_at = UnixMillis(now.0.checked_add_signed(skew).unwrap());
            prop_assert!(skew.abs() <= tolerance);
            let claim = claim(10, window, &[(from, from + units)]);
            let (a, b) = (forgetful.consider(&who(n), &claim, issued_at), perfect.consider(&who(n), &claim, issued_at));
            prop_assert_ne!(&a, &Err(Excluded::Forgotten));
            // The perfect one remembers claims of the same request that count against it; that only costs the request.
            if b == Err(Excluded::TooMany) {
                continue;
            }
            // Of several pieces in the way either names one.
            let told = |outcome: &Result<Voted, Excluded>| match outcome {
                Err(Excluded::Taken(_)) => Err(Excluded::Taken(piece(0, 1))),
                other => other.clone().map(|v| v.intervals),
            };
            prop_assert_eq!(told(&a), told(&b));
            if let (Ok(a), Ok(b)) = (a, b) {
                forgetful.keep(a, window);
                let known: Vec<_> = perfect.voted().filter(|v| (&v.by, v.nth) != (&b.by, b.nth)).cloned().collect();
                perfect = LineMemory::new(UnixMillis(0), [known, vec![b]].concat());
            }
            forgot = forgot.max(perfect.len() - forgetful.len());
        }
        prop_assert!(forgot > 0 || now.0 - NOW.0 < 10 * 90_000, "nothing was ever forgotten");
    }
}
