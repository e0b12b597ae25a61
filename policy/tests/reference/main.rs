//! The whole decision against an evaluator that shares no code with it: rules as a tree, looked at one by one; amounts
//! with long division; approvals by trying out every seating; limits by adding up.
//!
//! `POLICY_CASES=1000000 cargo test -p tally-policy --test reference` for a longer run; `POLICY_SEED` repeats one bundle.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod evaluate;
mod generate;
mod model;

use evaluate::{Verdict, evaluate};
use generate::Dice;
use model::{Asked, World};
use std::collections::BTreeMap;
use tally_domain::facts::{Amount, AssetRef, Facts, MessageFacts, Movement, OpaqueFacts, TransactionFacts};
use tally_domain::{ClientId, KeyName, LineId, PersonName, Reason, UnixMillis};
use tally_policy::{Approvals, Bundle, Decision, DecisionRequest, PolicyAction, charges, decide_approved};

/// Requests of one bundle: to load it costs as much as hundreds of decisions.
const REQUESTS: usize = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Enough that a mistake in one decision of ten thousand is found in every run.
const CASES: u64 = 100_000;

#[test]
fn s_2_2_decisions_are_those_of_an_independent_evaluator() {
    if let Some(seed) = number("POLICY_SEED") {
        compare(seed);
        return;
    }
    let cases = number("POLICY_CASES").unwrap_or(CASES);
    let bundles = cases.div_ceil(REQUESTS as u64);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let seen = std::thread::scope(|scope| {
        let seeds = |first| (first..bundles).step_by(threads as usize);
        let runs: Vec<_> =
            (0..threads).map(|i| scope.spawn(move || seeds(i).flat_map(compare).collect::<Vec<_>>())).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    // Every answer comes up often enough to mean something.
    let count = |word: &str| seen.iter().filter(|seen| **seen == word).count();
    let rare: Vec<_> = Verdict::WORDS.into_iter().filter(|word| count(word) * 100 < seen.len()).collect();
    assert!(rare.is_empty(), "hardly ever: {rare:?}");
}

/// Compares what both say to the requests of one bundle, and gives the words for it.
fn compare(seed: u64) -> Vec<&'static str> {
    let mut dice = Dice::new(seed);
    let world = World::any(&mut dice);
    let bundle = Bundle::load(&world.files()).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", world.policy()));
    let compared = (0..REQUESTS).map(|_| {
        let asked = Asked::any(&mut dice, &world);
        let expected = evaluate(&world, &asked);
        let found = decided(&bundle, &asked);
        assert_eq!(found, expected, "seed {seed}\n{asked:?}\n{}\n{}", world.policy(), world.limits());
        expected.word()
    });
    compared.collect()
}

fn decided(bundle: &Bundle, asked: &Asked) -> Verdict {
    let facts = facts(asked);
    let (client, key) = (ClientId::parse(asked.client).unwrap(), KeyName::parse(asked.key).unwrap());
    let request = DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(&facts) };
    let persons = |names: &[&str]| names.iter().map(|name| PersonName::parse(name).unwrap()).collect();
    let approvals = Approvals::supposed(persons(&asked.approved), persons(&asked.rejected));
    let decision = decide_approved(bundle, &request, &approvals, UnixMillis(asked.hour * 3_600_000));
    let charged = || {
        let all = charges(bundle, &request).unwrap();
        all.into_iter().map(|c| (c.line, c.amount)).collect::<BTreeMap<LineId, u128>>()
    };
    match decision {
        Decision::Permit { rule } => Verdict::Permit { rule, charges: charged() },
        Decision::NeedsApproval(needs) => {
            let paths = |need: tally_policy::Need| {
                let missing = |p: &tally_policy::ApprovalPath| p.missing.iter().map(|q| q.needed).sum::<usize>();
                need.paths.iter().map(|p| (p.rule.clone(), missing(p))).collect()
            };
            Verdict::Waits { needs: needs.into_iter().map(paths).collect() }
        }
        Decision::Deny(d) if d.reason == Reason::VelocityLimit => Verdict::Over,
        Decision::Deny(d) if d.reason == Reason::Rejected => Verdict::Rejected,
        Decision::Deny(d) => {
            let near = d.near_misses.into_iter().map(|miss| (miss.rule, miss.condition)).collect();
            match (d.forbidden_by, d.errors.as_slice()) {
                (by, _) if !by.is_empty() => Verdict::Forbidden { by, near },
                (_, []) => Verdict::Unpermitted { near },
                (_, _) => Verdict::Failed { near },
            }
        }
    }
}

fn facts(asked: &Asked) -> Facts {
    match &asked.what {
        model::What::Message { bytes } => Facts::Message(MessageFacts { bytes: *bytes, text: true }),
        model::What::Opaque { to } => {
            let to = model::ADDRESSES[*to].to_owned();
            Facts::Opaque(OpaqueFacts { chain: model::CHAIN.into(), to, why: "why".into(), call: None })
        }
        model::What::Transfer { moves, fee } => {
            let movement = |m: &model::Move| Movement {
                asset: match m.asset {
                    model::Asset::Eth => AssetRef::Native,
                    model::Asset::Usdc => AssetRef::Contract(model::USDC.into()),
                    model::Asset::Unknown => AssetRef::Contract(model::ADDRESSES[3].into()),
                },
                amount: m.amount.map_or(Amount([0xff; 32]), Amount::from),
                from: String::new(),
                to: model::ADDRESSES[m.to].into(),
            };
            Facts::Transaction(TransactionFacts {
                chain: model::CHAIN.into(),
                method: "transfer".into(),
                movements: moves.iter().map(movement).collect(),
                allowances: vec![],
                fee_max: Amount::from(*fee),
                nonce: 0,
            })
        }
    }
}
