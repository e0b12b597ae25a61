//! Steps that sign, or must not.

use super::tour::{Done, Told, Tour};
use crate::dev::files::{USDC, USDC_UNIT, VENDOR};
use crate::dev::init::SIGNERS;
use crate::foreign;
use anyhow::{bail, ensure};
use tally_chains::{Eip1559, eip1559_unsigned, erc20_transfer_input, parse_evm_address};
use tally_client::{Client, ClientError, Order, Refused, SealedIntent, Signed};
use tally_domain::facts::Amount;
use tally_domain::{KeyName, Reason, RequestId};

/// A tenth of an ether in wei.
const TENTH_OF_ETHER: u128 = 100_000_000_000_000_000;

/// Two transfers that policy permits.
pub async fn transfers(tour: &mut Tour) -> Told {
    let (client, hot) = (tour.client()?, tour.hot()?);
    let mut lines = Vec::new();
    let usdc = client.seal(Order::sign_evm(hot.name.clone(), "eip155:1", usdc_transfer(0, 250)?))?;
    let signed = client.sign(&usdc).await?;
    lines.extend(permitted(tour, "250 USDC to a vendor", &usdc, &signed)?);
    let ether = client.seal(Order::sign_evm(hot.name.clone(), "eip155:1", ether_transfer(1)?))?;
    let ether_signed = client.sign(&ether).await?;
    lines.extend(permitted(tour, "0.1 ETH to a vendor", &ether, &ether_signed)?);
    tour.transfer = Some(Done { intent: usdc, signed });
    Ok(lines)
}

/// A message with the other key.
pub async fn message(tour: &Tour) -> Told {
    let client = tour.client()?;
    let text = b"two halves of a tiger".to_vec();
    let intent = client.seal(Order::sign_message(KeyName::parse("fast")?, text))?;
    let signed = client.sign(&intent).await?;
    let key = client.key(&KeyName::parse("fast")?).await?;
    ensure!(signed.public_key == key.public_key, "the answer names another public key than the key has");
    foreign::verify(intent.intent(), &signed)?;
    Ok(vec![
        format!("PERMITTED by rule {}, verified by AWS-LC", signed.rule),
        format!("signature {}", hex::encode(&signed.signature)),
    ])
}

/// Over the rule's amount.
pub async fn too_much(tour: &Tour) -> Told {
    let refused = refusal(tour, usdc_transfer(2, 5_000)?).await?;
    ensure!(refused.reason == Reason::PolicyDenied, "denied for {}", refused.reason.as_str());
    let (rule, condition) = (fact(&refused, "rule"), fact(&refused, "condition"));
    ensure!(rule.contains("payouts-small"), "the answer does not name the rule payouts-small: {:?}", refused.metadata);
    ensure!(condition.contains("1000"), "the answer does not show the amount's condition: {:?}", refused.metadata);
    Ok(vec![format!("DENIED {}: rule {rule} needs {condition}", refused.reason.as_str())])
}

/// Call data that no decoder here knows.
pub async fn unknown(tour: &Tour) -> Told {
    let refused = refusal(tour, to_usdc(3, hex::decode("deadbeef")?)?).await?;
    ensure!(refused.reason == Reason::TxOpaque, "denied for {}", refused.reason.as_str());
    let facts: Vec<_> = refused.metadata.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    Ok(vec![format!("DENIED {}", refused.reason.as_str()), facts.join(", ")])
}

/// The same request elsewhere, and its id with other content.
pub async fn again(tour: &Tour) -> Told {
    let client = tour.client()?;
    let Some(done) = &tour.transfer else { bail!("there is no signed transfer") };
    for index in 0..usize::from(SIGNERS) {
        let Some(one) = client.only(index) else { continue };
        same(&one, done).await?;
    }
    let id = done.intent.request_id();
    let conflict =
        refusal_of(client, Order::sign_evm(tour.hot()?.name.clone(), "eip155:1", usdc_transfer(0, 251)?), Some(id));
    let conflict = conflict.await?;
    ensure!(conflict.reason == Reason::RequestIdConflict, "refused for {}", conflict.reason.as_str());
    Ok(vec![
        format!("request {id}: the same signature, transaction and certificate from every node"),
        format!("with 251 instead of 250: REFUSED {}", conflict.reason.as_str()),
    ])
}

/// Asks for a signed transfer again, and expects the very same answer.
pub async fn same(client: &Client, done: &Done) -> anyhow::Result<()> {
    let again = client.sign(&done.intent).await?;
    ensure!(again == done.signed, "the same request gave a different answer");
    Ok(())
}

/// Signs a transfer that policy permits, and checks it.
pub async fn one_transfer(tour: &Tour, nonce: u64) -> anyhow::Result<Vec<String>> {
    let client = tour.client()?;
    let payload = usdc_transfer(nonce, 10)?;
    let intent = client.seal(Order::sign_evm(tour.hot()?.name.clone(), "eip155:1", payload))?;
    let signed = client.sign(&intent).await?;
    permitted(tour, "10 USDC to a vendor", &intent, &signed)
}

/// What to show of a permitted transfer, after checking it with libsecp256k1.
pub fn permitted(tour: &Tour, what: &str, intent: &SealedIntent, signed: &Signed) -> anyhow::Result<Vec<String>> {
    let sender = foreign::verify(intent.intent(), signed)?.sender;
    ensure!(sender == tour.hot()?.evm_address, "libsecp256k1 recovers {sender:?}, which is not the key's address");
    ensure!(signed.certificate.votes.len() == 2, "the certificate has {} votes", signed.certificate.votes.len());
    Ok(vec![
        format!(
            "{what}: PERMITTED by rule {}, sender {} recovered by libsecp256k1",
            signed.rule,
            sender.unwrap_or_default()
        ),
        format!("raw transaction 0x{}", hex::encode(&signed.signed_payload)),
    ])
}

/// A USDC transfer to the vendor.
pub fn usdc_transfer(nonce: u64, whole: u128) -> anyhow::Result<Vec<u8>> {
    usdc_to(VENDOR, nonce, whole)
}

/// A USDC transfer.
pub fn usdc_to(to: &str, nonce: u64, whole: u128) -> anyhow::Result<Vec<u8>> {
    to_usdc(nonce, erc20_transfer_input(parse_evm_address(to)?, amount(whole * u128::from(USDC_UNIT))))
}

fn to_usdc(nonce: u64, input: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    transaction(nonce, USDC, amount(0), input)
}

fn ether_transfer(nonce: u64) -> anyhow::Result<Vec<u8>> {
    transaction(nonce, VENDOR, amount(TENTH_OF_ETHER), Vec::new())
}

fn transaction(nonce: u64, to: &str, value: Amount, input: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    Ok(eip1559_unsigned(&Eip1559 {
        chain_id: 1,
        nonce,
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_gas: 20_000_000_000,
        gas_limit: 100_000,
        to: Some(parse_evm_address(to)?),
        value,
        input,
    }))
}

fn amount(n: u128) -> Amount {
    Amount(alloy_primitives::U256::from(n).to_be_bytes())
}

async fn refusal(tour: &Tour, payload: Vec<u8>) -> anyhow::Result<Refused> {
    refusal_of(tour.client()?, Order::sign_evm(tour.hot()?.name.clone(), "eip155:1", payload), None).await
}

/// Signs what must not be signed, and gives the refusal.
async fn refusal_of(client: &Client, order: Order, id: Option<RequestId>) -> anyhow::Result<Refused> {
    let intent = client.seal(match id {
        Some(id) => order.request_id(id),
        None => order,
    })?;
    match client.sign(&intent).await {
        Err(ClientError::Refused(refused)) => Ok(*refused),
        Err(other) => Err(other.into()),
        Ok(signed) => bail!("it was signed, permitted by rule {}", signed.rule),
    }
}

fn fact<'a>(refused: &'a Refused, name: &str) -> &'a str {
    refused.metadata.get(name).map_or("", String::as_str)
}
