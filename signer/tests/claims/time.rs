//! The limit over time: whatever leaders, networks and clocks do within their tolerances, no window of the limit's length
//! holds more than the limit. Exhaustive where it is small (`model`), drawn here.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use tally_domain::claim::{ISSUED_AT_TOLERANCE_MS, LineMemory};
use tally_domain::quorum::Tolerance;
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_signer::claims::voter::check;

const MAX: u128 = 4;
/// No longer than a certificate's life, so that late releases weigh heavily.
const WINDOW: u64 = 60_000;

/// What the world does next, and how long after the last.
#[derive(Debug, Clone)]
enum Deed {
    /// A leader makes a claim, by a clock of its own choice, and brings it to some voters.
    Ask {
        amount: u128,
        from: u128,
        skew_ms: i64,
        voters: u8,
        clock_ms: i64,
    },
    /// It brings one of the last to others as well.
    AskMore {
        back: usize,
        voters: u8,
        clock_ms: i64,
    },
    /// A signer releases whatever has enough votes, by its own clock, but for so many of the last.
    Release {
        but: usize,
        clock_ms: i64,
    },
    /// The disk of the last voter is copied, or the copy is put back.
    Copy,
    PutBack,
}

fn deeds() -> impl Strategy<Value = Vec<(u64, Deed)>> {
    let clock = || -i64::try_from(CLOCK_TOLERANCE_MS).unwrap()..=i64::try_from(CLOCK_TOLERANCE_MS).unwrap();
    let beyond = i64::try_from(ISSUED_AT_TOLERANCE_MS + 2 * CLOCK_TOLERANCE_MS).unwrap();
    let voters = || prop_oneof![3 => Just(u8::MAX), 2 => any::<u8>()];
    let deed = prop_oneof![
        4 => (1..=2u128, 0..MAX, -beyond..=beyond, voters(), clock()).prop_map(|(amount, from, skew_ms, voters, clock_ms)| {
            Deed::Ask { amount, from: from.min(MAX - amount), skew_ms, voters, clock_ms }
        }),
        3 => (1..4usize, voters(), clock()).prop_map(|(back, voters, clock_ms)| Deed::AskMore { back, voters, clock_ms }),
        2 => (0..3usize, clock()).prop_map(|(but, clock_ms)| Deed::Release { but, clock_ms }),
        1 => Just(Deed::Copy),
        1 => Just(Deed::PutBack),
    ];
    proptest::collection::vec(
        (prop_oneof![8 => 0..3_000u64, 3 => 0..20_000u64, 1 => 50_000..130_000u64], deed),
        20..120,
    )
}

struct Asked {
    issued_at: UnixMillis,
    claim: LineClaim,
    voted: BTreeSet<usize>,
}

/// The clusters of the reference's table: voters, bad ones, restored ones.
const CLUSTERS: [(usize, u8, u8); 6] = [(3, 1, 1), (5, 1, 1), (5, 2, 0), (6, 2, 1), (7, 2, 0), (7, 3, 1)];

struct World {
    now: UnixMillis,
    /// Of honest voters; the last may be restored.
    memories: Vec<LineMemory>,
    copy: LineMemory,
    may_be_restored: bool,
    faulty: usize,
    votes_needed: usize,
    asked: Vec<Asked>,
    released: Vec<(UnixMillis, usize)>,
}

impl World {
    fn new((voters, faulty, restored): (usize, u8, u8), fewer: usize) -> Self {
        let votes_needed = Tolerance { faulty, restored }.votes_needed(voters) - fewer;
        let faulty = usize::from(faulty);
        Self {
            now: NOW,
            memories: vec![LineMemory::default(); voters - faulty],
            copy: LineMemory::default(),
            may_be_restored: restored > 0,
            faulty,
            votes_needed,
            asked: Vec::new(),
            released: Vec::new(),
        }
    }

    fn clock(&self, off_ms: i64) -> UnixMillis {
        UnixMillis(self.now.0.checked_add_signed(off_ms).unwrap())
    }

    fn act(&mut self, (after, deed): (u64, Deed)) {
        self.now = self.now.plus(after);
        match deed {
            Deed::Ask { amount, from, skew_ms, voters, clock_ms } => {
                let claim = claim(MAX, WINDOW, &[(from, from + amount)]);
                self.asked.push(Asked { issued_at: self.clock(skew_ms), claim, voted: BTreeSet::new() });
                self.canvass(self.asked.len() - 1, voters, clock_ms);
            }
            Deed::AskMore { back, voters, clock_ms } => {
                if let Some(request) = self.asked.len().checked_sub(back) {
                    self.canvass(request, voters, clock_ms);
                }
            }
            Deed::Release { but, clock_ms } => {
                let clock = self.clock(clock_ms);
                for request in 0..self.asked.len().saturating_sub(but) {
                    let Asked { issued_at, claim, voted } = &self.asked[request];
                    let alive = claims(*issued_at, std::slice::from_ref(claim)).alive(clock);
                    let known = self.released.iter().any(|(_, r)| *r == request);
                    if alive && !known && voted.len() + self.faulty >= self.votes_needed {
                        self.released.push((self.now, request));
                    }
                }
            }
            Deed::Copy => self.copy = self.memories.last().unwrap().clone(),
            Deed::PutBack if self.may_be_restored => *self.memories.last_mut().unwrap() = self.copy.clone(),
            Deed::PutBack => {}
        }
    }

    /// Each honest voter that is reached does what a voter does.
    fn canvass(&mut self, request: usize, voters: u8, clock_ms: i64) {
        let now = self.clock(clock_ms);
        let Asked { issued_at, claim, voted } = &mut self.asked[request];
        let charge = charge(MAX, WINDOW, claim.amount());
        if check(&[charge], Some(&claims(*issued_at, std::slice::from_ref(claim))), now).is_err() {
            return;
        }
        let by = who(u8::try_from(request).unwrap());
        for (voter, memory) in self.memories.iter_mut().enumerate().filter(|(voter, _)| voters >> voter & 1 == 1) {
            if let Ok(entry) = memory.consider(&by, claim, *issued_at) {
                memory.keep(entry, WINDOW);
                voted.insert(voter);
            }
        }
    }

    /// The most that any window of the limit's length holds.
    fn most(&self) -> u128 {
        let within = |from: UnixMillis| {
            let inside = self.released.iter().filter(move |(at, _)| (from..from.plus(WINDOW)).contains(at));
            inside.map(|(_, request)| self.asked[*request].claim.amount()).sum::<u128>()
        };
        self.released.iter().map(|(from, _)| within(*from)).max().unwrap_or(0)
    }
}

fn play(cluster: (usize, u8, u8), fewer: usize, deeds: Vec<(u64, Deed)>) -> World {
    let mut world = World::new(cluster, fewer);
    deeds.into_iter().for_each(|deed| world.act(deed));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn i5_no_window_holds_more_than_the_limit(cluster in prop::sample::select(&CLUSTERS[..]), deeds in deeds()) {
        let world = play(cluster, 0, deeds);
        prop_assert!(world.most() <= MAX, "{} of {MAX} in one window: {:?}", world.most(), world.released);
    }
}

/// The worlds that are drawn do reach the limit, use the line more than once, and break the limit when one vote less
/// makes a certificate.
#[test]
fn the_worlds_that_are_drawn_press_against_the_limit() {
    let mut runner = TestRunner::deterministic();
    let (mut full, mut reused, mut broken) = (0, 0, BTreeSet::new());
    for _ in 0..600 {
        let deeds = deeds().new_tree(&mut runner).unwrap().current();
        for cluster in CLUSTERS {
            let world = play(cluster, 0, deeds.clone());
            full += usize::from(world.most() == MAX);
            let amount: u128 = world.released.iter().map(|(_, r)| world.asked[*r].claim.amount()).sum();
            reused += usize::from(amount > MAX);
            if play(cluster, 1, deeds.clone()).most() > MAX {
                broken.insert(cluster);
            }
        }
    }
    assert!(full > 100 && reused > 100, "{full} full, {reused} reused");
    assert_eq!(broken.len(), CLUSTERS.len(), "{broken:?}");
}
