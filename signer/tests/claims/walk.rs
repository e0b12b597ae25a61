//! The rule in so many words: a walk over everything that is remembered, for each question. What answers faster is held
//! against it.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tally_domain::claim::{CLAIMS_MAX, Excluded, LineMemory, Voted, forget_before, horizon_ms};

/// What is remembered, in the order in which it came.
#[derive(Default)]
pub struct Walk {
    pub voted: Vec<Voted>,
    forgotten: u64,
}

pub fn is_near(v: &Voted, at: UnixMillis, horizon: u64) -> bool {
    at.0.saturating_sub(v.last.0) < horizon && v.first.0.saturating_sub(at.0) < horizon
}

impl Walk {
    fn others<'a>(&'a self, by: &'a Claimant, at: UnixMillis, window: u64) -> impl Iterator<Item = &'a Voted> {
        self.voted.iter().filter(move |v| v.by != *by && is_near(v, at, horizon_ms(window)))
    }

    fn consider(&self, by: &Claimant, claim: &LineClaim, at: UnixMillis) -> Result<Voted, Excluded> {
        if at.0 < self.forgotten + horizon_ms(claim.window_ms()) {
            return Err(Excluded::Forgotten);
        }
        let others = || self.others(by, at, claim.window_ms());
        let pieces = || others().flat_map(|v| v.intervals.iter().copied());
        if let Some(taken) = pieces().find(|taken| claim.intervals().iter().any(|i| i.overlaps(*taken))) {
            return Err(Excluded::Taken(taken));
        }
        let is_beyond = pieces().any(|piece| piece.to() > claim.max());
        if is_beyond && self.held(by, at, claim.window_ms()).saturating_add(claim.amount()) > claim.max() {
            return Err(Excluded::Lowered);
        }
        let own: Vec<_> = self.voted.iter().filter(|v| v.by == *by).collect();
        if let Some(again) = own.iter().find(|v| v.intervals == claim.intervals()) {
            return Ok(Voted { first: again.first.min(at), last: again.last.max(at), ..(*again).clone() });
        }
        if own.len() >= CLAIMS_MAX {
            return Err(Excluded::TooMany);
        }
        let nth = own.iter().map(|v| v.nth).max().unwrap_or(0) + 1;
        Ok(Voted { by: by.clone(), nth, intervals: claim.intervals().to_vec(), first: at, last: at })
    }

    fn held(&self, by: &Claimant, at: UnixMillis, window: u64) -> u128 {
        let mut requests: BTreeMap<&Claimant, u128> = BTreeMap::new();
        for other in self.others(by, at, window) {
            let units: u128 = other.intervals.iter().map(|i| i.units()).sum();
            let most = requests.entry(&other.by).or_default();
            *most = units.max(*most);
        }
        requests.values().fold(0, |sum, units| sum.saturating_add(*units))
    }

    fn keep(&mut self, voted: Voted, window: u64) {
        self.forgotten = self.forgotten.max(forget_before(voted.last, window).0);
        self.voted.retain(|v| (&v.by, v.nth) != (&voted.by, voted.nth) && v.last.0 >= self.forgotten);
        self.voted.push(voted);
    }
}

/// What is asked next: after how long, issued how far from then, by whom, and where.
#[derive(Debug, Clone)]
struct Ask {
    pass: u64,
    skew: i64,
    by: u8,
    pieces: Vec<(u128, u128)>,
}

/// The line is lowered once, and raised again.
const MAXIMA: [u128; 3] = [6_000, 1_500, 6_000];

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let pass = prop_oneof![12 => 0..400u64, 2 => 0..20_000u64, 1 => 50_000..160_000u64];
    let skew = prop_oneof![8 => -6_000i64..=6_000, 1 => -200_000i64..=200_000];
    let units = prop_oneof![4 => 1..5u128, 2 => 14..40u128, 1 => 100..900u128];
    let gap = prop_oneof![3 => 1..4u128, 2 => 0..1_000u128];
    let pieces = proptest::collection::vec((gap, units), 1..4);
    let ask = (pass, skew, 0u8..90, pieces).prop_map(|(pass, skew, by, pieces)| Ask { pass, skew, by, pieces });
    proptest::collection::vec(ask, 30..240)
}

/// Pieces one behind the other, as far as the line goes.
fn of_line(max: u128, window: u64, pieces: &[(u128, u128)]) -> LineClaim {
    let mut from = 0;
    let mut on_the_line = Vec::new();
    for (gap, units) in pieces {
        let piece = (from + gap, from + gap + units);
        if piece.1 <= max {
            on_the_line.push(piece);
        }
        from = piece.1 + 1;
    }
    if on_the_line.is_empty() { claim(max, window, &[(0, 1)]) } else { claim(max, window, &on_the_line) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However the memory looks things up: its answers, what it keeps and what it sums up are those of the walk. Only which
    /// of several pieces in the way it names is its own choice.
    #[test]
    fn the_memory_answers_as_a_walk_over_all_of_it(asked in asks(), window in prop_oneof![Just(5_000u64), Just(60_000)]) {
        let (mut memory, mut walk) = (LineMemory::default(), Walk::default());
        let mut now = NOW;
        for (i, ask) in asked.iter().enumerate() {
            now = now.plus(ask.pass);
            let at = UnixMillis(now.0.checked_add_signed(ask.skew).unwrap());
            let claim = of_line(MAXIMA[3 * i / asked.len()], window, &ask.pieces);
            let by = who(ask.by);
            prop_assert_eq!(memory.held(&by, at, window), walk.held(&by, at, window));
            match (memory.consider(&by, &claim, at), walk.consider(&by, &claim, at)) {
                (Ok(a), Ok(b)) => {
                    prop_assert_eq!(&a, &b);
                    memory.keep(a, window);
                    walk.keep(b, window);
                }
                (Err(Excluded::Taken(a)), Err(Excluded::Taken(_))) => {
                    let holds = |v: &Voted| v.intervals.contains(&a);
                    prop_assert!(walk.others(&by, at, window).any(holds), "{:?} is nobody's", a);
                    prop_assert!(claim.intervals().iter().any(|i| i.overlaps(a)));
                    prop_assert_eq!(memory.around(&by, &claim, at).next(), Some(a));
                }
                (a, b) => prop_assert_eq!(a, b),
            }
            prop_assert_eq!((memory.len(), memory.forgotten().0), (walk.voted.len(), walk.forgotten));
        }
        let mut all = walk.voted;
        all.sort();
        prop_assert!(memory.voted().eq(&all));
    }

    /// Sums of whole lines, of which there are more at once than one number holds.
    #[test]
    fn the_longest_lines_sum_up_as_in_a_walk(
        claims in proptest::collection::vec((0u8..8, 0u64..400_000, 0u128..4), 1..40),
        at in 0u64..400_000,
    ) {
        let mut voted: Vec<Voted> = Vec::new();
        for (by, last, length) in claims {
            let nth = u32::try_from(voted.len()).unwrap();
            let last = NOW.plus(last);
            voted.push(Voted { by: who(by), nth, intervals: vec![piece(0, u128::MAX - length)], first: last, last });
        }
        let memory = LineMemory::new(UnixMillis(0), voted.clone());
        let walk = Walk { voted, forgotten: 0 };
        for by in 0..9 {
            prop_assert_eq!(memory.held(&who(by), NOW.plus(at), HOUR / 60), walk.held(&who(by), NOW.plus(at), HOUR / 60));
        }
    }
}
