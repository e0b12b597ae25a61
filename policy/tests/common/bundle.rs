//! The example bundle, and requests against it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use tally_domain::facts::{Amount, AssetRef, Facts, Movement, TransactionFacts};
use tally_domain::{ClientId, KeyName, UnixMillis};
use tally_policy::{Bundle, BundleError, Decision, DecisionRequest, Denied, PolicyAction, decide};

pub type Files = BTreeMap<String, Vec<u8>>;

pub const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
pub const VENDOR: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
pub const STRANGER: &str = "0x00000000000000000000000000000000deadbeef";

/// 2026-11-21T22:01:00Z, a Saturday.
pub const EVENING: UnixMillis = UnixMillis(1_795_298_460_000);
/// 2026-11-22T05:59:59.999Z.
pub const LAST_OF_NIGHT: UnixMillis = UnixMillis(1_795_298_460_000 + 8 * 3_600_000 - 60_001);

pub fn example() -> Files {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    Files::from([
        file("policy.cedar", include_str!("../../examples/payouts/policy.cedar")),
        file("assets.toml", include_str!("../../examples/payouts/assets.toml")),
        file("roster.toml", include_str!("../../examples/payouts/roster.toml")),
        file("bundle.toml", include_str!("../../examples/payouts/bundle.toml")),
        file("lists/vendors.txt", include_str!("../../examples/payouts/lists/vendors.txt")),
    ])
}

/// The example with one file replaced or added.
pub fn with(path: &str, text: &str) -> Files {
    let mut files = example();
    files.insert(path.into(), text.as_bytes().to_vec());
    files
}

pub fn bundle(files: &Files) -> Bundle {
    Bundle::load(files).unwrap_or_else(|e| panic!("{e}"))
}

pub fn refused(files: &Files) -> BundleError {
    match Bundle::load(files) {
        Ok(_) => panic!("the bundle was loaded"),
        Err(e) => e,
    }
}

pub fn refused_policy(policy: &str) -> String {
    refused(&with("policy.cedar", policy)).to_string()
}

pub fn amount(n: u128) -> Amount {
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&n.to_be_bytes());
    Amount(bytes)
}

pub fn usdc(units: u128, to: &str) -> Movement {
    Movement { asset: AssetRef::Contract(USDC.into()), amount: amount(units), from: String::new(), to: to.into() }
}

pub fn transfer(movements: Vec<Movement>) -> TransactionFacts {
    let (chain, method) = ("eip155:1".into(), "transfer".into());
    TransactionFacts { chain, method, movements, allowances: vec![], fee_max: amount(1_000_000_000_000_000), nonce: 7 }
}

/// A payout of so many millionths of a USDC to a vendor.
pub fn payout(units: u128) -> Facts {
    Facts::Transaction(transfer(vec![usdc(units, VENDOR)]))
}

pub fn sign(bundle: &Bundle, facts: &Facts) -> Decision {
    sign_as(bundle, "payout-service", "hot", facts, EVENING)
}

pub fn sign_as(bundle: &Bundle, client: &str, key: &str, facts: &Facts, now: UnixMillis) -> Decision {
    ask(bundle, client, key, PolicyAction::Sign(facts), now)
}

pub fn ask(bundle: &Bundle, client: &str, key: &str, action: PolicyAction<'_>, now: UnixMillis) -> Decision {
    let (client, key) = (ClientId::parse(client).unwrap(), KeyName::parse(key).unwrap());
    decide(bundle, &DecisionRequest { client: &client, key: &key, action }, now)
}

pub fn permit(rule: &str) -> Decision {
    Decision::Permit { rule: rule.into() }
}

pub fn denied(decision: Decision) -> Denied {
    match decision {
        Decision::Deny(denied) => denied,
        other => panic!("{other:?}"),
    }
}

/// Near misses as (rule, condition).
pub fn near(denied: &Denied) -> Vec<(&str, &str)> {
    denied.near_misses.iter().map(|n| (n.rule.as_str(), n.condition.as_str())).collect()
}
