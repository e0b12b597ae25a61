//! `tally policy check --prove`: what holds for every request there could be, by Cedar's verified symbolic compiler and
//! the solver cvc5. Membership of lists and groups is left open, so that what is proven holds for every list; limits are not
//! looked at. Of people it is counted, without the solver, whether enough may approve.

mod solver;

use super::{advice, read};
use crate::output::{Progress, Shown, field};
use anyhow::{Context as _, bail};
use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::{Value, json};
use solver::{Example, Prover};
use std::path::Path;
use std::str::FromStr as _;
use tally_client::Exit;
use tally_policy::{Bundle, Effect, Quorum, Rule};

/// What no node's facts are. Forbidden on both sides of every comparison, so that examples are of this world.
const IMPOSSIBLE: &str = r#"
forbid (principal, action, resource)
when { context.now.hour < 0 || context.now.hour > 23 || context.now.weekday < 1 || context.now.weekday > 7 };
forbid (principal, action == Action::"sign", resource)
when { context.tx.amount.lessThan(decimal("0.0")) || context.tx.fee.lessThan(decimal("0.0")) };
forbid (principal, action == Action::"sign_payment", resource)
when { context.payment.amount.lessThan(decimal("0.0")) || context.payment.total.lessThan(decimal("0.0"))
       || context.payment.count < 1 };
forbid (principal, action == Action::"sign_message", resource) when { context.message.bytes < 0 };
forbid (principal, action == Action::"sign_raw", resource) when { context.raw.bytes < 0 };
forbid (principal, action == Action::"create_key", resource) when { context.spec.t < 1 || context.spec.n < context.spec.t };
"#;

pub async fn run(dir: &Path, against: Option<&Path>) -> anyhow::Result<Shown> {
    let draft = read::any(dir)?.bundle;
    let old = against.map(read::any).transpose()?.map(|read| read.bundle);
    let progress = Progress::start("proving", None);
    if old.as_ref().is_some_and(|old| old.schema() != draft.schema()) {
        bail!(
            "the functions of contracts.toml have changed, so that rules of the two bundles cannot be compared; leave out --against"
        );
    }
    let mut prover = Prover::new(&draft)?;
    let mut findings = Vec::new();
    for rule in draft.rules_in_full() {
        if let Some(example) = prover.fails(&policy(rule)?).await? {
            // Cedar alone would skip it; here it decides by failing.
            findings.push(Finding { what: "can fail", rule: rule.id.clone(), example: Some(example) });
        } else if never_decides(&mut prover, &draft, rule).await? {
            findings.push(Finding { what: "never decides", rule: rule.id.clone(), example: None });
        }
    }
    for rule in old.iter().flat_map(Bundle::rules_in_full) {
        // What it denied by failing, the solver would take for permitted.
        if prover.fails(&policy(rule)?).await?.is_some() {
            bail!("rule `{}` of the old bundle can fail, so that nothing can be proven against it", rule.id);
        }
    }
    for rule in draft.rules_in_full().iter().filter(|rule| rule.effect == Effect::Permit) {
        let Some(old) = &old else { break };
        let (new, before) = (alone(&draft, rule)?, as_easy(old, rule, None)?);
        if let Some(example) = prover.permits_more(&new, &before).await? {
            findings.push(Finding { what: "permits more", rule: rule.id.clone(), example: Some(example) });
        }
    }
    drop(progress);
    Ok(shown(&draft, old.as_ref(), &findings))
}

struct Finding {
    what: &'static str,
    rule: String,
    example: Option<Example>,
}

/// Whether all else says the same without the rule: a permit whose every request another one permits that asks no more of
/// anyone, or a forbid of what is not permitted or is forbidden anyway.
async fn never_decides(prover: &mut Prover, bundle: &Bundle, rule: &Rule) -> anyhow::Result<bool> {
    let example = match rule.effect {
        Effect::Permit => {
            let (with, without) = (alone(bundle, rule)?, as_easy(bundle, rule, Some(rule))?);
            prover.permits_more(&with, &without).await?
        }
        Effect::Forbid => {
            let without = set(bundle.rules_in_full().iter().filter(|other| other.id != rule.id))?;
            prover.permits_more(&without, &set(bundle.rules_in_full().iter())?).await?
        }
    };
    Ok(example.is_none())
}

/// One permit beside all forbids.
fn alone(bundle: &Bundle, permit: &Rule) -> anyhow::Result<PolicySet> {
    set(bundle.rules_in_full().iter().filter(|rule| rule.effect == Effect::Forbid || rule.id == permit.id))
}

/// All forbids, and the permits that ask no more approvals than `permit`, but one.
fn as_easy(bundle: &Bundle, permit: &Rule, but: Option<&Rule>) -> anyhow::Result<PolicySet> {
    let is_easy = |rule: &&Rule| {
        let permits = but.is_none_or(|but| but.id != rule.id) && asks_no_more(&rule.approvals, &permit.approvals);
        rule.effect == Effect::Forbid || permits
    };
    set(bundle.rules_in_full().iter().filter(is_easy))
}

fn asks_no_more(easy: &[Quorum], hard: &[Quorum]) -> bool {
    easy.iter().all(|e| hard.iter().any(|h| h.group == e.group && h.needed >= e.needed))
}

fn set<'a>(rules: impl Iterator<Item = &'a Rule>) -> anyhow::Result<PolicySet> {
    let mut set = PolicySet::from_str(IMPOSSIBLE).context("the facts of this world are no policy")?;
    for rule in rules {
        set.add(policy(rule)?).context("two rules have one name")?;
    }
    Ok(set)
}

fn policy(rule: &Rule) -> anyhow::Result<Policy> {
    // A name that none of the policies of `IMPOSSIBLE` has.
    let id = PolicyId::new(format!("rule {}", rule.id));
    Policy::from_json(Some(id), rule.meaning.clone()).context("a rule is not what Cedar wrote")
}

fn shown(draft: &Bundle, old: Option<&Bundle>, findings: &[Finding]) -> Shown {
    let rules = draft.rules_in_full().len();
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(field(finding.what, &finding.rule));
        lines.extend(finding.example.iter().flat_map(|example| example.lines.iter().map(|line| field("", line))));
    }
    let unmet: Vec<_> = draft.unmet().iter().map(advice::unmet).collect();
    lines.extend(unmet.iter().map(|warning| field("warning", warning)));
    let count = |what| findings.iter().filter(|f| f.what == what).count();
    lines.push(match count("can fail") {
        0 => format!("proven: none of the {rules} rules can fail"),
        n => format!("{n} of the {rules} rules can fail, and then deny whatever other rules say"),
    });
    match count("never decides") {
        0 => lines.push("proven: every rule decides some request".into()),
        n => lines.push(format!("{n} rules never decide: without them, all requests are decided the same")),
    }
    match (old, count("permits more")) {
        (None, _) => {}
        (Some(_), 0) => lines.push("proven: nothing is permitted that the old rules do not permit as easily".into()),
        (Some(_), n) => lines.push(format!("{n} rules permit what the old ones do not, or ask more approvals for")),
    }
    if old.is_some() {
        lines.push("Entries of lists, limits, persons and clients are compared by `tally policy diff`.".into());
    }
    let listed: Vec<Value> = findings
        .iter()
        .map(|f| json!({ "what": f.what, "rule": f.rule, "example": f.example.as_ref().map(|e| &e.lines) }))
        .collect();
    let exit = if count("can fail") == 0 { Exit::Done } else { Exit::Other };
    Shown::with_exit(exit, lines.join("\n"), json!({ "rules": rules, "findings": listed, "warnings": unmet }))
}
