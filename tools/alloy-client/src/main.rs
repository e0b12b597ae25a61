//! Pays with an ERC-20 token from alloy, as if the key were on this machine: `Web3Signer` is given Tigertally's JSON-RPC endpoint.
//!
//! Usage: `alloy-client CERTIFICATES SIGNER CHAIN TOKEN TO AMOUNT`; see `examples/ethers/pay.mjs`, which takes and prints the same.

use alloy_network::{Ethereum, TransactionBuilder as _};
use alloy_primitives::{Address, U256};
use alloy_provider::transport::TransportError;
use alloy_provider::{Provider as _, ProviderBuilder, Web3Signer};
use alloy_rpc_types_eth::TransactionRequest;
use anyhow::Context as _;
use reqwest::{Certificate, Client, Identity};
use serde_json::json;
use std::path::Path;

/// `transfer(address,uint256)` and `balanceOf(address)`.
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [certificates, signer, chain, token, to, amount] = args.as_slice() else {
        anyhow::bail!("usage: alloy-client CERTIFICATES SIGNER CHAIN TOKEN TO AMOUNT");
    };
    let (token, to, amount): (Address, Address, U256) = (token.parse()?, to.parse()?, amount.parse()?);
    let remote =
        ProviderBuilder::<_, _, Ethereum>::default().connect_reqwest(http(Path::new(certificates))?, signer.parse()?);
    let chain = ProviderBuilder::<_, _, Ethereum>::default().connect_http(chain.parse()?);
    let from = *remote.get_accounts().await?.first().context("the endpoint has no account")?;
    let fees = chain.estimate_eip1559_fees().await?;
    let request = TransactionRequest::default()
        .with_from(from)
        .with_to(token)
        .with_value(U256::ZERO)
        .with_input(call(TRANSFER, &[to.into_word().into(), amount]))
        .with_nonce(chain.get_transaction_count(from).await?)
        .with_chain_id(chain.get_chain_id().await?)
        .with_gas_limit(100_000)
        .with_max_fee_per_gas(fees.max_fee_per_gas)
        .with_max_priority_fee_per_gas(fees.max_priority_fee_per_gas);
    let answer = match Web3Signer::new(remote, from).sign_transaction(request).await {
        Ok(raw) => {
            let receipt = chain.send_raw_transaction(&raw).await?.get_receipt().await?;
            let asked =
                TransactionRequest::default().with_to(token).with_input(call(BALANCE_OF, &[to.into_word().into()]));
            let balance = U256::from_be_slice(&chain.call(asked).await?);
            let (status, hash) = (u8::from(receipt.status()), receipt.transaction_hash);
            json!({ "from": from, "hash": hash, "status": status, "balance": balance.to_string() })
        }
        Err(error) => json!({ "refused": answered(&error).with_context(|| error.to_string())? }),
    };
    println!("{answer}");
    Ok(())
}

/// What the endpoint said: the number, the sentence, and in `data` the reason, the rule and the request's id.
fn answered(error: &alloy_signer::Error) -> Option<serde_json::Value> {
    let alloy_signer::Error::Other(error) = error else { return None };
    serde_json::to_value(error.downcast_ref::<TransportError>()?.as_error_resp()?).ok()
}

fn http(certificates: &Path) -> anyhow::Result<Client> {
    let pem = |name: &str| std::fs::read(certificates.join(name)).with_context(|| format!("cannot read {name}"));
    let identity = Identity::from_pem(&[pem("client.key")?, pem("client.pem")?].concat())?;
    Ok(Client::builder().tls_certs_only([Certificate::from_pem(&pem("ca.pem")?)?]).identity(identity).build()?)
}

fn call(selector: [u8; 4], words: &[U256]) -> Vec<u8> {
    let words = words.iter().flat_map(|word| word.to_be_bytes::<32>());
    selector.into_iter().chain(words).collect()
}
