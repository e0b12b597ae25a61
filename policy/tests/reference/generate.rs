//! Worlds and requests, at random from a seed. Numbers crowd around the thresholds.

use crate::model::{
    ADDRESSES, Action, Asked, Asset, CLIENTS, Expr, GROUPS, KEYS, LISTS, Limit, Move, PERSONS, Rule, What, Who, World,
};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn maybe<T: Copy>(&mut self, one_in: usize, all: &[T]) -> Option<T> {
        self.one_in(one_in).then(|| self.of(all))
    }

    fn some<T: Copy>(&mut self, all: &[T], one_in: usize) -> Vec<T> {
        all.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}

/// Thresholds in ten-thousandths.
const AMOUNTS: [u64; 4] = [10_000, 10_000_000, 500, 1];
const HOURS: [u64; 3] = [6, 12, 18];
const BYTES: [u64; 2] = [10, 100];

impl World {
    pub fn any(dice: &mut Dice) -> Self {
        let lists = [(); 2].map(|()| dice.some(&[0, 1, 2, 3], 2));
        let rules = (0..2 + dice.below(6)).map(|i| rule(dice, i)).collect();
        let limits = (0..dice.below(4)).map(|i| limit(dice, i)).collect();
        Self { rules, limits, lists }
    }
}

fn rule(dice: &mut Dice, i: usize) -> Rule {
    let permits = !dice.one_in(4);
    let action = dice.of(&[Action::Sign, Action::Sign, Action::Sign, Action::Opaque, Action::Message]);
    let who = match dice.below(4) {
        0 => Who::Group(dice.of(&CLIENTS).1),
        1 => Who::Client(dice.of(&CLIENTS).0),
        _ => Who::Anyone,
    };
    Rule {
        id: format!("rule-{i}"),
        permits,
        who,
        action,
        key: dice.maybe(3, &KEYS),
        when: (0..dice.below(3)).map(|_| expr(dice, action, 2)).collect(),
        unless: dice.one_in(5).then(|| expr(dice, action, 1)),
        approvals: if permits && dice.one_in(2) { approvals(dice) } else { vec![] },
    }
}

/// Quorums that the groups can meet together: of `all` at most what is left of four persons.
fn approvals(dice: &mut Dice) -> Vec<(&'static str, usize)> {
    match dice.below(6) {
        0 => vec![("treasury", 1 + dice.below(3))],
        1 => vec![("risk", 1 + dice.below(2))],
        2 => vec![("treasury", 2), ("risk", 1)],
        4 => vec![("risk", 1), ("treasury", 1)],
        3 => vec![("risk", 1), ("treasury", 1), ("all", 1 + dice.below(2))],
        _ => vec![(GROUPS[2].0, 1 + dice.below(4))],
    }
}

fn expr(dice: &mut Dice, action: Action, depth: usize) -> Expr {
    let deeper = |dice: &mut Dice| Box::new(expr(dice, action, depth - 1));
    match if depth == 0 { 9 } else { dice.below(10) } {
        0 => Expr::And(deeper(dice), deeper(dice)),
        1 => Expr::Or(deeper(dice), deeper(dice)),
        2 => Expr::Not(deeper(dice)),
        3 => Expr::If(deeper(dice), deeper(dice), deeper(dice)),
        _ => atom(dice, action),
    }
}

fn atom(dice: &mut Dice, action: Action) -> Expr {
    match (action, dice.below(8)) {
        (_, 0) => Expr::HourBefore(dice.of(&HOURS)),
        (_, 1) if dice.one_in(3) => Expr::Overflows(dice.of(&HOURS)),
        (Action::Message, _) => Expr::BytesAtMost(dice.of(&BYTES)),
        (_, 2) => Expr::ToIs(dice.below(ADDRESSES.len())),
        (_, 3) | (Action::Opaque, _) => Expr::ToIsIn(dice.below(LISTS.len())),
        (_, 4) => Expr::AmountAbove(dice.of(&AMOUNTS)),
        (_, 5) => Expr::FeeAtMost(dice.of(&[500, 10_000])),
        (_, 6) => Expr::AssetIs(dice.of(&[Asset::Eth, Asset::Usdc])),
        _ => Expr::AmountAtMost(dice.of(&AMOUNTS)),
    }
}

fn limit(dice: &mut Dice, i: usize) -> Limit {
    let counts = dice.one_in(3);
    let asset =
        if counts { dice.maybe(2, &[Asset::Eth, Asset::Usdc]) } else { Some(dice.of(&[Asset::Eth, Asset::Usdc])) };
    Limit {
        id: format!("limit-{i}"),
        key: dice.maybe(3, &KEYS),
        client: dice.maybe(4, &[CLIENTS[0].0, CLIENTS[1].0]),
        asset,
        list: dice.maybe(4, &[0, 1]),
        to: dice.maybe(8, &[0, 1, 2, 3]),
        action: dice.maybe(2, &[Action::Sign]),
        most: if counts { 1 + dice.below(3) as u128 } else { dice.of(&[1, 2_000, 5_000]) },
        counts,
        by: dice.some(&["key", "client", "asset", "to", "action"], 3),
    }
}

impl Asked {
    pub fn any(dice: &mut Dice, world: &World) -> Self {
        // Mostly what some rule is about, or nearly everything would be unpermitted.
        let action = dice.of(&world.rules.iter().map(|rule| rule.action).collect::<Vec<_>>());
        let what = match action {
            Action::Message => What::Message { bytes: dice.of(&BYTES) + dice.below(2) as u64 },
            Action::Opaque => What::Opaque { to: dice.below(ADDRESSES.len()) },
            Action::Sign => {
                let moves = (0..1 + dice.below(3)).map(|_| movement(dice)).collect();
                What::Transfer { moves, fee: 50_000_000_000_000_000 + dice.below(2) as u128 }
            }
        };
        let names = PERSONS.map(|(name, ..)| name);
        Self {
            client: dice.of(&CLIENTS).0,
            key: dice.of(&KEYS),
            hour: dice.of(&HOURS) + dice.below(2) as u64,
            what,
            approved: dice.some(&names, 2),
            rejected: if dice.one_in(5) { dice.some(&names, 3) } else { vec![] },
        }
    }
}

fn movement(dice: &mut Dice) -> Move {
    let asset = match dice.below(12) {
        0 => Asset::Unknown,
        1..=4 => Asset::Eth,
        _ => Asset::Usdc,
    };
    let places = if asset == Asset::Eth { 18 } else { 6 };
    let threshold = u128::from(dice.of(&AMOUNTS)) * 10u128.pow(places - 4);
    let amount = match dice.below(20) {
        0 => None,
        1 => Some(0),
        2 => Some(u128::MAX),
        3..=8 => Some(threshold + 1 + dice.below(2) as u128),
        9..=11 => Some(threshold - 1),
        _ => Some(threshold),
    };
    Move { asset, amount, to: dice.below(ADDRESSES.len()) }
}
