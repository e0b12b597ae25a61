//! Signed transactions in JSON, as nodes of a chain show them (execution-apis, `TransactionInfo` without a block).

use super::{AccessListItem, EvmFees, EvmFields};
use alloy_primitives::{B256, hex, keccak256};
use serde_json::{Map, Value, json};

/// What EIP-155 adds to `v`, beside twice the chain id.
const EIP155_V: u128 = 35;

/// A signed transaction and its parts.
#[derive(Debug, Clone, Copy)]
pub struct SentTransaction<'a> {
    /// The address of its key.
    pub from: &'a str,
    /// What was signed.
    pub fields: &'a EvmFields,
    /// All of it, as it is sent.
    pub raw: &'a [u8],
    /// r and s.
    pub signature: &'a [u8],
    /// 0 or 1.
    pub recovery_id: u32,
}

impl SentTransaction<'_> {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let fields = self.fields;
        let (r, s) = self.signature.split_at_checked(32).unwrap_or_default();
        let mut tx = object(json!({
            "hash": keccak256(self.raw).to_string(),
            "from": self.from,
            "to": fields.to.map(hex::encode_prefixed),
            "nonce": quantity(fields.nonce.into()),
            "gas": quantity(fields.gas_limit.into()),
            "value": integer(&fields.value.0),
            "input": hex::encode_prefixed(&fields.input),
            "chainId": quantity(fields.chain_id.into()),
            "r": integer(r),
            "s": integer(s),
        }));
        let parity = u128::from(self.recovery_id);
        let (kind, v, fees) = match &fields.fees {
            EvmFees::Legacy { gas_price } => {
                let v = u128::from(fields.chain_id) * 2 + EIP155_V + parity;
                (0, v, json!({ "gasPrice": quantity(*gas_price) }))
            }
            EvmFees::AccessList { gas_price, access_list } => {
                let fees = json!({ "gasPrice": quantity(*gas_price), "accessList": list(access_list) });
                (1, parity, fees)
            }
            EvmFees::FeeMarket { max_priority_fee_per_gas, max_fee_per_gas, access_list } => {
                let fees = json!({
                    "maxPriorityFeePerGas": quantity(*max_priority_fee_per_gas),
                    "maxFeePerGas": quantity(*max_fee_per_gas),
                    "gasPrice": quantity(*max_fee_per_gas),
                    "accessList": list(access_list),
                });
                (2, parity, fees)
            }
        };
        tx.extend(object(fees));
        tx.insert("type".into(), quantity(kind).into());
        tx.insert("v".into(), quantity(v).into());
        if kind != 0 {
            tx.insert("yParity".into(), quantity(parity).into());
        }
        Value::Object(tx)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn list(items: &[AccessListItem]) -> Value {
    let item = |item: &AccessListItem| {
        let keys: Vec<_> = item.storage_keys.iter().map(|key| B256::from(*key).to_string()).collect();
        json!({ "address": hex::encode_prefixed(item.address), "storageKeys": keys })
    };
    items.iter().map(item).collect()
}

/// A quantity has no leading zeros.
fn quantity(n: u128) -> String {
    format!("0x{n:x}")
}

/// The same for big-endian bytes.
fn integer(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    match digits.trim_start_matches('0') {
        "" => "0x0".into(),
        digits => format!("0x{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::facts::Amount;

    /// The example of EIP-155: its transaction, signature and hash.
    #[test]
    fn the_transaction_of_eip_155_is_shown_as_the_eip_has_it() {
        let mut value = [0; 32];
        value[16..].copy_from_slice(&1_000_000_000_000_000_000_u128.to_be_bytes());
        let fields = EvmFields {
            chain_id: 1,
            nonce: 9,
            fees: EvmFees::Legacy { gas_price: 20_000_000_000 },
            gas_limit: 21_000,
            to: Some([0x35; 20]),
            value: Amount(value),
            input: Vec::new(),
        };
        let raw = hex::decode(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195\
             fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        )
        .unwrap();
        let signature = hex::decode(
            "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa63627667cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        )
        .unwrap();
        let from = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
        let tx = SentTransaction { from, fields: &fields, raw: &raw, signature: &signature, recovery_id: 0 }.to_json();
        assert_eq!((&tx["v"], &tx["type"], tx.get("yParity")), (&json!("0x25"), &json!("0x0"), None));
        assert_eq!(
            (&tx["value"], &tx["gas"], &tx["nonce"]),
            (&json!("0xde0b6b3a7640000"), &json!("0x5208"), &json!("0x9"))
        );
        assert_eq!(tx["s"], "0x67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83");
        assert_eq!(tx["hash"], "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788");
    }
}
