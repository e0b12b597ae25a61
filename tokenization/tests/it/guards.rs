//! S-4.15: card numbers that differ in their hidden digits only are asked about a few times, however it is tried.

use crate::helpers::{pan, with_check_digit};
use proptest::prelude::*;
use tally_domain::{ClientId, SecretBytes, UnixMillis};
use tally_tokenization::Pan;
use tally_tokenization::guard::{DISTINCT_MAX, Guard, GuardLimits, WINDOW_MS};
use tally_tokenization::luhn;

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn guard(limits: GuardLimits) -> Guard {
    Guard::new(limits, SecretBytes::new(vec![7; 32]))
}

/// The `n`-th card number that starts with 411111 and ends with 1111.
fn neighbour(n: usize) -> Pan {
    let text = |middle| format!("411111{middle:06}1111");
    let valid = |text: &String| luhn::is_valid(text.bytes().map(|b| b - b'0'));
    pan(&(0..1_000_000).map(text).filter(valid).nth(n).unwrap())
}

const T: UnixMillis = UnixMillis(1_000_000);

#[test]
fn s_4_15_neighbours_are_refused_from_the_limit_on_and_known_ones_are_not() {
    let mut g = guard(GuardLimits::default());
    for n in 0..DISTINCT_MAX {
        g.ask(&client("a"), &neighbour(n), T.plus(n as u64)).unwrap();
    }
    let refused = g.ask(&client("a"), &neighbour(DISTINCT_MAX), T).unwrap_err();
    assert_eq!(refused.retry_at, T.plus(WINDOW_MS));
    g.ask(&client("a"), &neighbour(3), T).unwrap();
    g.ask(&client("b"), &neighbour(DISTINCT_MAX), T).unwrap();
    g.ask(&client("a"), &pan("5555555555554444"), T).unwrap();
}

#[test]
fn s_4_15_the_window_slides_over_each_card_number_by_itself() {
    let mut g = guard(GuardLimits { distinct_max: 2, ..GuardLimits::default() });
    g.ask(&client("a"), &neighbour(0), T).unwrap();
    g.ask(&client("a"), &neighbour(1), T.plus(1_000)).unwrap();
    let refused = g.ask(&client("a"), &neighbour(2), T.plus(2_000)).unwrap_err();
    assert_eq!(refused.retry_at, T.plus(WINDOW_MS));
    g.ask(&client("a"), &neighbour(2), T.plus(WINDOW_MS - 1)).unwrap_err();
    g.ask(&client("a"), &neighbour(2), T.plus(WINDOW_MS)).unwrap();
    g.ask(&client("a"), &neighbour(3), T.plus(WINDOW_MS + 999)).unwrap_err();
    g.ask(&client("a"), &neighbour(3), T.plus(WINDOW_MS + 1_000)).unwrap();
}

#[test]
fn s_4_15_a_flood_of_other_cards_does_not_make_it_forget_who_guesses() {
    let mut g = guard(GuardLimits { places_max: 50, ..GuardLimits::default() });
    for n in 0..DISTINCT_MAX {
        g.ask(&client("a"), &neighbour(n), T).unwrap();
        for other in 0..100 {
            let text = with_check_digit(&format!("52{:02}00{:09}", n, other * 10_000));
            g.ask(&client("a"), &pan(&text), T.plus(1)).unwrap();
        }
        assert!(g.places() <= 50);
    }
    g.ask(&client("a"), &neighbour(DISTINCT_MAX), T.plus(2)).unwrap_err();
}

proptest! {
    /// Against the plain definition: no window of the length holds more different card numbers that were answered.
    #[test]
    fn no_window_holds_more_than_the_limit(asked in prop::collection::vec((0_usize..6, 0_u64..40), 1..60)) {
        let cards: Vec<Pan> = (0..6).map(neighbour).collect();
        let limits = GuardLimits { distinct_max: 3, window_ms: 100, places_max: 10 };
        let (mut g, mut now, mut answered) = (guard(limits), T, Vec::new());
        for (card, later) in asked {
            now = now.plus(later);
            if g.ask(&client("a"), &cards[card], now).is_ok() {
                answered.push((card, now));
            }
            let mut recent: Vec<usize> =
                answered.iter().filter(|(_, at)| at.plus(100) > now).map(|(card, _)| *card).collect();
            recent.sort_unstable();
            recent.dedup();
            prop_assert!(recent.len() <= 3, "{recent:?}");
        }
    }
}
