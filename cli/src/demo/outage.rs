//! Steps with nodes that are away.

use super::sign;
use super::tour::{Told, Tour};
use anyhow::{Context as _, bail, ensure};
use std::time::Instant;
use tally_client::{ClientError, Order, RequestState};
use tally_domain::Reason;

/// Two of three are enough.
pub async fn one_down(tour: &mut Tour) -> Told {
    tour.cluster()?.0.stop(2).await?;
    let mut lines = vec!["node-3 is stopped".to_owned()];
    lines.extend(sign::one_transfer(tour, 10).await?);
    Ok(lines)
}

/// One of three is not. The request stays open and completes when nodes are back.
pub async fn two_down(tour: &mut Tour) -> Told {
    tour.cluster()?.0.stop(1).await?;
    let client = tour.client()?.clone();
    let order = Order::sign_evm(tour.hot()?.name.clone(), "eip155:1", sign::usdc_transfer(11, 20)?);
    let intent = client.seal(order)?;
    let began = Instant::now();
    let refused = match client.sign(&intent).await {
        Err(ClientError::Refused(refused)) => refused,
        Err(other) => return Err(other).context("expected UNAVAILABLE SIGNERS"),
        Ok(_) => bail!("one node alone signed"),
    };
    ensure!(refused.reason == Reason::Signers, "refused for {}", refused.reason.as_str());
    let mut lines = vec![format!(
        "node-2 is stopped too: UNAVAILABLE {} after {:.2} s",
        refused.reason.as_str(),
        began.elapsed().as_secs_f64()
    )];

    let one = client.only(0).context("the profile has no endpoint")?;
    match one.request(intent.request_id()).await {
        Ok(request) => {
            let open = !matches!(request.state, RequestState::Completed(_));
            ensure!(open, "the request is completed though it was refused");
            lines.push(format!("request {} has no result at node-1", intent.request_id()));
        }
        Err(ClientError::Refused(refused)) if refused.reason == Reason::RequestNotFound => {
            lines.push(format!("request {} is not known at node-1", intent.request_id()));
        }
        Err(other) => return Err(other.into()),
    }

    let (cluster, client) = tour.cluster()?;
    cluster.start_all()?;
    cluster.ready(client).await?;
    let signed = client.sign(&intent).await?;
    let shown = sign::permitted(tour, "restarted, the same request", &intent, &signed)?;
    lines.extend(shown);
    Ok(lines)
}

/// Every node forgets what was in memory.
pub async fn restart(tour: &mut Tour) -> Told {
    let (cluster, client) = tour.cluster()?;
    cluster.stop_all().await?;
    cluster.start_all()?;
    cluster.ready(client).await?;
    let client = tour.client()?;
    let Some(done) = &tour.transfer else { bail!("there is no signed transfer") };
    sign::same(client, done).await?;
    let mut lines = sign::one_transfer(tour, 12).await?;
    lines.extend(sign::message(tour).await?);
    lines.push(format!("request {} still gives the same bytes", done.intent.request_id()));
    Ok(lines)
}
