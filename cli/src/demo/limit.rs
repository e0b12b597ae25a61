//! The step with a limit that is reached.

use super::sign;
use super::tour::{Told, Tour};
use crate::dev::files::{SECOND_VENDOR, VENDOR_DAY};
use crate::dev::init::SIGNERS;
use crate::{foreign, policy};
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;
use tally_client::{Client, ClientError, Order};
use tally_domain::Reason;
use tokio::task::JoinSet;

/// One small transfer: a whole number of them is the limit.
const SMALL: u64 = 250;

/// How many are asked for: half as many again as the limit allows.
const ASKED: u64 = VENDOR_DAY / SMALL * 3 / 2;

/// How often a caller tries one that lost against others.
const TRIES_MAX: usize = 20;

/// Many at once through all leaders: what is signed is the limit, to the last unit.
pub async fn reached(tour: &Tour) -> Told {
    let (client, hot) = (tour.client()?, tour.hot()?);
    let mut callers = JoinSet::new();
    for number in 0..ASKED {
        let payload = sign::usdc_to(SECOND_VENDOR, 100 + number, SMALL.into())?;
        let leader = client.rotated(usize::try_from(number % u64::from(SIGNERS))?);
        let order = Order::sign_evm(hot.name.clone(), "eip155:1", payload);
        callers.spawn(async move { signed_or_full(&leader, order).await });
    }
    let (mut signed, mut refused) = (0, BTreeMap::<String, u64>::new());
    for outcome in callers.join_all().await {
        match outcome? {
            None => signed += SMALL,
            Some(limit) => *refused.entry(limit).or_default() += 1,
        }
    }
    ensure!(signed == VENDOR_DAY, "{signed} USDC were signed, the limit is {VENDOR_DAY}");
    let (limit, times) = refused.first_key_value().context("nothing was refused")?;
    ensure!(limit == "vendor-usdc-day" && refused.len() == 1, "refused for {refused:?}");
    let mut lines = vec![
        format!("{ASKED} transfers of {SMALL} USDC through {SIGNERS} leaders at once: {signed} USDC signed"),
        format!("{times} refused: RESOURCE_EXHAUSTED {}, limit {limit}", Reason::VelocityLimit.as_str()),
    ];
    let shown = policy::limits_left(client, limit, &SECOND_VENDOR.to_lowercase()).await?;
    ensure!(shown == "0", "{shown} USDC are shown to be left");
    lines.push("`tally policy limits` shows nothing left for this vendor, and what is left for the other".into());
    Ok(lines)
}

/// Nothing once it is signed, or the limit that has no room for it.
async fn signed_or_full(client: &Client, order: Order) -> anyhow::Result<Option<String>> {
    let intent = client.seal(order)?;
    for _ in 0..TRIES_MAX {
        match client.sign(&intent).await {
            Ok(signed) => {
                foreign::verify(intent.intent(), &signed)?;
                return Ok(None);
            }
            Err(ClientError::Refused(refused)) if refused.reason == Reason::VelocityLimit => {
                return Ok(Some(refused.metadata.get("limit").cloned().unwrap_or_default()));
            }
            // Others had what this one wanted; they may not have got it in the end.
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("a transfer was neither signed nor refused in {TRIES_MAX} tries")
}
