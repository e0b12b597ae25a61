//! The operators' manual says of every reason what happened and what to do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

use std::collections::BTreeSet;
use tally_domain::Reason;

const MANUAL: &str = include_str!("../../docs/operating.md");

/// The rows of the table of failures: reasons, what happened, what to do.
fn rows() -> Vec<[&'static str; 3]> {
    let section = MANUAL.split("## What failures mean\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &'static str| -> Vec<_> { line.trim_matches('|').split(" | ").map(str::trim).collect() };
    rows.map(|line| cells(line).try_into().unwrap_or_else(|_| panic!("not three cells: {line}"))).collect()
}

#[test]
fn every_reason_has_a_row_and_every_row_a_reason() {
    let named = rows().into_iter().flat_map(|row| row[0].split(", ").collect::<Vec<_>>());
    let named: Vec<_> = named.map(|word| word.trim_matches('`')).collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let rows: BTreeSet<_> = named.iter().copied().collect();
    assert_eq!(rows, all, "docs/operating.md, \"What failures mean\"");
    assert_eq!(named.len(), all.len(), "no reason has two rows");
}

#[test]
fn every_row_says_what_happened_and_what_to_do() {
    for [reasons, happened, to_do] in rows() {
        assert!(!happened.is_empty() && !to_do.is_empty(), "{reasons}");
    }
}
