//! The step with a key that wraps others.

use super::tour::{Told, Tour};
use anyhow::{bail, ensure};
use tally_client::{Client, ClientError, Order, Wrapped};
use tally_domain::{EncryptionContext, KekChange, KekNumber, KeyName, NodeName, Reason};

/// How long the first version is left: the least that nodes take.
const A_DAY: u32 = 24 * 3_600;

/// A data key that is wrapped, wrapped anew after a rotation, and opened again; and what does not open.
pub async fn opened(tour: &Tour) -> Told {
    let client = tour.client()?;
    let vault = KeyName::parse("vault")?;
    let home = client.node().await?.node;
    let made = client.create_kek(&client.seal(Order::create_kek(vault.clone(), home.clone()).note("demo"))?).await?;
    ensure!(made.kek.state == "active" && made.kek.home == home, "the KEK is {} at {}", made.kek.state, made.kek.home);

    let order = Order::generate_data_key(vault.clone(), context("7")?, 32, true);
    // Another node sends the client on to the home.
    let key = client.rotated(1).generate_data_key(&client.seal(order)?).await?;
    let Some(plaintext) = &key.plaintext else { bail!("the data key was not shown") };
    let rotated = changed(client, &vault, KekChange::Rotate).await?;
    ensure!(rotated == "enabled", "the new version is {rotated}");
    let order = Order::rewrap(vault.clone(), context("7")?, &key.wrapped.blob, None);
    let anew = client.rewrap(&client.seal(order)?, &key.wrapped.blob).await?;
    ensure!(anew.by.version == KekNumber(2), "version {} has wrapped it anew", anew.by.version);
    let order = Order::unwrap(vault.clone(), context("7")?, &anew.blob);
    let again = client.unwrap(&client.seal(order)?, &anew.blob).await?;
    ensure!(again.plaintext.expose() == plaintext.expose(), "another key came out than went in");

    let order = Order::unwrap(vault.clone(), context("8")?, &anew.blob);
    let wrong = match client.unwrap(&client.seal(order)?, &anew.blob).await {
        Err(ClientError::Refused(refused)) => refused.reason,
        Err(other) => return Err(other.into()),
        Ok(_) => bail!("it was opened with another context"),
    };
    ensure!(wrong == Reason::BlobTampered, "refused for {}", wrong.as_str());
    let first = KekNumber(1);
    let pending = changed(client, &vault, KekChange::Destroy(first, A_DAY)).await?;
    let cancelled = changed(client, &vault, KekChange::Cancel(first)).await?;
    ensure!((pending.as_str(), cancelled.as_str()) == ("pending-destruction", "disabled"), "{pending}, {cancelled}");
    Ok(told(&home, &made.rule, &key.wrapped, &anew, wrong))
}

fn told(home: &NodeName, rule: &str, first: &Wrapped, anew: &Wrapped, wrong: Reason) -> Vec<String> {
    vec![
        format!("vault: AES-256 in the HSM of {home} by rule {rule}"),
        format!("a data key of 32 bytes: PERMITTED by rule {}, {} bytes wrapped", first.by.rule, first.blob.len()),
        format!("rotated and wrapped anew by version {}: the same key comes out", anew.by.version),
        format!("with invoice=8 for invoice=7: DATA_LOSS {}", wrong.as_str()),
        "version 1 was to be destroyed in a day; that was cancelled, and it is disabled".into(),
    ]
}

fn context(invoice: &str) -> anyhow::Result<EncryptionContext> {
    let pairs = [("app", "demo"), ("invoice", invoice)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(EncryptionContext::from_pairs(pairs)?)
}

async fn changed(client: &Client, kek: &KeyName, change: KekChange) -> anyhow::Result<String> {
    let intent = client.seal(Order::change_kek(kek.clone(), change).note("demo"))?;
    Ok(client.change_kek(&intent).await?.version.state)
}
