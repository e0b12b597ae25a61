//! The step in which persons decide.

use super::sign;
use super::tour::{Told, Tour};
use crate::approve::decide;
use anyhow::{Context as _, bail, ensure};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tally_client::{Client, ClientError, Order, Refused, RequestState, SealedIntent, Signed};
use tally_domain::approval::Verdict;
use tally_domain::{Reason, RequestId};

/// How long persons have in the tour.
const VALID_MS: u64 = 60 * 60 * 1_000;

/// Longest wait for the nodes to sign by themselves: they do at once, on a busy machine in seconds.
const SIGNED_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// 2500 USDC wait; alice alone is not enough, carol operates the client, bob is the second. 2600 are rejected.
pub async fn approved(tour: &Tour) -> Told {
    let (client, hot) = (tour.client()?, tour.hot()?);
    let order = |nonce, whole| -> anyhow::Result<Order> {
        let payload = sign::usdc_transfer(nonce, whole)?;
        Ok(Order::sign_evm(hot.name.clone(), "eip155:1", payload).valid_for(VALID_MS).note("demo"))
    };
    let large = client.seal(order(20, 2_500)?)?;
    let id = large.request_id();
    let mut lines = vec![format!("2500 USDC: NEEDS APPROVAL, {}", waits(client, &large).await?)];
    let agreed = decide(client, id, &key(tour, "alice"), Verdict::Approve).await?;
    ensure!(agreed.text().contains("2500 USDC"), "the summary is {:?}", agreed.text());
    lines.push(format!("alice approves what {} nodes agree on: {}", agreed.count(), agreed.text().replace('\n', " ")));
    lines.push(format!("still {}", waits(client, &large).await?));
    match decide(client, id, &key(tour, "carol"), Verdict::Approve).await {
        Err(error) => lines.push(format!("carol operates the client: {error}")),
        Ok(_) => bail!("the initiator's approval was taken"),
    }
    decide(client, id, &key(tour, "bob"), Verdict::Approve).await?;
    let signed = signed(client, id).await?;
    lines.extend(sign::permitted(tour, "bob approves; without the client", &large, &signed)?);
    ensure!(client.sign(&large).await? == signed, "the client is given another signature");

    let other = client.seal(order(21, 2_600)?)?;
    waits(client, &other).await?;
    decide(client, other.request_id(), &key(tour, "bob"), Verdict::Reject).await?;
    for node in (0..client.endpoints().count()).filter_map(|i| client.only(i)) {
        let node = node.once();
        let refused = refusal(&node, &other).await?;
        // A witness signs nothing anyway.
        let never = [Reason::Rejected, Reason::NotASigner].contains(&refused.reason);
        ensure!(never, "refused for {}", refused.reason.as_str());
    }
    lines.push("2600 USDC: bob rejects; DENIED REJECTED at every signer, whoever approves after that".into());
    Ok(lines)
}

fn key(tour: &Tour, person: &str) -> PathBuf {
    tour.dir.join("client/people").join(format!("{person}.key"))
}

/// What is missing of a request that must wait.
async fn waits(client: &Client, intent: &SealedIntent) -> anyhow::Result<String> {
    let refused = refusal(client, intent).await?;
    ensure!(refused.reason == Reason::ApprovalsRequired, "refused for {}", refused.reason.as_str());
    refused.metadata.get("missing_1").cloned().context("the answer does not say what is missing")
}

async fn refusal(client: &Client, intent: &SealedIntent) -> anyhow::Result<Refused> {
    match client.sign(intent).await {
        Err(ClientError::Refused(refused)) => Ok(*refused),
        Err(other) => Err(other).context("expected a refusal"),
        Ok(_) => bail!("it was signed"),
    }
}

async fn signed(client: &Client, id: RequestId) -> anyhow::Result<Signed> {
    let end = Instant::now() + SIGNED_MAX;
    loop {
        match client.request(id).await?.state {
            RequestState::Completed(Some(signed)) => return Ok(*signed),
            state if Instant::now() > end => bail!("nobody has signed it; it is {state:?}"),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
