//! `tally policy test`

use crate::bundle;
use crate::output::{Shown, field};
use serde_json::json;
use std::path::Path;
use tally_client::Exit;
use tally_policy::{Case, CaseReport, Threshold, unnoticed};

/// What to do where nothing is tried.
const NO_CASES: &str = "\
there are no cases, so that nothing was tried. Write some into tests/NAME.case.toml, such as

  [[case]]
  name = \"a vendor is paid a little\"
  client = \"payout-service\"
  key = \"hot\"
  at = 2026-11-21T12:00:00Z
  transfer = { chain = \"eip155:1\", asset = \"USDC\", amount = \"1\", to = \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", fee = \"0.01\" }
  expect = \"permit\"";

pub fn run(dir: &Path) -> anyhow::Result<Shown> {
    let named = |e| anyhow::anyhow!("{}/{e}", dir.display());
    let files = bundle::files(dir)?;
    let bundle = bundle::of(dir, &files)?;
    let cases = Case::load_all(&bundle, &files).map_err(named)?;
    let reports: Vec<_> = cases.iter().map(|case| case.run(&bundle)).collect();
    let failed = reports.iter().filter(|report| report.wrong.is_some()).count();
    // A case that fails notices everything, and no case notices nothing.
    let missed = if failed == 0 && !cases.is_empty() { unnoticed(&files, &cases).map_err(named)? } else { Vec::new() };
    let mut lines: Vec<_> = reports.iter().map(line).collect();
    lines.extend(missed.iter().map(|t| field("not noticed", words(t))));
    lines.push(match (failed, reports.len(), missed.len()) {
        (0, 0, _) => NO_CASES.into(),
        (0, all, 0) => format!("{all} cases as expected; a step of any threshold would be noticed"),
        (0, all, missed) => format!("{all} cases as expected; {missed} steps of thresholds would not be noticed"),
        (failed, all, _) => format!("{failed} of {all} cases are not as expected"),
    });
    let json = json!({
        "cases": reports.iter().map(|r| json!({
            "file": r.file, "name": r.name, "passed": r.wrong.is_none(), "found": r.found, "expected": r.wrong,
        })).collect::<Vec<_>>(),
        "failed": failed,
        "unnoticed": missed.iter().map(|t| json!({
            "file": t.file, "line": t.place.line, "column": t.place.column, "is": t.is, "could_be": t.could_be,
        })).collect::<Vec<_>>(),
    });
    // What was not tried has not passed.
    let exit = if failed == 0 && !reports.is_empty() { Exit::Done } else { Exit::Other };
    Ok(Shown::with_exit(exit, lines.join("\n"), json))
}

fn line(report: &CaseReport) -> String {
    match &report.wrong {
        None => field("ok", format!("{}: {}", report.file, report.name)),
        Some(expected) => {
            let what = format!("{}: {}: {}; expected {expected}", report.file, report.name, report.found);
            field("FAILED", what)
        }
    }
}

fn words(threshold: &Threshold) -> String {
    let Threshold { file, place, is, could_be } = threshold;
    format!("{file}:{}:{}: {is} could be {could_be}", place.line, place.column)
}
