//! The slow evaluator.

use crate::model::{
    ADDRESSES, Action, Asked, Asset, CLIENTS, Expr, GROUPS, Limit, Move, PERSONS, Rule, What, Who, World,
};
use std::collections::BTreeMap;
use tally_domain::{LimitId, LineId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Permit {
        rule: String,
        charges: BTreeMap<LineId, u128>,
    },
    /// Of each need, each path and how many persons it misses.
    Waits {
        needs: Vec<Vec<(String, usize)>>,
    },
    Over,
    Rejected,
    Forbidden {
        by: Vec<String>,
        near: Near,
    },
    Failed {
        near: Near,
    },
    Unpermitted {
        near: Near,
    },
}

/// (rule, its first condition that does not hold), the nearest first.
pub type Near = Vec<(String, String)>;

impl Verdict {
    pub const WORDS: [&'static str; 7] = ["permit", "waits", "over", "rejected", "forbidden", "failed", "unpermitted"];

    pub fn word(&self) -> &'static str {
        let at = match self {
            Self::Permit { .. } => 0,
            Self::Waits { .. } => 1,
            Self::Over => 2,
            Self::Rejected => 3,
            Self::Forbidden { .. } => 4,
            Self::Failed { .. } => 5,
            Self::Unpermitted { .. } => 6,
        };
        Self::WORDS[at]
    }
}

/// One thing to decide: a movement, or the request as a whole.
struct Thing<'a> {
    asked: &'a Asked,
    action: Action,
    /// (asset, ten-thousandths rounded up) of a movement that is understood.
    amount: Option<(Asset, u128)>,
    /// Ten-thousandths of the native coin, rounded up.
    fee: u128,
    to: Option<usize>,
    bytes: u64,
}

/// Adding to it fails.
struct Overflow;

pub fn evaluate(world: &World, asked: &Asked) -> Verdict {
    let decisions = match &asked.what {
        What::Opaque { to } => vec![decide(world, &Thing::plain(asked, Action::Opaque, Some(*to), 0))],
        What::Message { bytes } => vec![decide(world, &Thing::plain(asked, Action::Message, None, *bytes))],
        What::Transfer { moves, fee } => moves.iter().map(|m| movement(world, asked, m, *fee)).collect(),
    };
    let mut rules: Vec<String> = vec![];
    let mut needs: Vec<Vec<(String, usize)>> = vec![];
    for decision in decisions {
        match decision {
            Verdict::Permit { rule, .. } if !rules.contains(&rule) => rules.push(rule),
            Verdict::Permit { .. } => {}
            Verdict::Waits { needs: more } if !needs.contains(&more[0]) => needs.extend(more),
            Verdict::Waits { .. } => {}
            denied => return denied,
        }
    }
    match charges(world, asked) {
        None => Verdict::Over,
        Some(_) if !needs.is_empty() => Verdict::Waits { needs },
        Some(charges) => Verdict::Permit { rule: rules.join(","), charges },
    }
}

impl<'a> Thing<'a> {
    fn plain(asked: &'a Asked, action: Action, to: Option<usize>, bytes: u64) -> Self {
        Self { asked, action, amount: None, fee: 0, to, bytes }
    }
}

/// Ten-thousandths, rounded up.
fn ten_thousandths(amount: u128, decimals: u32) -> u128 {
    amount.div_ceil(10u128.pow(decimals - 4))
}

fn movement(world: &World, asked: &Asked, moved: &Move, fee: u128) -> Verdict {
    if moved.asset == Asset::Unknown {
        // It is the token's contract that is called.
        return decide(world, &Thing::plain(asked, Action::Opaque, Some(3), 0));
    }
    // A Cedar decimal holds no more than 2^63 - 1 ten-thousandths.
    let amount = moved.amount.map(|amount| ten_thousandths(amount, moved.asset.decimals()));
    let Some(amount) = amount.filter(|amount| *amount <= i64::MAX as u128) else {
        return Verdict::Failed { near: vec![] };
    };
    let thing = Thing {
        asked,
        action: Action::Sign,
        amount: Some((moved.asset, amount)),
        fee: ten_thousandths(fee, 18),
        to: Some(moved.to),
        bytes: 0,
    };
    decide(world, &thing)
}

fn decide(world: &World, thing: &Thing<'_>) -> Verdict {
    let outcomes: Vec<_> = world.rules.iter().map(|rule| (rule, matches(world, rule, thing))).collect();
    let matching = |permits: bool| {
        let wanted = move |(rule, outcome): &&(&Rule, Result<bool, Overflow>)| {
            rule.permits == permits && matches!(outcome, Ok(true))
        };
        outcomes.iter().filter(wanted).map(|(rule, _)| *rule).collect::<Vec<_>>()
    };
    let (permits, forbids) = (matching(true), matching(false));
    if !forbids.is_empty() {
        let by = forbids.into_iter().map(|rule| rule.id.clone()).collect();
        return Verdict::Forbidden { by, near: near(world, thing) };
    }
    if outcomes.iter().any(|(_, outcome)| outcome.is_err()) {
        return Verdict::Failed { near: near(world, thing) };
    }
    if permits.is_empty() {
        return Verdict::Unpermitted { near: near(world, thing) };
    }
    let permit = |rule: &Rule| Verdict::Permit { rule: rule.id.clone(), charges: BTreeMap::new() };
    if let Some(free) = permits.iter().find(|rule| rule.approvals.is_empty()) {
        return permit(free);
    }
    let is_asked = |person: &&str| {
        permits.iter().flat_map(|rule| &rule.approvals).any(|(group, _)| members(group).contains(person))
    };
    if thing.asked.rejected.iter().any(is_asked) {
        return Verdict::Rejected;
    }
    let missing = |rule: &Rule| {
        let needed: usize = rule.approvals.iter().map(|(_, n)| n).sum();
        needed - seated(&rule.approvals, &counting(thing.asked))
    };
    if let Some(met) = permits.iter().find(|rule| missing(rule) == 0) {
        return permit(met);
    }
    let mut paths: Vec<_> = permits.iter().map(|rule| (rule.id.clone(), missing(rule))).collect();
    paths.sort_by_key(|(_, missing)| *missing);
    Verdict::Waits { needs: vec![paths] }
}

fn members(group: &str) -> &'static [&'static str] {
    GROUPS.iter().find(|(name, _)| *name == group).unwrap().1
}

/// Who has approved and does not operate the client.
fn counting(asked: &Asked) -> Vec<&'static str> {
    let operates =
        |person: &str| PERSONS.iter().any(|(name, _, client)| *name == person && *client == Some(asked.client));
    asked.approved.iter().copied().filter(|person| !operates(person)).collect()
}

/// The most seats that can be taken: each person tries every group, or none.
fn seated(quorums: &[(&'static str, usize)], persons: &[&str]) -> usize {
    let Some((person, others)) = persons.split_first() else { return 0 };
    let mut best = seated(quorums, others);
    for at in 0..quorums.len() {
        let (group, free) = quorums[at];
        if free > 0 && members(group).contains(person) {
            let mut left = quorums.to_vec();
            left[at].1 -= 1;
            best = best.max(1 + seated(&left, others));
        }
    }
    best
}

/// Of each permit that is about the request, what does not hold; a condition that fails does not hold.
fn near(world: &World, thing: &Thing<'_>) -> Near {
    let mut misses: Vec<(usize, (String, String))> = vec![];
    for rule in world.rules.iter().filter(|rule| rule.permits && is_about(rule, thing)) {
        let whens = rule.when.iter().map(|when| (rule.written(when), holds(world, when, thing).unwrap_or(false)));
        let unless = rule.unless.iter().map(|unless| {
            let holds = holds(world, unless, thing).is_ok_and(|holds| !holds);
            (format!("unless {{ {} }}", rule.written(unless)), holds)
        });
        if let Some((met, (condition, _))) = whens.chain(unless).enumerate().find(|(_, (_, holds))| !holds) {
            misses.push((met, (rule.id.clone(), condition)));
        }
    }
    let most = misses.iter().map(|(met, _)| *met).max().unwrap_or(0);
    let of = |wanted| misses.iter().filter(move |(met, _)| *met == wanted).map(|(_, miss)| miss.clone());
    (0..=most).rev().flat_map(of).collect()
}

fn is_about(rule: &Rule, thing: &Thing<'_>) -> bool {
    let client = thing.asked.client;
    let who = match rule.who {
        Who::Anyone => true,
        Who::Group(group) => CLIENTS.iter().any(|(id, of)| *id == client && *of == group),
        Who::Client(id) => id == client,
    };
    who && rule.action == thing.action && rule.key.is_none_or(|key| key == thing.asked.key)
}

fn matches(world: &World, rule: &Rule, thing: &Thing<'_>) -> Result<bool, Overflow> {
    if !is_about(rule, thing) {
        return Ok(false);
    }
    for when in &rule.when {
        if !holds(world, when, thing)? {
            return Ok(false);
        }
    }
    match &rule.unless {
        Some(unless) => Ok(!holds(world, unless, thing)?),
        None => Ok(true),
    }
}

fn holds(world: &World, expr: &Expr, thing: &Thing<'_>) -> Result<bool, Overflow> {
    let amount = || thing.amount.unwrap().1;
    Ok(match expr {
        Expr::AssetIs(asset) => thing.amount.unwrap().0 == *asset,
        Expr::AmountAtMost(n) => amount() <= u128::from(*n),
        Expr::AmountAbove(n) => amount() > u128::from(*n),
        Expr::FeeAtMost(n) => thing.fee <= u128::from(*n),
        Expr::ToIsIn(list) => world.lists[*list].contains(&thing.to.unwrap()),
        Expr::ToIs(to) => thing.to == Some(*to),
        Expr::HourBefore(n) => thing.asked.hour < *n,
        Expr::BytesAtMost(n) => thing.bytes <= *n,
        Expr::Overflows(n) if thing.asked.hour > *n => return Err(Overflow),
        Expr::Overflows(_) => true,
        Expr::And(a, b) => holds(world, a, thing)? && holds(world, b, thing)?,
        Expr::Or(a, b) => holds(world, a, thing)? || holds(world, b, thing)?,
        Expr::Not(a) => !holds(world, a, thing)?,
        Expr::If(a, b, c) => {
            if holds(world, a, thing)? {
                holds(world, b, thing)?
            } else {
                holds(world, c, thing)?
            }
        }
    })
}

/// What is taken of each line, or none when a limit never allows it.
fn charges(world: &World, asked: &Asked) -> Option<BTreeMap<LineId, u128>> {
    let mut lines = BTreeMap::new();
    for limit in &world.limits {
        let moves: Vec<(Action, Option<&Move>, Option<usize>)> = match &asked.what {
            What::Message { .. } => vec![(Action::Message, None, None)],
            What::Opaque { to } => vec![(Action::Opaque, None, Some(*to))],
            What::Transfer { moves, .. } => {
                let known = |m| (Action::Sign, Some(m), None);
                moves
                    .iter()
                    .map(|m| if m.asset == Asset::Unknown { (Action::Opaque, None, Some(3)) } else { known(m) })
                    .collect()
            }
        };
        for (action, moved, unknown_to) in moves {
            if !applies(world, limit, asked, action, moved) {
                continue;
            }
            let taken = match (limit.counts, moved, action) {
                (true, ..) => 1,
                (false, Some(m), _) => m.amount?,
                (false, None, Action::Message) => 0,
                (false, None, _) => return None,
            };
            if taken == 0 {
                continue;
            }
            let to = moved.map(|m| m.to).or(unknown_to);
            let value = |by: &str| match by {
                "key" => asked.key,
                "client" => asked.client,
                "action" => action.word(),
                "asset" => moved.map_or("", |m| m.asset.symbol()),
                _ => to.map_or("", |to| ADDRESSES[to]),
            };
            let order = ["key", "client", "asset", "to", "action"];
            let by: Vec<_> = order.into_iter().filter(|by| limit.by.contains(by)).map(|by| (by, value(by))).collect();
            let sum: &mut u128 = lines.entry(LineId::of(&LimitId::parse(&limit.id).unwrap(), &by)).or_default();
            *sum = sum.checked_add(taken)?;
            let most = if limit.counts { limit.most } else { limit.most * 10u128.pow(limit.asset.unwrap().decimals()) };
            if *sum > most {
                return None;
            }
        }
    }
    Some(lines)
}

fn applies(world: &World, limit: &Limit, asked: &Asked, action: Action, moved: Option<&Move>) -> bool {
    let named = limit.key.is_none_or(|key| key == asked.key)
        && limit.client.is_none_or(|client| client == asked.client)
        && limit.action.is_none_or(|wanted| wanted == action);
    let money = match (moved, action) {
        (Some(m), _) => {
            limit.asset.is_none_or(|asset| asset == m.asset)
                && limit.to.is_none_or(|to| to == m.to)
                && limit.list.is_none_or(|list| world.lists[list].contains(&m.to))
        }
        // Nothing moves.
        (None, Action::Message) => limit.asset.is_none() && limit.to.is_none() && limit.list.is_none(),
        // Nobody knows what moves.
        (None, _) => true,
    };
    named && money
}
