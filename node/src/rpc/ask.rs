//! One call: what is to be signed becomes an intent with the provisioned key, and is led as any client's.

use super::account::{self, Account};
use super::call::{Call, Words};
use super::fault::Fault;
use super::{Endpoint, message::Asked};
use crate::bundle_news::again;
use crate::caller::Caller;
use crate::deadline;
use crate::lead_sign;
use crate::node::{fresh_rng, now};
use prost::Message as _;
use rand::Rng as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tally_chains::{SentTransaction, TransactionRequest, evm_unsigned, parse_evm_address};
use tally_domain::intent::PAYLOAD_TYPE;
use tally_domain::roster::RosterClient;
use tally_domain::{Action, ContentKind, Intent, Purpose, Reason, Refusal, RequestId};
use tally_proto::v1;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, field};

/// How long an intent is valid: longer than any call takes. Persons who must approve have as long.
const VALIDITY_MS: u64 = 5 * 60 * 1_000;

/// How far back validity starts, so that a node whose clock is behind takes the intent at once.
const EARLIER_MS: u64 = 2_000;

/// What `eth_signTransaction` answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The raw transaction, as execution-apis, alloy, ethers and viem have it.
    Raw,
    /// `{raw, tx}`, as geth and web3.py have it.
    Geth,
}

/// Who calls, and how long the caller is answered.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The connection.
    pub caller: &'a Caller,
    /// The client that it speaks for.
    pub client: &'a RosterClient,
    /// When the caller is told that it took too long.
    pub until: Instant,
}

/// What a call comes to.
pub async fn outcome(endpoint: &Arc<Endpoint>, who: Who<'_>, form: Form, asked: &mut Asked) -> Result<Value, Fault> {
    let params = std::mem::take(&mut asked.params);
    match Call::read(&asked.method, params, &endpoint.config.chains)? {
        Call::Accounts => {
            let accounts = account::all(&endpoint.node, &endpoint.config.accounts);
            Ok(accounts.into_iter().map(|account| Value::String(account.address)).collect())
        }
        Call::ChainId => Ok(json!(format!("0x{:x}", endpoint.config.chains.first().copied().unwrap_or_default()))),
        Call::Transaction { from, request } => {
            let account = named(endpoint, from)?;
            let chain = format!("eip155:{}", request.fields.chain_id);
            let content = (ContentKind::EvmTransaction, Purpose::Transaction, chain, evm_unsigned(&request.fields));
            let signed = signed(endpoint, who, &account, &asked.method, content).await?;
            Ok(transaction(&request, &account, &signed, form))
        }
        Call::Words { by, words } => {
            let account = named(endpoint, by)?;
            let signed = signed(endpoint, who, &account, &asked.method, Words::content(words)).await?;
            let signature = signed.signature.unwrap_or_default();
            // r, s, and v as before EIP-155: what `ecrecover` takes.
            Ok(json!(format!("0x{}{:02x}", hex::encode(&signature.bytes), 27 + signature.recovery_id)))
        }
    }
}

fn transaction(request: &TransactionRequest, account: &Account, signed: &v1::SignResponse, form: Form) -> Value {
    let raw = format!("0x{}", hex::encode(&signed.signed_payload));
    match (form, &signed.signature) {
        (Form::Geth, Some(signature)) => {
            let sent = SentTransaction {
                from: &account.address,
                fields: &request.fields,
                raw: &signed.signed_payload,
                signature: &signature.bytes,
                recovery_id: signature.recovery_id,
            };
            json!({ "raw": raw, "tx": sent.to_json() })
        }
        _ => json!(raw),
    }
}

/// The account of an address; no other key is used, whatever is asked.
fn named(endpoint: &Endpoint, address: [u8; 20]) -> Result<Account, Fault> {
    let accounts = account::all(&endpoint.node, &endpoint.config.accounts);
    let found = accounts.into_iter().find(|account| parse_evm_address(&account.address) == Ok(address));
    found.ok_or_else(|| {
        let what = format!(
            "This endpoint has no key of address 0x{}; `eth_accounts` lists those that it has.",
            hex::encode(address)
        );
        Fault::params(what)
    })
}

/// Asks for a signature as the client, in a task of its own: a caller that hangs up does not stop a session halfway.
async fn signed(
    endpoint: &Arc<Endpoint>,
    Who { caller, client, until }: Who<'_>,
    account: &Account,
    method: &str,
    (kind, purpose, chain, content): (ContentKind, Purpose, String, Vec<u8>),
) -> Result<v1::SignResponse, Fault> {
    if Instant::now() >= until {
        return Err(Fault::refusal(&Reason::Deadline.into(), None));
    }
    let mut id = [0; 16];
    fresh_rng().fill_bytes(&mut id);
    let request_id = RequestId(id);
    let refused = |refusal: Refusal| Fault::refusal(&refusal, Some(request_id));
    let late = |_| refused(Reason::Deadline.into());
    endpoint.node.check_standing().map_err(refused)?;
    let intent = Intent {
        request_id,
        tenant: client.tenant.clone(),
        client: client.id.clone(),
        action: Action::Sign,
        key: account.named.key.clone(),
        path: account.named.path.0.clone(),
        kind,
        chain,
        content,
        purpose,
        not_before: now().minus(EARLIER_MS),
        expires_at: now().plus(VALIDITY_MS),
        min_bundle_version: 0,
        note: format!("{method} at {}", endpoint.node.name()),
        cluster: endpoint.node.config.cluster.clone(),
    };
    let place = timeout_at(until, endpoint.node.admission.admit_signature(caller)).await.map_err(late)?;
    let place = place.map_err(refused)?;
    let envelope = endpoint.key.seal(PAYLOAD_TYPE, intent.to_bytes());
    let (node, client) = (endpoint.node.clone(), client.id.clone());
    let span = tracing::info_span!("rpc", client = %client, method, request = field::Empty);
    let work = async move { again(&node, || lead_sign::sign(&node, client.clone(), envelope.clone())).await };
    // The place is given back when the work is done, not when the caller goes.
    let work = tokio::spawn(deadline::until(until, place, work.instrument(span)));
    let done = timeout_at(until, work).await.map_err(late)?;
    let bytes = done.map_err(|_| refused(Reason::Bug.into()))?.map_err(refused)?;
    v1::SignResponse::decode(bytes.as_slice()).map_err(|_| refused(Reason::Tampered.into()))
}
