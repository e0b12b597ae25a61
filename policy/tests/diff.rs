//! Which changes tighten. The list is closed: what is not on it loosens.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod bundle;
    pub mod treasury;
}

use common::bundle::*;
use common::treasury::*;
use tally_policy::{Direction, changes, tightens_only};

/// (direction, item, words) of each change.
fn diff(old: &Files, new: &Files) -> Vec<(Direction, String, String)> {
    changes(&bundle(old), &bundle(new)).into_iter().map(|c| (c.direction, c.item, c.words)).collect()
}

fn one(old: &Files, new: &Files) -> (Direction, String, String) {
    let [change] = diff(old, new).try_into().unwrap_or_else(|all| panic!("{all:?}"));
    change
}

const PERMIT: &str =
    "\n@id(\"extra\") permit (principal, action == Action::\"sign\", resource) when { context.tx.asset == \"ETH\" };\n";

fn with_rule(files: &Files, rule: &str) -> Files {
    let mut files = files.clone();
    let policy = text(&files, "policy.cedar") + rule;
    files.insert("policy.cedar".into(), policy.into_bytes());
    files
}

use Direction::{Looser, Tighter};

#[test]
fn s_2_3_a_change_and_its_reverse_are_classed_by_the_closed_list() {
    let base = treasury();
    let forbid = "\n@id(\"extra\") forbid (principal, action, resource) when { context.now.weekday == 7 };\n";
    let cases = [
        ("permit", with_rule(&base, PERMIT), Looser, Tighter),
        ("forbid", with_rule(&base, forbid), Tighter, Looser),
        ("limit lower", changed("limits.toml", "2_000_000", "1_999_999.999999"), Tighter, Looser),
        ("count lower", changed("limits.toml", "count = 20", "count = 19"), Tighter, Looser),
        ("quorum", changed("policy.cedar", "2 of treasury, 1 of risk", "2 of treasury, 2 of risk"), Tighter, Looser),
        (
            "quorum of nobody",
            changed("policy.cedar", "@approvals(\"2 of treasury, 1 of risk\")\n", ""),
            Looser,
            Tighter,
        ),
        ("another quorum", changed("policy.cedar", "2 of treasury, 1 of risk", "3 of treasury"), Looser, Looser),
        (
            "allow-list",
            changed("lists/vendors.txt", "# Vendors", "0x00000000000000000000000000000000000a11ce # Vendors"),
            Looser,
            Looser,
        ),
        (
            "deny-list",
            changed("lists/blocked.txt", "# Whom", "0x00000000000000000000000000000000000a11ce # Whom"),
            Tighter,
            Looser,
        ),
        ("condition", changed("policy.cedar", "decimal(\"1000\")", "decimal(\"999\")"), Looser, Looser),
        ("window", changed("limits.toml", "24h", "23h"), Looser, Looser),
        ("counted by", changed("limits.toml", "by = [\"key\"]", "by = []"), Looser, Looser),
        (
            "roster",
            changed("roster.toml", "groups = [\"payouts\"]", "groups = [\"payouts\", \"operators\"]"),
            Looser,
            Looser,
        ),
        ("admins", changed("roster.toml", "admins_needed = 2", "admins_needed = 3"), Looser, Looser),
        (
            "persons",
            changed("groups.toml", "persons = [\"alice\", \"bob\", \"carol\"]", "persons = [\"bob\", \"carol\"]"),
            Looser,
            Looser,
        ),
        ("assets", changed("assets.toml", "decimals = 6", "decimals = 7"), Looser, Looser),
        ("delay", changed("bundle.toml", "24h", "48h"), Looser, Looser),
    ];
    for (what, other, there, back) in cases {
        let direction = |old: &Files, new: &Files| {
            let changes = changes(&bundle(old), &bundle(new));
            assert!(!changes.is_empty(), "{what}");
            if tightens_only(&changes) { Tighter } else { Looser }
        };
        assert_eq!((direction(&base, &other), direction(&other, &base)), (there, back), "{what}");
    }
}

#[test]
fn what_decides_nothing_is_no_change() {
    let same = [
        changed("policy.cedar", "// What", "// what"),
        changed("policy.cedar", "Nobody is asked.", "None is asked."),
        changed("policy.cedar", "decimal(\"1000\")", "decimal(\"1000.0\")"),
        changed("limits.toml", "2_000_000", "2000000.0"),
        changed("lists/vendors.txt", "0x70997970C", "0x70997970c"),
        changed("tests/payouts.case.toml", "up to the last unit", "of 1000"),
        next(2),
    ];
    for other in same {
        assert_eq!(diff(&treasury(), &other), []);
        assert_ne!(bundle(&treasury()).digest(), bundle(&other).digest());
    }
    let mut reordered = treasury();
    let policy = text(&reordered, "policy.cedar");
    let at = policy.find("@id(\"never-to-these\")").unwrap();
    let (before, last) = policy.split_at(at);
    reordered.insert("policy.cedar".into(), format!("{last}{before}").into_bytes());
    assert_eq!(diff(&treasury(), &reordered), []);
}

#[test]
fn changes_are_told_in_words() {
    let told = |other: Files| {
        let (_, item, words) = one(&treasury(), &other);
        format!("{item}: {words}")
    };
    assert_eq!(told(with_rule(&treasury(), PERMIT)), "extra: a permit is new");
    assert_eq!(
        told(changed("policy.cedar", "2 of treasury, 1 of risk", "1 of risk")),
        "payouts-large: approvals go from 2 of treasury, 1 of risk to 1 of risk"
    );
    assert_eq!(told(changed("limits.toml", "count = 20", "count = 21")), "vendor-hour: the limit is higher");
    assert_eq!(told(changed("bundle.toml", "24h", "48h")), ": the loosening delay goes from 24h to 2d");
    let words = told(changed("lists/blocked.txt", "0x00000000000000000000000000000000deadbeef", ""));
    assert_eq!(words, "blocked: 1 gone: 0x00000000000000000000000000000000deadbeef");
}

/// Where the vendors' list is used in no limit, by how rules use it: (added, taken).
#[test]
fn lists_count_by_where_rules_use_them() {
    let rule = |effect: &str, condition: &str| {
        format!("@id(\"r\") {effect} (principal, action == Action::\"sign\", resource) {condition};\n")
    };
    let within = "context.tx.to in List::\"x\"";
    let cases = [
        (rule("permit", &format!("when {{ {within} && context.now.hour > 6 || {within} }}")), Looser, Tighter),
        (rule("forbid", &format!("when {{ {within} }}")), Tighter, Looser),
        (rule("forbid", "when { context.tx.to in [List::\"x\", List::\"vendors\"] }"), Tighter, Looser),
        (rule("permit", &format!("when {{ !({within}) }}")), Looser, Looser),
        (rule("permit", &format!("unless {{ {within} }}")), Looser, Looser),
        (rule("forbid", &format!("unless {{ {within} }}")), Looser, Looser),
        (rule("permit", &format!("when {{ ({within}) == true }}")), Looser, Looser),
        (rule("permit", &format!("when {{ if {within} then context.now.hour > 6 else true }}")), Looser, Looser),
        // It can overflow, and an error denies: out of the list it would not be looked at.
        (rule("permit", &format!("when {{ {within} && context.now.hour + 9223372036854775807 > 0 }}")), Looser, Looser),
        (
            rule("forbid", &format!("when {{ {within} && context.now.hour + 9223372036854775807 > 0 }}")),
            Tighter,
            Looser,
        ),
        (String::new(), Looser, Looser),
    ];
    let both = format!("{}{}", cases[0].0, cases[1].0.replace("\"r\"", "\"s\""));
    let cases = cases.into_iter().chain([(both, Looser, Looser)]);
    for (rules, added, taken) in cases {
        let mut without = with("policy.cedar", &rules);
        let mut with_entry = without.clone();
        without.insert("lists/x.txt".into(), vec![]);
        with_entry.insert("lists/x.txt".into(), STRANGER.as_bytes().to_vec());
        assert_eq!(one(&without, &with_entry).0, added, "{rules}");
        assert_eq!(one(&with_entry, &without).0, taken, "{rules}");
    }
}

/// A list that decides nothing yet is there before the rule that uses it.
#[test]
fn rules_of_both_bundles_are_looked_at() {
    let forbid = "\n@id(\"x\") forbid (principal, action == Action::\"sign\", resource) when { context.tx.to in List::\"x\" };\n";
    let mut new = with_rule(&treasury(), forbid);
    new.insert("lists/x.txt".into(), STRANGER.as_bytes().to_vec());
    assert!(tightens_only(&changes(&bundle(&treasury()), &bundle(&new))));
    assert!(!tightens_only(&changes(&bundle(&new), &bundle(&treasury()))));
    // A permit that could overflow denied what it failed on.
    let failing = with_rule(
        &treasury(),
        "\n@id(\"x\") permit (principal, action == Action::\"sign\", resource) when { context.now.hour + 9223372036854775807 < 0 };\n",
    );
    assert_eq!(one(&failing, &treasury()).0, Looser);
}
