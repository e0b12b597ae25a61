//! Keys below a key: of Ed25519, and the outputs of a key for Taproot.

use super::tour::{Told, Tour, create};
use crate::foreign;
use anyhow::{Context as _, ensure};
use tally_chains::{BitcoinNetwork, taproot_address};
use tally_client::{Client, KeyBacking, Order};
use tally_domain::{DerivationPath, KeyName, Purpose, Scheme};

/// A message by a child of each; what every node says the child is, libraries that no node uses compute from the root.
pub async fn signed(tour: &Tour) -> Told {
    let client = tour.client()?;
    let path = DerivationPath::parse("m/0/7")?;
    let fast = client.key(&KeyName::parse("fast")?).await?;
    let KeyBacking::Threshold { chain_code, .. } = &fast.backing else { anyhow::bail!("fast is no threshold key") };
    let chain_code = chain_code.context("fast has no chain code")?;
    let child = foreign::ed25519_child(&fast.public_key, chain_code.0, path.steps())?;
    let by_fast = by_child(client, &fast.name, &path, &child).await?;

    let (tap, tap_line) = create(client, "tap", Scheme::Taproot, Purpose::Message).await?;
    let xpub = tap.xpub().context("tap has no extended public key")?;
    let output = foreign::taproot_child(xpub, path.steps())?;
    let by_tap = by_child(client, &tap.name, &path, &output).await?;
    Ok(vec![
        format!("fast {path}: {}, which curve25519-dalek computes too", hex::encode(&child)),
        format!("PERMITTED by rule {by_fast}, verified by AWS-LC under that child"),
        tap_line,
        format!(
            "tap {path}: {}, the output that libsecp256k1 makes too",
            taproot_address(&output, BitcoinNetwork::Main)?
        ),
        format!("PERMITTED by rule {by_tap}, verified by libsecp256k1 as BIP-340 under that output's key"),
    ])
}

/// Signs with the child, and gives the rule.
async fn by_child(client: &Client, key: &KeyName, path: &DerivationPath, child: &[u8]) -> anyhow::Result<String> {
    ensure!(client.derive(key, path).await?.public_key == child, "the node derives another key at {path}");
    let order = Order::sign_message(key.clone(), b"two halves of a tiger".to_vec()).path(path.clone());
    let intent = client.seal(order)?;
    let signed = client.sign(&intent).await?;
    ensure!(signed.public_key == child, "the answer names another key than the child");
    foreign::verify(intent.intent(), &signed)?;
    Ok(signed.rule)
}
