//! Documents of typed data, for more than one test.
#![allow(dead_code, reason = "each test file uses a part")]

use serde_json::{Value, json};
use tally_chains::{ChainError, Decoded, decode};
use tally_domain::{ContentKind, Scheme};

pub const ALICE: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
pub const MAX: &str = "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

pub fn read(chain: &str, document: &Value) -> Result<Decoded, ChainError> {
    decode(ContentKind::TypedData, Scheme::EcdsaSecp256k1, chain, document.to_string().as_bytes())
}

pub fn members(list: &[(&str, &str)]) -> Value {
    list.iter().map(|(kind, name)| json!({ "name": name, "type": kind })).collect()
}

/// The example of EIP-712 ("Mail").
pub fn mail() -> Value {
    json!({
        "types": {
            "EIP712Domain": members(&[
                ("string", "name"), ("string", "version"), ("uint256", "chainId"), ("address", "verifyingContract"),
            ]),
            "Person": members(&[("string", "name"), ("address", "wallet")]),
            "Mail": members(&[("Person", "from"), ("Person", "to"), ("string", "contents")]),
        },
        "primaryType": "Mail",
        "domain": {
            "name": "Ether Mail", "version": "1", "chainId": 1,
            "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
        },
        "message": {
            "from": { "name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826" },
            "to": { "name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB" },
            "contents": "Hello, Bob!",
        },
    })
}
