//! Steps with nodes and tokens that are away.

use super::tour::{Told, Tour};
use super::{jwt, sign};
use anyhow::{Context as _, bail, ensure};
use std::time::{Duration, Instant};
use tally_client::{Client, ClientError, Order, RequestState};
use tally_domain::Reason;

/// How long a token that is back may take to be found again: the module is started anew when it is next tried.
const TOKEN_BACK_MAX: Duration = Duration::from_secs(60);

/// How often it is tried.
const TOKEN_POLL: Duration = Duration::from_millis(100);

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
    // The key has a limit: whether signers or voters are missed first, there are too few of both.
    let too_few = matches!(refused.reason, Reason::Signers | Reason::Voters);
    ensure!(too_few, "refused for {}", refused.reason.as_str());
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

/// A token whose files are away for a while: what needs it fails at once and says why, all else goes on.
pub async fn token_lost(tour: &mut Tour) -> Told {
    let (here, away) = (tour.dir.join("node-1/tokens"), tour.dir.join("node-1/tokens.away"));
    let client = tour.client()?.clone();
    std::fs::rename(&here, &away).context("cannot take the token away")?;
    let mut lines = vec![format!("the token of node-1 is taken away: {}", jwt_refused(&client).await?)];
    lines.extend(sign::message(tour).await?);
    std::fs::rename(&away, &here).context("cannot put the token back")?;
    let began = Instant::now();
    while client.sign(&client.seal(jwt::order(b"back")?)?).await.is_err() {
        ensure!(began.elapsed() < TOKEN_BACK_MAX, "the token is back, and node-1 does not sign with it");
        tokio::time::sleep(TOKEN_POLL).await;
    }
    lines.push(format!("the token is back: the key `jwt` signs again, {:.1} s later", began.elapsed().as_secs_f64()));
    Ok(lines)
}

/// What the key `jwt` answers while its token is away.
async fn jwt_refused(client: &Client) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        match client.sign(&client.seal(jwt::order(b"away")?)?).await {
            Err(ClientError::Refused(refused)) if refused.reason == Reason::Hsm => {
                return Ok(format!("UNAVAILABLE {} for the key `jwt`", refused.reason.as_str()));
            }
            Err(other) => return Err(other).context("expected UNAVAILABLE HSM"),
            // What the module has read already it may still use for a moment.
            Ok(_) => ensure!(began.elapsed() < TOKEN_BACK_MAX, "the key signs without its token"),
        }
        tokio::time::sleep(TOKEN_POLL).await;
    }
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
