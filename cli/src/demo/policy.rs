//! The step in which the policy changes.

use super::sign;
use super::tour::{Told, Tour};
use crate::dev::files::ADMINS;
use crate::policy::now;
use anyhow::{Context as _, bail, ensure};
use std::path::Path;
use tally_client::{Client, ClientError, Order, signing_key};
use tally_domain::{KeyName, Reason};
use tally_policy::{SignedBundle, Trust, VALIDITY_MAX_MS, Validity};

/// Large enough for the rule that this step adds, and signed before it.
const LARGE: usize = 2_000;

const FORBID: &str = r#"
@id("no-large-messages")
forbid (principal, action == Action::"sign_message", resource) when { context.message.bytes > 1024 };
"#;

/// Tightened and denied at once; loosened, not permitted, vetoed.
pub async fn changed(tour: &Tour) -> Told {
    let client = tour.client()?;
    let large = || anyhow::Ok(Order::sign_message(KeyName::parse("fast")?, vec![b'x'; LARGE]));
    client.sign(&client.seal(large()?)?).await.context("a large message is permitted so far")?;

    let tighter = next(tour, client, 2, |policy| policy + FORBID).await?;
    let proposed = client.propose(tighter).await?.proposal;
    ensure!(proposed.state == "active", "what tightens is {}", proposed.state);
    let mut lines =
        vec![format!("version 2 forbids large messages: active at once by {} votes", proposed.voted_by.len())];
    let refused = denied(&client.rotated(1), large()?).await?;
    lines.push(format!("the same message once more: DENIED {} by {refused}", Reason::PolicyDenied.as_str()));
    sign::message(tour).await?;

    let loosen = |policy: String| policy.replace("decimal(\"1000\")", "decimal(\"9000\")");
    let proposed = client.propose(next(tour, client, 3, loosen).await?).await?.proposal;
    ensure!(proposed.state == "waiting", "what loosens is {}", proposed.state);
    let hot = tour.hot()?.name.clone();
    let transfer = Order::sign_evm(hot, "eip155:1", sign::usdc_transfer(21, 5_000)?);
    denied(client, transfer).await?;
    let change = proposed.changes.first().context("no change is shown")?;
    lines.push(format!("version 3 loosens {}: it waits, and a transfer of 5000 is denied as before", change.item));
    let vetoed = client.rotated(2).veto(&client.seal(Order::veto_policy(proposed.name)?.note("demo"))?).await?;
    ensure!(vetoed.proposal.state == "vetoed", "what was vetoed is {}", vetoed.proposal.state);
    let by: Vec<_> = vetoed.proposal.vetoed_by.iter().map(|node| node.as_str()).collect();
    lines.push(format!("vetoed by {}, which the others honour", by.join(", ")));
    Ok(lines)
}

/// The rule or condition that denies.
async fn denied(client: &Client, order: Order) -> anyhow::Result<String> {
    match client.sign(&client.seal(order)?).await {
        Err(ClientError::Refused(refused)) if refused.reason == Reason::PolicyDenied => {
            Ok(refused.metadata.get("rule").cloned().unwrap_or_default())
        }
        Err(other) => Err(other).context("expected POLICY_DENIED"),
        Ok(_) => bail!("it was signed"),
    }
}

/// The active bundle with other rules, signed by two of the admins.
async fn next(
    tour: &Tour,
    client: &Client,
    version: u64,
    edit: impl FnOnce(String) -> String,
) -> anyhow::Result<Vec<u8>> {
    let active = client.signed_policy().await?.context("the node's policy is not signed")?;
    let signed = SignedBundle::from_bytes(&active)?;
    let previous = signed.open(Trust::Reopened(signed.digest()), now())?;
    let mut files = signed.files()?;
    let policy = files.get("policy.cedar").context("the bundle has no rules")?.clone();
    files.insert("policy.cedar".into(), edit(String::from_utf8(policy)?).into_bytes());
    files.insert("bundle.toml".into(), format!("version = {version}\n").into_bytes());
    let not_before = now();
    let validity = Validity { not_before, not_after: not_before.plus(VALIDITY_MAX_MS) };
    let mut next = SignedBundle::pack(&files, Some(&previous), validity)?;
    for name in ADMINS.iter().take(2) {
        next.sign(&signing_key(&admin_key(&tour.dir, name))?);
    }
    Ok(next.to_bytes())
}

fn admin_key(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("client/admins").join(format!("{name}.key"))
}
