//! What is decoded here and nowhere else, for those who try what cannot be decoded.

use crate::caller::Caller;
use crate::rpc::{Body, Call, Item, answer};
use crate::services::place;
use crate::vault;
use serde_json::Value;
use std::time::Duration;
use tally_chains::TransactionRequest;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::store::tokens::Sealed;
use tally_domain::roster::Roster;
use tally_domain::token::{Token, TokenDomain};
use tally_domain::{ClientId, NodeName};
use tally_tokenization::Pan;

/// What becomes of a call in a JSON-RPC body before anybody is asked.
pub enum Spoken {
    /// A transaction is to be signed.
    Transaction(Box<TransactionRequest>),
    /// Something else is understood.
    Understood(&'static str),
    /// It is answered at once, with an error.
    Told(Value),
}

/// Reads a body at an endpoint for these chains.
pub fn rpc(body: &[u8], chains: &[u64]) -> Vec<Spoken> {
    let calls = match Body::read(body) {
        Body::One(call) => vec![call],
        Body::Several(calls) => calls,
    };
    let spoken = |item: Item| match item {
        Item::Not(unasked) => Spoken::Told(unasked.answer()),
        Item::Notification => Spoken::Understood("notification"),
        Item::Call(asked) => match Call::read(&asked.method, asked.params, chains) {
            Ok(Call::Transaction { request, .. }) => Spoken::Transaction(request),
            Ok(Call::Accounts) => Spoken::Understood("accounts"),
            Ok(Call::ChainId) => Spoken::Understood("chain id"),
            Ok(Call::Words { .. }) => Spoken::Understood("words"),
            Err(fault) => Spoken::Told(answer(&asked.id, Err(fault))),
        },
    };
    calls.into_iter().map(spoken).collect()
}

/// Where a cursor points in the log of a node, if it is the node's.
pub fn cursor(node: &str, cursor: &str, size: u64) -> Option<u64> {
    place(node, cursor, size)
}

/// What the time-out of a call says.
pub fn deadline(header: &str) -> Option<Duration> {
    crate::deadline::parse(header)
}

/// The public half of the key that the JSON-RPC endpoint signs with, from its file of one line.
pub fn rpc_key(bytes: &[u8]) -> Option<VerifyingKey> {
    crate::rpc::key::parse(bytes).map(|key| key.verifying_key())
}

/// Who a certificate that TLS has verified is of, in a roster: a node or a client; and its key, which none has that is nobody's.
pub fn caller(certificate: &[u8], roster: &Roster) -> (Option<NodeName>, Option<ClientId>, String) {
    let caller = Caller::of(certificate);
    let (node, client) = (caller.node(roster), caller.client(roster));
    (node.map(|node| node.name.clone()), client.map(|client| client.id.clone()), caller.key().to_owned())
}

/// A card number as a hybrid domain keeps it beside its token, under this data key.
pub fn vault_row(key: [u8; 32], domain: &TokenDomain, token: &Token, pan: &Pan) -> Option<Sealed> {
    vault::testing::sealed(key, domain, token, pan)
}

/// The card number of such a row, if it is what was kept.
pub fn open_vault_row(key: [u8; 32], domain: &TokenDomain, token: &Token, sealed: &Sealed) -> Option<Pan> {
    vault::testing::opened(key, domain, token, sealed)
}
