//! What a decision costs with 100 rules and lists of 10,000 entries: the target is 300 microseconds at the median
//! (issue: figures of policy), with the charges of its limits.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails loudly")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::hint::black_box;
use tally_domain::facts::{Amount, AssetRef, Facts, Movement, TransactionFacts};
use tally_domain::{ClientId, KeyName, UnixMillis};
use tally_policy::{Bundle, DecisionRequest, EXAMPLE, Files, PolicyAction, charges, decide};

const RULES: usize = 100;
const ENTRIES: usize = 10_000;

fn address(i: usize) -> String {
    format!("0x{i:040x}")
}

/// Of the rules, the last permit is the one that matches; each asks for a list, an amount and a fee.
fn bundle() -> Bundle {
    let mut files: Files =
        EXAMPLE.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
    let mut policy = String::new();
    for i in 1..=RULES {
        let (effect, list) = if i % 4 == 0 { ("forbid", "blocked") } else { ("permit", "vendors") };
        let atmost = if i == RULES - 1 { "1000" } else { "0.5" };
        let bound = if effect == "permit" {
            format!("&& context.tx.amount.lessThanOrEqual(decimal(\"{atmost}\"))")
        } else {
            String::new()
        };
        writeln!(
            policy,
            "@id(\"rule-{i}\") {effect} (principal in Group::\"payouts\", action == Action::\"sign\", resource == Key::\"hot\")\n\
             when {{ context.tx.asset == \"USDC\" && context.tx.to in List::\"{list}\" {bound}\n\
             && context.tx.fee.lessThanOrEqual(decimal(\"0.05\")) && context.now.hour >= 6 }};"
        )
        .unwrap();
    }
    let list = |first: usize| (first..first + ENTRIES).map(|i| address(i) + "\n").collect::<String>().into_bytes();
    files.insert("policy.cedar".into(), policy.into_bytes());
    files.insert("lists/vendors.txt".into(), list(0));
    files.insert("lists/blocked.txt".into(), list(ENTRIES));
    Bundle::load(&files).unwrap()
}

fn decision(c: &mut Criterion) {
    let bundle = bundle();
    let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse("hot").unwrap());
    let facts = |units: u128| {
        let usdc = AssetRef::Contract("0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48".into());
        let movement =
            Movement { asset: usdc, amount: Amount::from(units), from: String::new(), to: address(ENTRIES / 2) };
        let (chain, method) = ("eip155:1".into(), "transfer".into());
        let fee_max = Amount::from(10u128.pow(15));
        Facts::Transaction(TransactionFacts {
            chain,
            method,
            movements: vec![movement],
            allowances: vec![],
            fee_max,
            nonce: 0,
        })
    };
    let now = UnixMillis(12 * 3_600_000);
    let (permitted, denied) = (facts(900_000_000), facts(1_001_000_000));
    let request = |facts| DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(facts) };
    assert_eq!(decide(&bundle, &request(&permitted), now), tally_policy::Decision::Permit { rule: "rule-99".into() });
    c.bench_function("permit, 100 rules, lists of 10,000", |b| {
        b.iter(|| decide(&bundle, black_box(&request(&permitted)), now));
    });
    c.bench_function("deny with near misses, 100 rules, lists of 10,000", |b| {
        b.iter(|| decide(&bundle, black_box(&request(&denied)), now));
    });
    c.bench_function("charges of 2 limits", |b| b.iter(|| charges(&bundle, black_box(&request(&permitted)))));
}

criterion_group!(benches, decision);
criterion_main!(benches);
