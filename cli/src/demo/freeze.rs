//! The step with a key that is frozen.

use super::sign;
use super::tour::{Told, Tour};
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeSet;
use tally_client::{ClientError, Order};
use tally_domain::{Reason, Scope};

/// Frozen at one node, refused at another, lifted by a majority, signed with again.
pub async fn frozen(tour: &Tour) -> Told {
    let (client, hot) = (tour.client()?, tour.hot()?);
    let scope = Scope::Key(hot.name.clone());
    let at_another = client.rotated(1);
    let frozen = at_another.freeze(&client.seal(Order::freeze(&scope)?.note("demo"))?).await?;
    let by = &frozen.freeze.name.by;
    ensure!(frozen.told.waiting.is_empty(), "{:?} have not heard of it", frozen.told.waiting);

    let order = Order::sign_evm(hot.name.clone(), "eip155:1", sign::usdc_transfer(9, 10)?);
    let intent = client.seal(order)?;
    let refused = match client.sign(&intent).await {
        Err(ClientError::Refused(refused)) => refused,
        Err(other) => return Err(other).context("expected FROZEN"),
        Ok(_) => bail!("a frozen key signed"),
    };
    ensure!(refused.reason == Reason::Frozen, "refused for {}", refused.reason.as_str());
    ensure!(client.key(&hot.name).await?.state == "frozen", "the key is not shown as frozen");
    let mut lines = vec![format!(
        "{scope} is frozen by {by}, {} other nodes know; node-1 says DENIED {}",
        frozen.told.acknowledged.len(),
        refused.reason.as_str()
    )];
    // Only this key.
    sign::message(tour).await?;

    let lifts = BTreeSet::from([frozen.freeze.name.clone()]);
    let lifted = client.unfreeze(&client.seal(Order::unfreeze(&scope, lifts)?.note("demo"))?).await?;
    ensure!(lifted.signers >= 2, "{} nodes lifted it", lifted.signers);
    lines.push(format!("lifted by the words of {} nodes", lifted.signers));
    let signed = client.sign(&intent).await?;
    lines.extend(sign::permitted(tour, "the same request", &intent, &signed)?);
    Ok(lines)
}
