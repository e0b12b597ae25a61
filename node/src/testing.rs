//! What is decoded here and nowhere else, for those who try what cannot be decoded.

use crate::rpc::{Body, Call, Item, answer};
use crate::services::place;
use serde_json::Value;
use tally_chains::TransactionRequest;

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
