//! JSON-RPC as EVM libraries send it.

use crate::evm;
use crate::target::Verdict;
use serde_json::{Value, json};
use tally_node::testing::{Spoken, rpc};

pub const WORDS: &[&str] = &[
    "\"jsonrpc\":\"2.0\"",
    "\"id\":1",
    "\"method\":\"eth_signTransaction\"",
    "\"params\":[]",
    "\"0x\"",
    "null",
    "1e5",
    "-1",
    "{}",
    "[",
    "]",
    "\"type\":\"0x2\"",
    "\"gas\":\"0x5208\"",
    "\"value\":\"0x1\"",
    "18446744073709551616",
    "\"input\":\"0x00\"",
    "\\u0000",
    "\"accessList\":[]",
    "\"chainId\":\"0x1\"",
    "\"to\":null",
];

const A: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// Reads a body. Every call in it is told something; what is understood as a transaction is the one that nodes then read.
pub fn call(bytes: &[u8]) -> Verdict {
    let mut words = Vec::new();
    for spoken in rpc(bytes, &[1, 5]) {
        match spoken {
            Spoken::Transaction(request) => {
                assert!([1, 5].contains(&request.fields.chain_id), "for another chain");
                evm::consistent(&request);
                words.push("transaction".to_owned());
            }
            Spoken::Understood(what) => words.push(what.to_owned()),
            Spoken::Told(answer) => {
                assert_eq!(answer["jsonrpc"], "2.0");
                let error = &answer["error"];
                assert!(
                    error["code"].is_i64() && error["message"].as_str().is_some_and(|said| !said.is_empty()),
                    "{answer}"
                );
                assert!(answer.get("id").is_some() && answer.get("result").is_none());
                words.push(error["code"].to_string());
            }
        }
    }
    assert!(!words.is_empty(), "nothing is answered");
    words.truncate(4);
    let understood = words.iter().any(|word| !word.starts_with('-'));
    let word = words.join(" ");
    if understood { Verdict::Read(word) } else { Verdict::Refused(word) }
}

/// One of each method, and several at once.
pub fn calls() -> Vec<Vec<u8>> {
    let tx = json!({
        "from": A, "to": A, "gas": "0x5208", "nonce": "0x0", "gasPrice": "0x1", "value": "0x1", "chainId": "0x1",
    });
    let typed = json!({
        "types": { "EIP712Domain": [{ "name": "chainId", "type": "uint256" }], "Mail": [{ "name": "text", "type": "string" }] },
        "primaryType": "Mail", "domain": { "chainId": 1 }, "message": { "text": "hi" },
    });
    let call = |id: u64, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let all = [
        call(1, "eth_accounts", json!([])),
        call(2, "eth_chainId", json!([])),
        call(3, "eth_signTransaction", json!([tx])),
        call(4, "eth_signTypedData_v4", json!([A, typed])),
        call(5, "personal_sign", json!(["0x6869", A])),
    ];
    let several = Value::Array(all.to_vec());
    all.into_iter().chain([several]).map(|body| body.to_string().into_bytes()).collect()
}
