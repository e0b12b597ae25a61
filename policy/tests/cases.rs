//! Cases of `tests/*.case.toml`: what they find, and which thresholds they would not miss.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::*;
use tally_policy::{Case, CaseReport, Threshold, unnoticed};

const CASES: &str = "tests/payouts.case.toml";

fn run(files: &Files) -> Vec<CaseReport> {
    let bundle = bundle(files);
    let cases = Case::load_all(&bundle, files).unwrap_or_else(|e| panic!("{e}"));
    cases.iter().map(|case| case.run(&bundle)).collect()
}

fn missed(files: &Files) -> Vec<Threshold> {
    let cases = Case::load_all(&bundle(files), files).unwrap();
    unnoticed(files, &cases).unwrap()
}

#[test]
fn the_examples_cases_pass_and_notice_every_threshold() {
    let reports = run(&treasury());
    assert_eq!(reports.len(), 34);
    for report in reports {
        assert_eq!(report.wrong, None, "{}: {}", report.name, report.found);
    }
    assert_eq!(missed(&treasury()), []);
}

#[test]
fn what_is_not_as_expected_is_shown_beside_what_was() {
    let wrong = |from: &str, to: &str| {
        let found = run(&changed(CASES, from, to)).into_iter().find(|r| r.wrong.is_some()).unwrap();
        (found.name, found.found, found.wrong.unwrap())
    };
    let (name, found, expected) = wrong("expect = \"permit\"", "expect = \"deny\"");
    assert_eq!(name, "a small payout, up to the last unit");
    assert_eq!(found, "permit, by payouts-small, 1000000000 units of hot-usdc-day, 1 units of vendor-hour");
    assert_eq!(expected, "deny, by payouts-small, 1000000000 units of hot-usdc-day, 1 units of vendor-hour");
    let (_, found, expected) = wrong("\"1000\", vendor-hour", "\"999\", vendor-hour");
    assert!(found.contains("1000000000 units") && expected.contains("999000000 units"), "{found} {expected}");
    let (_, found, expected) = wrong("reason = \"VELOCITY_LIMIT\"", "reason = \"REJECTED\"");
    assert!(found.contains("VELOCITY_LIMIT") && expected.contains("REJECTED"), "{found} {expected}");
    let (_, found, _) = wrong("rule = \"payouts-large\"", "rule = \"payouts-small\"");
    assert_eq!(found, "needs approval, by payouts-large, 1001000000 units of hot-usdc-day, 1 units of vendor-hour");
}

#[test]
fn thresholds_that_no_case_meets_are_named() {
    let files = changed(CASES, "amount = \"1001\"", "amount = \"1002\"");
    let place = |line, column| tally_policy::Place { line, column };
    let expected =
        Threshold { file: "policy.cedar".into(), place: place(8, 54), is: "1000".into(), could_be: "1001".into() };
    assert_eq!(missed(&files), [expected]);
    let mut none = treasury();
    none.remove(CASES);
    // 1000, 0.05, 500000, 0.05, 6 and both limits, up and down; 2 of treasury too, and 1 of risk up: 0 of it is nothing.
    let could_be: Vec<_> = missed(&none).into_iter().map(|t| format!("{}>{}", t.is, t.could_be)).collect();
    assert_eq!(could_be.len(), 17, "{could_be:?}");
}

#[test]
fn cases_are_read_strictly() {
    let e = |from: &str, to: &str| {
        let files = changed(CASES, from, to);
        let loaded = Case::load_all(&bundle(&files), &files);
        loaded.err().unwrap_or_else(|| panic!("{from} was read")).to_string()
    };
    for (from, to, part) in [
        ("asset = \"USDC\"", "asset = \"USDT\"", "there is no asset `USDT`"),
        ("eip155:1", "eip155:2", "there is no asset `USDC`"),
        ("amount = \"1000\"", "amount = \"0.0000001\"", "is not a valid amount"),
        ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00+01:00", "a moment in UTC"),
        ("rule = \"payouts-small\"", "rule = \"payouts\"", "there is no rule `payouts`"),
        ("expect = \"permit\"", "expect = \"allow\"", "`permit`, `deny` or `needs approval`"),
        ("\"alice\", \"bob\"", "\"eve\"", "there is no person `eve`"),
        ("hot-usdc-day =", "hot-usdc =", "there is no limit `hot-usdc`"),
        ("rejected = [\"carol\"]", "refused = [\"carol\"]", "unknown field `refused`"),
        ("expect = \"permit\"", "expect = \"permit\"\nraw = { bytes = 32 }", "a case asks for one of"),
        ("above it, somebody is asked", "a small payout, up to the last unit", "is there twice"),
        ("VELOCITY_LIMIT", "TOO_MUCH", "is not a valid reason"),
    ] {
        let e = e(from, to);
        assert!(e.starts_with("tests/payouts.case.toml:") && e.contains(part), "{from}: {e}");
    }
}

#[test]
fn every_kind_of_request_can_be_a_case() {
    let mut files = treasury();
    files.remove("tests/evm.case.toml");
    let case = |ask: &str| {
        format!(
            "[[case]]\nname = \"{ask}\"\nclient = \"operator\"\nkey = \"k\"\nat = 2026-11-21T12:00:00Z\n{ask}\nexpect = \"deny\"\n"
        )
    };
    let asks = [
        "message = { bytes = 1, text = true }",
        "raw = { bytes = 32 }",
        "opaque = { chain = 'eip155:1', to = '0x00000000000000000000000000000000deadbeef' }",
        "payment = { debtor = 'DE89370400440532013000', creditor = 'NL91ABNA0417164300', currency = 'EUR', amount = '1.50' }",
        "transfer = { chain = 'eip155:1', method = 'transferFrom', asset = 'DEED', item = '1', amount = '1', from = '0x00000000000000000000000000000000deadbeef', to = '0x00000000000000000000000000000000deadbeef', fee = '0' }",
        "allowance = { chain = 'eip155:1', method = 'approve', asset = 'USDC', unlimited = true, spender = '0x00000000000000000000000000000000deadbeef' }",
        "allowance = { chain = 'eip155:1', method = 'Permit', domain = 'USDC', asset = 'USDC', amount = '1', spender = '0x00000000000000000000000000000000deadbeef' }",
        "typed_data = { chain = 'eip155:1', domain = 'Vendor', primary = 'Session', fields = ['a=b'] }",
        "create_key = { backing = 'threshold', scheme = 'ed25519', purpose = 'message', t = 2, n = 3 }",
        "create_key = { backing = 'hsm', scheme = 'rsa-3072', purpose = 'raw', home = 'node-1' }",
    ];
    files.insert(CASES.into(), asks.map(case).concat().into_bytes());
    let reports = run(&files);
    assert!(reports.iter().all(|r| r.wrong.is_none()) && reports.len() == asks.len(), "{reports:?}");
}
