//! `tally policy simulate|replay`: what a bundle would say of a request, and would have said of those of the past.

use super::judgement::{self, When, charge, charge_json};
use super::read;
use crate::bundle;
use crate::input;
use crate::output::{Progress, Shown, Usage, field};
use crate::profile::ProfileArg;
use crate::sign::Content;
use crate::words::utc;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tally_client::{Exit, ReplayedChange};
use tally_domain::time::parse_span;
use tally_domain::{DerivationPath, KeyName, Reason};
use tally_policy::{SignedBundle, VALIDITY_MAX_MS, Validity};

/// What is shown of limits is what one node knows.
const LIMITS_AS: &str = "Limits are shown as the node that was asked remembers them: votes decide, and others may know of \
     more. Nothing is taken by asking.";

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
            _ => judgement.reason.as_deref().and_then(Reason::parse).map_or(Exit::Denied, Exit::of),
        };
        let mut lines = judgement::lines(&judgement, When::Now(read::now()));
        lines.extend((!judgement.charges.is_empty()).then(|| LIMITS_AS.to_owned()));
        Ok(Shown::with_exit(exit, lines.join("\n"), judgement::to_json(&judgement)))
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
    let mut lines: Vec<_> = changes.iter().flat_map(change_lines).collect();
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
    lines.extend(counts.assumes.iter().map(|assumed| field("assumes", assumed)));
    let listed: Vec<_> = changes.iter().map(change_json).collect();
    let json = json!({
        "since_ms": since.0, "requests": counts.requests, "unchanged": counts.unchanged, "tightened": counts.tightened,
        "loosened": counts.loosened, "otherwise": counts.otherwise, "skipped": counts.skipped, "changes": listed,
        "assumes": counts.assumes,
    });
    Ok(Shown::done(lines.join("\n"), json))
}

fn change_lines(c: &ReplayedChange) -> Vec<String> {
    let rule = |rule: &str| if rule.is_empty() { String::new() } else { format!(" ({rule})") };
    let (was, now) = (rule(&c.was_rule), rule(&c.now_rule));
    let summary = c.summary.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let mut lines = vec![format!("{} {} {}{was} -> {}{now}: {summary}", utc(c.time), c.request, c.was, c.now)];
    lines.extend(c.limits.iter().map(|limit| field("limit", charge(limit, When::Then(c.time)))));
    lines.extend(c.missing.iter().map(|way| field("would wait for", way)));
    lines
}

fn change_json(c: &ReplayedChange) -> Value {
    json!({
        "time_ms": c.time.0, "tenant": c.tenant.as_str(), "request_id": c.request.to_string(), "summary": c.summary,
        "was": c.was, "was_rule": c.was_rule, "now": c.now, "now_rule": c.now_rule,
        "limits": c.limits.iter().map(charge_json).collect::<Vec<_>>(), "missing": c.missing,
    })
}
