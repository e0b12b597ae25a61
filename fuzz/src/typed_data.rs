//! Typed data (EIP-712): refused, or read as alloy reads it.

use crate::evm::{digest, understood};
use crate::target::Verdict;
use alloy_dyn_abi::TypedData;
use serde_json::{Value, json};
use tally_domain::ContentKind;
use tally_domain::facts::Facts;

const CASES: &str = include_str!("../../chains/tests/vectors/ethers/eip712.json");

pub const WORDS: &[&str] = &[
    "\"types\":",
    "\"EIP712Domain\"",
    "\"primaryType\":",
    "\"domain\":",
    "\"message\":",
    "\"chainId\":1",
    "\"uint256\"",
    "\"bytes32\"",
    "\"int8\"",
    "\"address\"",
    "[]",
    "[2]",
    "[0]",
    "null",
    "\"\\u0000\"",
    "{",
    "}",
    "1e3",
    "-0",
    "\"0x\"",
    "\"permit\"",
];

/// Reads a document.
pub fn document(content: &[u8]) -> Verdict {
    let read = understood(ContentKind::TypedData, content);
    let Ok(decoded) = read else { return Verdict::refused(&read) };
    let second: TypedData = serde_json::from_slice(content).unwrap();
    // Alloy knows no type that contains itself; a message of one is finite all the same.
    match second.eip712_signing_hash() {
        Ok(hash) => assert_eq!(digest(&decoded), hash.0),
        Err(alloy_dyn_abi::Error::TypeParser(_) | alloy_dyn_abi::Error::CircularDependency(_)) => {}
        Err(e) => panic!("{e}"),
    }
    let Facts::TypedData(facts) = decoded.facts else { panic!("typed data") };
    assert_eq!(facts.primary_type, second.primary_type);
    let contract = second.domain.verifying_contract.map(|c| format!("0x{}", hex::encode(c))).unwrap_or_default();
    assert_eq!(facts.contract, contract);
    Verdict::Read(format!("{} {}", facts.chain.is_empty(), contract.is_empty()))
}

/// Ethers' published cases.
pub fn documents() -> Vec<Vec<u8>> {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let document = |case: &Value| {
        let document = json!({
            "types": case["types"], "primaryType": case["primaryType"], "domain": case["domain"], "message": case["data"],
        });
        document.to_string().into_bytes()
    };
    cases.iter().map(document).collect()
}
