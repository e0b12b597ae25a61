//! `tally policy simulate|explain|replay`: what a bundle would say, did say, and would have said.

use super::read;
use crate::bundle;
use crate::input;
use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::sign::Content;
use crate::words::utc;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tally_client::{DecidedInfo, Exit, JudgementInfo, ReplayedChange};
use tally_domain::time::parse_span;
use tally_domain::{DerivationPath, KeyName, RequestId};
use tally_policy::{SignedBundle, VALIDITY_MAX_MS, Validity};

/// `tally policy simulate`
#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// The key.
    key: KeyName,
    #[command(flatten)]
    content: Content,
    /// A child of the key, such as m/0/7.
    #[arg(long, value_parser = input::path, default_value = "m")]
    path: DerivationPath,
    /// A bundle's directory, or the file of a signed one, in place of the active bundle.
    #[arg(long, value_name = "BUNDLE")]
    draft: Option<PathBuf>,
}

impl Simulate {
    /// Runs it. Ends as signing would: with 3 where it is denied and 4 where persons would have to approve.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let client = profile.client()?;
        let order = self.content.order(self.key)?.path(self.path);
        let draft = self.draft.as_deref().map(envelope).transpose()?;
        let judgement = client.simulate(&client.seal(order)?, draft).await?;
        let exit = match judgement.verdict.as_str() {
            "permit" => Exit::Done,
            "needs-approval" => Exit::NeedsApproval,
            _ => Exit::Denied,
        };
        Ok(Shown::with_exit(exit, judgement_lines(&judgement).join("\n"), judgement_json(&judgement)))
    }
}

/// A draft as nodes read it; a directory is packed, and signed by nobody.
fn envelope(path: &Path) -> anyhow::Result<Vec<u8>> {
    if !path.is_dir() {
        return Ok(read::signed(path)?.to_bytes());
    }
    let not_before = read::now();
    let validity = Validity { not_before, not_after: not_before.plus(VALIDITY_MAX_MS) };
    let packed = SignedBundle::pack(&bundle::files(path)?, None, validity);
    Ok(packed.map_err(|e| anyhow::anyhow!("{}/{e}", path.display()))?.to_bytes())
}

/// `tally policy explain ID`
pub async fn explain(profile: &ProfileArg, id: RequestId) -> anyhow::Result<Shown> {
    let client = profile.client()?;
    let mut decisions = Vec::new();
    let mut trouble = None;
    // Each node decided by itself.
    for one in (0..client.endpoints().count()).filter_map(|i| client.only(i)) {
        let name = one.endpoints().next().unwrap_or_default().to_owned();
        match one.once().explain(id).await {
            Ok(found) => decisions.extend(found.into_iter().map(|decided| (name.clone(), decided))),
            Err(error) => trouble = Some(error),
        }
    }
    match trouble {
        Some(error) if decisions.is_empty() => return Err(error.into()),
        _ => {}
    }
    let lines: Vec<_> = decisions.iter().flat_map(|(node, decided)| decided_lines(node, decided)).collect();
    let listed: Vec<_> = decisions.iter().map(|(node, decided)| decided_json(node, decided)).collect();
    Ok(Shown::done(lines.join("\n"), json!({ "request_id": id.to_string(), "decisions": listed })))
}

/// `tally policy replay DRAFT --since 30d`
pub async fn replay(profile: &ProfileArg, draft: &Path, since: &str) -> anyhow::Result<Shown> {
    let span = parse_span(since).ok_or_else(|| Usage("--since is a span such as 24h or 30d".into()))?;
    let since = read::now().minus(u64::from(span) * 1_000);
    let client = profile.client()?;
    let mut changes = Vec::new();
    let progress = Progress::start("replaying", None);
    let counts = client.replay(envelope(draft)?, since, |change| changes.push(change)).await;
    drop(progress);
    let counts = counts?;
    let mut lines: Vec<_> = changes.iter().map(change_line).collect();
    lines.push(format!(
        "{} requests since {}: {} unchanged, {} tightened, {} loosened, {} otherwise, {} skipped",
        counts.requests,
        utc(since),
        counts.unchanged,
        counts.tightened,
        counts.loosened,
        counts.otherwise,
        counts.skipped
    ));
    let listed: Vec<_> = changes.iter().map(change_json).collect();
    let json = json!({
        "since_ms": since.0, "requests": counts.requests, "unchanged": counts.unchanged, "tightened": counts.tightened,
        "loosened": counts.loosened, "otherwise": counts.otherwise, "skipped": counts.skipped, "changes": listed,
    });
    Ok(Shown::done(lines.join("\n"), json))
}

fn change_line(c: &ReplayedChange) -> String {
    let rule = |rule: &str| if rule.is_empty() { String::new() } else { format!(" ({rule})") };
    let (was, now) = (rule(&c.was_rule), rule(&c.now_rule));
    format!("{} {} {}{was} -> {}{now}: {}", utc(c.time), c.request, c.was, c.now, c.summary)
}

fn change_json(c: &ReplayedChange) -> Value {
    json!({
        "time_ms": c.time.0, "tenant": c.tenant.as_str(), "request_id": c.request.to_string(), "summary": c.summary,
        "was": c.was, "was_rule": c.was_rule, "now": c.now, "now_rule": c.now_rule,
    })
}

fn judgement_lines(j: &JudgementInfo) -> Vec<String> {
    let reason = j.reason.as_deref().map(|r| format!(" {r}")).unwrap_or_default();
    let rules = if j.rules.is_empty() { String::new() } else { format!(" by rule {}", j.rules.join(", ")) };
    let mut lines = vec![format!("WOULD {}{reason}{rules}", j.verdict.to_uppercase())];
    lines.push(field("bundle", format!("version {}, {}", j.bundle.version, j.bundle.digest)));
    lines.extend(j.facts.lines().map(|line| field("facts", line.trim())));
    lines.extend(j.near_misses.iter().map(|(rule, condition)| field("near", format!("{rule}: {condition}"))));
    lines.extend(j.missing.iter().map(|way| field("missing", way)));
    let charge = |c: &tally_client::LimitChargeInfo| format!("{}: {} of {}", c.limit, c.amount, c.max);
    lines.extend(j.charges.iter().map(|c| field("limit", charge(c))));
    lines.extend(j.errors.iter().map(|e| field("error", e)));
    lines
}

fn judgement_json(j: &JudgementInfo) -> Value {
    let near: Vec<_> = j.near_misses.iter().map(|(rule, c)| json!({ "rule": rule, "condition": c })).collect();
    let charge = |c: &tally_client::LimitChargeInfo| json!({ "limit": c.limit, "amount": c.amount, "max": c.max, "window_ms": c.window_ms });
    json!({
        "verdict": j.verdict, "reason": j.reason, "version": j.bundle.version, "digest": j.bundle.digest.to_string(),
        "facts": j.facts, "rules": j.rules, "near_misses": near, "missing": j.missing,
        "charges": j.charges.iter().map(charge).collect::<Vec<_>>(), "errors": j.errors,
    })
}

fn decided_lines(node: &str, d: &DecidedInfo) -> Vec<String> {
    let reason = d.reason.as_deref().map(|r| format!(" {r}")).unwrap_or_default();
    let mut lines = vec![format!("{node}: {}{reason} at {}, brought by {}", d.verdict, utc(d.time), d.from)];
    lines.push(field("bundle", d.bundle));
    lines.extend(d.rule.as_ref().map(|rule| field("rule", rule)));
    lines.extend(d.condition.as_ref().map(|condition| field("condition", condition)));
    lines.push(field("facts", &d.summary));
    // The first line says the verdict once more.
    lines.extend(d.again.iter().flat_map(|again| judgement_lines(again).into_iter().skip(2)));
    lines
}

fn decided_json(node: &str, d: &DecidedInfo) -> Value {
    json!({
        "node": node, "leaf": d.leaf, "time_ms": d.time.0, "from": d.from, "bundle": d.bundle.to_string(),
        "verdict": d.verdict, "reason": d.reason, "rule": d.rule, "condition": d.condition, "summary": d.summary,
        "again": d.again.as_ref().map(judgement_json),
    })
}
