//! Unsigned transactions in JSON, as wallets and libraries write them: the `GenericTransaction` of Ethereum's execution-apis.

use super::{AccessListItem, EvmFees, EvmFields};
use crate::{ChainError, parse_evm_address};
use alloy_primitives::{U256, hex};
use serde::Deserialize;
use serde_json::Value;
use tally_domain::facts::Amount;

/// What a transaction costs before it does anything (the yellow paper's G_transaction).
const GAS_MIN: u64 = 21_000;

/// A transaction that somebody wants signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRequest {
    /// Who is to send it, if it says so; that is no field of the transaction.
    pub from: Option<[u8; 20]>,
    /// What is to be signed.
    pub fields: EvmFields,
}

/// Why JSON is no transaction that can be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTransactionRequest {
    /// Not JSON, not an object, or with a field that no transaction has.
    #[error("the transaction's JSON: {what}")]
    Json {
        /// What the reader says.
        what: String,
    },
    /// A field that only a node of the chain could fill in.
    #[error("`{field}` is missing, and no chain is asked for it")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// No number.
    #[error("`{field}` must be a whole number, or a string such as \"1000\" or \"0x3e8\"")]
    Number {
        /// Which.
        field: &'static str,
    },
    /// A number that the field does not take.
    #[error("`{field}` is too large")]
    TooLarge {
        /// Which.
        field: &'static str,
    },
    /// No bytes.
    #[error("`{field}` is not hex: {what}")]
    Hex {
        /// Which.
        field: &'static str,
        /// What the reader says.
        what: String,
    },
    /// No address.
    #[error("`{field}`: {source}")]
    Address {
        /// Which.
        field: &'static str,
        /// Why not.
        source: ChainError,
    },
    /// A storage key of another length.
    #[error("`accessList`: a storage key is 32 bytes")]
    StorageKey,
    /// Call data under both of its names, and not the same.
    #[error("`input` and `data` are two names of one field, and differ")]
    TwoInputs,
    /// Less gas than any transaction uses.
    #[error("`gasLimit` is {given}; every transaction costs at least {GAS_MIN}, so no chain takes it")]
    Gas {
        /// What was given.
        given: u64,
    },
    /// The tip is a part of the fee.
    #[error("`maxPriorityFeePerGas` is more than `maxFeePerGas`; the tip is a part of the fee, no chain takes more")]
    Tip,
    /// A type that is never signed.
    #[error("`type` must be 0, 1 or 2: blobs (EIP-4844) and delegations (EIP-7702) are not signed")]
    Type,
    /// A field of a type that is never signed.
    #[error(
        "`{field}` is of transactions with blobs (EIP-4844) or that delegate accounts (EIP-7702), which are not signed; build \
         one of EIP-1559 (type 2) without it"
    )]
    OfType {
        /// Which.
        field: &'static str,
    },
    /// Fees of another type.
    #[error(
        "`type` and fees do not fit: `maxFeePerGas` and `maxPriorityFeePerGas` for type 2, `gasPrice` for types 0 and 1, \
         `accessList` not for type 0"
    )]
    Fees,
}

use BadTransactionRequest as Bad;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Json {
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    chain_id: Option<Value>,
    nonce: Option<Value>,
    gas_price: Option<Value>,
    max_priority_fee_per_gas: Option<Value>,
    max_fee_per_gas: Option<Value>,
    #[serde(alias = "gas")]
    gas_limit: Option<Value>,
    to: Option<String>,
    value: Option<Value>,
    input: Option<String>,
    data: Option<String>,
    access_list: Option<Vec<JsonAccess>>,
    // Of types that are never signed, and known so that this can be said.
    blob_versioned_hashes: Option<Value>,
    max_fee_per_blob_gas: Option<Value>,
    blobs: Option<Value>,
    authorization_list: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct JsonAccess {
    address: String,
    storage_keys: Vec<String>,
}

impl TransactionRequest {
    /// Reads a JSON object; `chain_id` is of the chain that is meant if it names none.
    ///
    /// # Errors
    /// [`BadTransactionRequest`].
    pub fn from_json(text: &str, chain_id: Option<u64>) -> Result<Self, BadTransactionRequest> {
        Self::read(serde_json::from_str(text).map_err(not_json)?, chain_id)
    }

    /// The same of a value that has been read.
    ///
    /// # Errors
    /// [`BadTransactionRequest`].
    pub fn from_value(value: Value, chain_id: Option<u64>) -> Result<Self, BadTransactionRequest> {
        Self::read(serde_json::from_value(value).map_err(not_json)?, chain_id)
    }

    fn read(tx: Json, chain_id: Option<u64>) -> Result<Self, Bad> {
        let fees = fees(&tx)?;
        let gas_limit = required("gasLimit", tx.gas_limit.as_ref())?;
        if gas_limit < GAS_MIN {
            return Err(Bad::Gas { given: gas_limit });
        }
        let chain_id = match (&tx.chain_id, chain_id) {
            (None, Some(meant)) => meant,
            (given, _) => required("chainId", given.as_ref())?,
        };
        let input = match (&tx.input, &tx.data) {
            (Some(input), Some(data)) if !input.eq_ignore_ascii_case(data) => return Err(Bad::TwoInputs),
            (input, data) => input.as_ref().or(data.as_ref()),
        };
        let fields = EvmFields {
            chain_id,
            nonce: required("nonce", tx.nonce.as_ref())?,
            fees,
            gas_limit,
            to: tx.to.as_deref().map(|to| address("to", to)).transpose()?,
            value: Amount(number("value", tx.value.as_ref().unwrap_or(&Value::from(0)))?.to_be_bytes()),
            input: input.map_or(Ok(Vec::new()), |data| bytes("input", data))?,
        };
        Ok(Self { from: tx.from.as_deref().map(|from| address("from", from)).transpose()?, fields })
    }
}

fn not_json(error: serde_json::Error) -> Bad {
    Bad::Json { what: error.to_string() }
}

/// The fees, and so the type of the transaction: as `type` says, else by which fees are there.
fn fees(tx: &Json) -> Result<EvmFees, Bad> {
    let unsigned = [
        ("blobVersionedHashes", &tx.blob_versioned_hashes),
        ("maxFeePerBlobGas", &tx.max_fee_per_blob_gas),
        ("blobs", &tx.blobs),
        ("authorizationList", &tx.authorization_list),
    ];
    if let Some((field, _)) = unsigned.into_iter().find(|(_, given)| given.is_some()) {
        return Err(Bad::OfType { field });
    }
    let kind = tx.kind.as_ref().map(|kind| small::<u64>("type", kind)).transpose()?;
    let access_list = tx.access_list.as_deref().map(access_list).transpose()?;
    match (kind, &tx.gas_price, &tx.max_priority_fee_per_gas, &tx.max_fee_per_gas, access_list) {
        (Some(0) | None, Some(price), None, None, None) => Ok(EvmFees::Legacy { gas_price: small("gasPrice", price)? }),
        (Some(1) | None, Some(price), None, None, list) if kind.is_some() || list.is_some() => {
            Ok(EvmFees::AccessList { gas_price: small("gasPrice", price)?, access_list: list.unwrap_or_default() })
        }
        (Some(2) | None, None, Some(tip), Some(fee), list) => {
            let tip = small("maxPriorityFeePerGas", tip)?;
            let fee = small("maxFeePerGas", fee)?;
            if tip > fee {
                return Err(Bad::Tip);
            }
            let access_list = list.unwrap_or_default();
            Ok(EvmFees::FeeMarket { max_priority_fee_per_gas: tip, max_fee_per_gas: fee, access_list })
        }
        (Some(3..), ..) => Err(Bad::Type),
        _ => Err(Bad::Fees),
    }
}

fn access_list(items: &[JsonAccess]) -> Result<Vec<AccessListItem>, Bad> {
    let item = |item: &JsonAccess| {
        let address = address("accessList", &item.address)?;
        let keys = item.storage_keys.iter();
        let keys =
            keys.map(|key| <[u8; 32]>::try_from(bytes("accessList", key)?.as_slice()).map_err(|_| Bad::StorageKey));
        Ok(AccessListItem { address, storage_keys: keys.collect::<Result<_, _>>()? })
    };
    items.iter().map(item).collect()
}

fn required(field: &'static str, value: Option<&Value>) -> Result<u64, Bad> {
    small(field, value.ok_or(Bad::Missing { field })?)
}

fn small<T: TryFrom<U256>>(field: &'static str, value: &Value) -> Result<T, Bad> {
    T::try_from(number(field, value)?).map_err(|_| Bad::TooLarge { field })
}

/// A JSON number, or a string of decimal or `0x` hex digits: JSON numbers end at 2^64 here, amounts do not.
fn number(field: &'static str, value: &Value) -> Result<U256, Bad> {
    let bad = || Bad::Number { field };
    let (digits, radix) = match value {
        Value::Number(n) => return n.as_u64().map(U256::from).ok_or_else(bad),
        Value::String(s) => match s.strip_prefix("0x") {
            Some(hex) => (hex, 16),
            None => (s.as_str(), 10),
        },
        _ => return Err(bad()),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| char::from(b).is_digit(radix));
    if !plain {
        return Err(bad());
    }
    // Of digits alone, only their number can be wrong.
    U256::from_str_radix(digits, u64::from(radix)).map_err(|_| Bad::TooLarge { field })
}

fn address(field: &'static str, text: &str) -> Result<[u8; 20], Bad> {
    parse_evm_address(text).map_err(|source| Bad::Address { field, source })
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, Bad> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|e| Bad::Hex { field, what: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evm_unsigned;

    const TO: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    /// The nine fields of EIP-1559 in RLP, by an encoder of ten lines that shares nothing with ours.
    const UNSIGNED: &str =
        "02f00107843b9aca008504a817c8008252089470997970c51812dc3a010c7d01b50e0d17dc79c8880de0b6b3a764000080c0";

    fn value() -> Value {
        serde_json::json!({
            "from": TO, "chainId": "0x1", "nonce": "0x7", "maxPriorityFeePerGas": "0x3b9aca00",
            "maxFeePerGas": "0x4a817c800", "gas": "0x5208", "to": TO, "value": "0xde0b6b3a7640000", "type": "0x2",
        })
    }

    fn with(name: &str, given: Value) -> Result<TransactionRequest, Bad> {
        let mut value = value();
        value[name] = given;
        TransactionRequest::from_value(value, None)
    }

    #[test]
    fn what_libraries_send_is_read_with_its_sender() {
        let request = TransactionRequest::from_value(value(), None).unwrap();
        assert_eq!(request.from, Some(parse_evm_address(TO).unwrap()));
        assert_eq!(hex::encode(evm_unsigned(&request.fields)), UNSIGNED);
        for name in ["gasPrice", "accessList", "input", "data"] {
            assert_eq!(with(name, Value::Null).unwrap(), request, "null is nothing");
        }
    }

    #[test]
    fn call_data_has_two_names_and_one_value() {
        let mut tx = value();
        tx["data"] = "0xA9".into();
        assert_eq!(TransactionRequest::from_value(tx.clone(), None).unwrap().fields.input, [0xa9]);
        tx["input"] = "0xa9".into();
        assert_eq!(TransactionRequest::from_value(tx.clone(), None).unwrap().fields.input, [0xa9]);
        tx["input"] = "0xaa".into();
        assert_eq!(TransactionRequest::from_value(tx, None), Err(Bad::TwoInputs));
    }

    #[test]
    fn the_chain_that_is_meant_stands_in_for_one_that_is_not_named_and_for_no_other() {
        assert_eq!(with("chainId", Value::Null), Err(Bad::Missing { field: "chainId" }));
        let mut tx = value();
        tx.as_object_mut().unwrap().remove("chainId");
        assert_eq!(TransactionRequest::from_value(tx, Some(5)).unwrap().fields.chain_id, 5);
        assert_eq!(TransactionRequest::from_value(value(), Some(5)).unwrap().fields.chain_id, 1);
    }

    #[test]
    fn what_only_a_chain_knows_must_be_given() {
        for (name, field) in [("nonce", "nonce"), ("gas", "gasLimit")] {
            assert_eq!(with(name, Value::Null), Err(Bad::Missing { field }));
        }
        let unknown = with("petrol", "0x1".into()).unwrap_err();
        assert!(unknown.to_string().contains("petrol"), "{unknown}");
    }

    #[test]
    fn a_number_that_no_field_holds_is_too_large_and_not_no_number() {
        let (hex, decimal) = (format!("0x1{}", "0".repeat(64)), U256::MAX.to_string() + "0");
        for given in [hex, decimal] {
            assert_eq!(with("value", given.into()), Err(Bad::TooLarge { field: "value" }));
        }
        assert_eq!(with("value", "0x".into()), Err(Bad::Number { field: "value" }));
        assert_eq!(with("value", serde_json::json!(1e30)), Err(Bad::Number { field: "value" }));
    }

    #[test]
    fn blobs_and_delegations_are_refused_with_what_to_do_instead() {
        for kind in ["0x3", "0x4"] {
            assert_eq!(with("type", kind.into()), Err(Bad::Type));
        }
        for field in ["blobVersionedHashes", "maxFeePerBlobGas", "blobs", "authorizationList"] {
            assert_eq!(with(field, serde_json::json!([])), Err(Bad::OfType { field }));
            assert!(with(field, Value::Null).is_ok(), "null is nothing");
        }
        let said = Bad::OfType { field: "authorizationList" }.to_string();
        assert!(said.contains("EIP-7702") && said.contains("build one of EIP-1559"), "{said}");
    }
}
