//! Unsigned EVM transactions from a file: hex of the payload, or JSON as wallets and libraries write it.

use crate::output::Usage;
use tally_chains::{ChainError, TransactionRequest, chain_of, evm_unsigned};
use tally_domain::ContentKind;

/// A payload to sign, and the chain that it is for (CAIP-2).
#[derive(Debug, PartialEq, Eq)]
pub struct Payload {
    /// `eip155:<chain id>`.
    pub chain: String,
    /// The unsigned transaction as nodes read it.
    pub bytes: Vec<u8>,
}

/// Reads either form; the first character tells which.
pub fn parse(file: &[u8]) -> Result<Payload, Usage> {
    let text = std::str::from_utf8(file).map_err(|_| Usage("the transaction is neither JSON nor hex".into()))?.trim();
    let bytes = match text.chars().next() {
        Some('{') => from_json(text)?,
        Some('[') => {
            return Err(Usage("the file holds a JSON list; give one transaction, a JSON object, in each file".into()));
        }
        _ => from_hex(text)?,
    };
    let chain = chain_of(ContentKind::EvmTransaction, &bytes).map_err(|e| match e {
        ChainError::ChainMismatch { .. } => Usage("the transaction names no chain (chainId 0)".into()),
        other => Usage(other.to_string()),
    })?;
    Ok(Payload { chain, bytes })
}

fn from_json(text: &str) -> Result<Vec<u8>, Usage> {
    let request = TransactionRequest::from_json(text, None).map_err(|e| Usage(e.to_string()))?;
    if request.from.is_some() {
        // The key that is named on the command line sends it, and a second word on that could only contradict the first.
        return Err(Usage("`from` is no field of a transaction: the key that you name sends it; leave it out".into()));
    }
    Ok(evm_unsigned(&request.fields))
}

fn from_hex(text: &str) -> Result<Vec<u8>, Usage> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|e| Usage(format!("the transaction is not hex: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const TO: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    fn json(change: impl Fn(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
        let mut tx = serde_json::json!({
            "chainId": 1, "nonce": "0x7", "maxPriorityFeePerGas": "1000000000", "maxFeePerGas": 20_000_000_000_u64,
            "gasLimit": 21_000, "to": TO, "value": "0xde0b6b3a7640000", "input": "0x"
        });
        change(tx.as_object_mut().unwrap());
        tx.to_string().into_bytes()
    }

    /// The nine fields of EIP-1559 in RLP, by an encoder of ten lines that shares nothing with ours.
    const UNSIGNED: &str =
        "02f00107843b9aca008504a817c8008252089470997970c51812dc3a010c7d01b50e0d17dc79c8880de0b6b3a764000080c0";

    #[test]
    fn json_in_any_spelling_and_hex_give_one_payload() {
        let expected = Payload { chain: "eip155:1".into(), bytes: hex::decode(UNSIGNED).unwrap() };
        assert_eq!(parse(&json(|_| ())).unwrap(), expected);
        assert_eq!(parse(format!("0x{UNSIGNED}\n").as_bytes()).unwrap(), expected);
        assert_eq!(parse(UNSIGNED.as_bytes()).unwrap(), expected);
        let spelled = json(|tx| {
            tx.insert("type".into(), "0x2".into());
            let gas = tx.remove("gasLimit").unwrap();
            tx.insert("gas".into(), gas);
            let data = tx.remove("input").unwrap();
            tx.insert("data".into(), data);
            tx.insert("value".into(), "1000000000000000000".into());
        });
        assert_eq!(parse(&spelled).unwrap(), expected);
    }

    /// The transaction of EIP-155 with its bytes, and one with an access list by the same encoder of ten lines.
    #[test]
    fn fees_make_the_type() {
        let priced = |list: Option<Value>, kind: Option<u64>| {
            let mut tx = serde_json::json!({
                "chainId": 1, "nonce": 9, "gasPrice": "20000000000", "gas": 21_000,
                "to": "0x3535353535353535353535353535353535353535", "value": "1000000000000000000",
            });
            let fields = tx.as_object_mut().unwrap();
            fields.extend(list.map(|list| ("accessList".into(), list)));
            fields.extend(kind.map(|kind| ("type".into(), kind.into())));
            hex::encode(parse(tx.to_string().as_bytes()).unwrap().bytes)
        };
        let eip155 = "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080";
        assert_eq!(priced(None, None), eip155);
        assert_eq!(priced(None, Some(0)), eip155);
        let empty = "01eb01098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080c0";
        assert_eq!(priced(None, Some(1)), empty);
        assert_eq!(priced(Some(serde_json::json!([])), None), empty);
        let key = format!("0x{}", "09".repeat(32));
        let list = serde_json::json!([{ "address": format!("0x{}", "07".repeat(20)), "storageKeys": [key] }]);
        let listed = priced(Some(list), Some(1));
        assert!(listed.ends_with(&format!("f838f794{}e1a0{}", "07".repeat(20), "09".repeat(32))), "{listed}");
    }

    #[test]
    fn what_is_no_transaction_of_its_type_is_refused_with_the_fields_name() {
        let change = |name: &'static str, value: Value| parse(&json(|tx| drop(tx.insert(name.into(), value.clone()))));
        for (name, value) in [
            ("chainId", Value::from(0)),
            ("nonce", "18446744073709551616".into()),
            ("nonce", (-1).into()),
            ("nonce", "".into()),
            ("nonce", "0x".into()),
            ("nonce", "1e3".into()),
            ("nonce", "0b11".into()),
            ("value", 1.5.into()),
            ("value", format!("0x1{}", "0".repeat(64)).into()),
            ("type", 0.into()),
            ("to", "0x70997970c51812dc3A010C7d01b50e0d17dc79C8".into()),
            ("input", "0xabc".into()),
            ("gas", 1.into()),
            ("gasLimit", 20_999.into()),
            ("maxFeePerGas", 999_999_999.into()),
            ("maxPriorityFeePerGas", 20_000_000_001_u64.into()),
            ("accessList", serde_json::json!([{ "address": "0x1", "storageKeys": [] }])),
            ("accessList", serde_json::json!([{ "address": TO, "storageKeys": ["0x01"] }])),
            ("accessList", serde_json::json!([{ "address": TO, "storageKeys": [], "more": 1 }])),
            ("gasPrice", 1.into()),
            ("type", 1.into()),
            ("type", 3.into()),
            ("type", 4.into()),
        ] {
            let error = change(name, value.clone()).unwrap_err().to_string();
            let of_fees = name == "gasPrice" && error.contains("`type` and fees do not fit");
            assert!(
                of_fees
                    || error.contains("unknown field `more`")
                    || error.contains(name)
                    || error.contains("gasLimit")
                    || name == "input",
                "{name} {value}: {error}"
            );
        }
        assert!(parse(b" [{}]").unwrap_err().to_string().contains("a JSON list"));
        for bad in ["", "{", "0xzz", "f86c", "02c0", "\u{ff}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(&[0xff, 0xfe]).is_err());
    }
}
