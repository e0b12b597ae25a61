//! Which methods there are, and what they take.

use super::fault::Fault;
use crate::calls::UNKNOWN;
use serde_json::Value;
use tally_chains::{TransactionRequest, chain_of, parse_evm_address};
use tally_domain::{ContentKind, Purpose};

/// All methods.
const METHODS: [&str; 5] =
    ["eth_accounts", "eth_chainId", "eth_signTransaction", "eth_signTypedData_v4", "personal_sign"];

/// A method's name for those who count; what callers make up has one name.
pub fn label(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or(UNKNOWN)
}

/// A call whose parameters are understood. What is to be signed is read by every node once more.
#[derive(Debug, PartialEq)]
pub enum Call {
    /// `eth_accounts`
    Accounts,
    /// `eth_chainId`
    ChainId,
    /// `eth_signTransaction`
    Transaction {
        /// Whose.
        from: [u8; 20],
        /// What.
        request: Box<TransactionRequest>,
    },
    /// `eth_signTypedData_v4`, `personal_sign`
    Words {
        /// By whom.
        by: [u8; 20],
        /// What.
        words: Words,
    },
}

/// What is signed and sent to no chain.
#[derive(Debug, PartialEq)]
pub enum Words {
    /// Typed data as JSON, and the chain of its domain; empty if that names none.
    Typed {
        /// JSON.
        json: Vec<u8>,
        /// CAIP-2.
        chain: String,
    },
    /// A message under the prefix of EIP-191.
    Personal(Vec<u8>),
}

impl Words {
    /// What it is in an intent: kind, purpose of the key, chain and content.
    pub fn content(self) -> (ContentKind, Purpose, String, Vec<u8>) {
        match self {
            Self::Typed { json, chain } => (ContentKind::TypedData, Purpose::Transaction, chain, json),
            Self::Personal(message) => (ContentKind::PersonalMessage, Purpose::Message, String::new(), message),
        }
    }
}

impl Call {
    /// Reads a call at an endpoint for these chains.
    ///
    /// # Errors
    /// A [`Fault`] that says what to give.
    pub fn read(method: &str, params: Vec<Value>, chains: &[u64]) -> Result<Self, Fault> {
        match method {
            "eth_accounts" => none(params).map(|()| Self::Accounts),
            "eth_chainId" => none(params).map(|()| Self::ChainId),
            "eth_signTransaction" => transaction(params, chains),
            "eth_signTypedData_v4" => typed(params, chains),
            "personal_sign" => personal(params),
            other => Err(Fault::no_method(other)),
        }
    }
}

fn none(params: Vec<Value>) -> Result<(), Fault> {
    if params.is_empty() { Ok(()) } else { Err(Fault::params("This method takes no parameters.")) }
}

fn transaction(params: Vec<Value>, chains: &[u64]) -> Result<Call, Fault> {
    let Ok([tx]) = <[Value; 1]>::try_from(params) else {
        return Err(Fault::params("This method takes one parameter: the transaction."));
    };
    let only = match chains {
        [only] => Some(*only),
        _ => None,
    };
    let request = TransactionRequest::from_value(tx, only).map_err(|e| Fault::params(format!("Transaction: {e}.")))?;
    let chain = request.fields.chain_id;
    let from = request.from.ok_or_else(|| Fault::params("Transaction: `from` is missing: name the account."))?;
    for_chain(&format!("eip155:{chain}"), chains)?;
    Ok(Call::Transaction { from, request: Box::new(request) })
}

fn typed(params: Vec<Value>, chains: &[u64]) -> Result<Call, Fault> {
    let Ok([by, data]) = <[Value; 2]>::try_from(params) else {
        return Err(Fault::params("This method takes two parameters: the account and the typed data."));
    };
    let by = account(&by)?;
    let json = match data {
        Value::String(text) => text.into_bytes(),
        Value::Object(_) if is_exact(&data) => data.to_string().into_bytes(),
        Value::Object(_) => {
            let what =
                "Typed data: write numbers that have a fraction or reach 2^64 as strings, or all of it as one string.";
            return Err(Fault::params(what));
        }
        _ => return Err(Fault::params("Typed data is a JSON object, or a string with one in it.")),
    };
    let chain = chain_of(ContentKind::TypedData, &json).map_err(|e| Fault::params(format!("Typed data: {e}.")))?;
    if !chain.is_empty() {
        for_chain(&chain, chains)?;
    }
    Ok(Call::Words { by, words: Words::Typed { json, chain } })
}

fn personal(params: Vec<Value>) -> Result<Call, Fault> {
    let bad = "This method takes the message in hex and the account. A password has no meaning here: leave it out.";
    let mut params = params.into_iter();
    let (Some(Value::String(message)), Some(by)) = (params.next(), params.next()) else {
        return Err(Fault::params(bad));
    };
    if params.any(|more| !matches!(more, Value::Null) && more != "") {
        return Err(Fault::params(bad));
    }
    let message = message.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
    let message = message.ok_or_else(|| Fault::params("The message is `0x` and hex digits, two for each byte."))?;
    Ok(Call::Words { by: account(&by)?, words: Words::Personal(message) })
}

fn account(value: &Value) -> Result<[u8; 20], Fault> {
    let text = value.as_str().ok_or_else(|| Fault::params("The account is an address: a string."))?;
    parse_evm_address(text).map_err(|e| Fault::params(format!("The account: {e}.")))
}

fn for_chain(chain: &str, chains: &[u64]) -> Result<(), Fault> {
    if chains.iter().any(|id| format!("eip155:{id}") == *chain) {
        return Ok(());
    }
    let ids: Vec<_> = chains.iter().map(u64::to_string).collect();
    let what = format!("This is for chain {chain}; this endpoint asks signatures for chain ids {}.", ids.join(", "));
    Err(Fault::params(what))
}

/// Whether every number is still what the caller wrote: those that have a fraction or reach 2^64 were rounded by the reader.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_u64() || number.is_i64(),
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    fn tx(change: &str, to: Value) -> Value {
        let mut tx = json!({
            "from": A, "to": A, "gas": "0x5208", "nonce": "0x0", "gasPrice": "0x1", "value": "0x1", "chainId": "0x1",
        });
        tx[change] = to;
        tx
    }

    fn said(method: &str, params: Value) -> String {
        let Value::Array(params) = params else { panic!() };
        let fault = Call::read(method, params, &[1, 5]).expect_err(method).to_json();
        assert!([-32602, -32601].contains(&fault["code"].as_i64().unwrap()));
        fault["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn each_method_is_known_and_counted_by_its_name_and_no_other_is() {
        for method in METHODS {
            assert_eq!(label(method), method);
            let known = Call::read(method, vec![], &[1]).err().is_none_or(|fault| fault.to_json()["code"] == -32602);
            assert!(known, "{method}");
        }
        assert_eq!((label(""), label("eth_sign"), label("ETH_ACCOUNTS")), (UNKNOWN, UNKNOWN, UNKNOWN));
    }

    #[test]
    fn bad_parameters_are_named() {
        let sign = "eth_signTransaction";
        let typed_data = json!({ "types": {}, "primaryType": "A", "domain": { "chainId": 1.5 }, "message": {} });
        for (method, params, part) in [
            (sign, json!([]), "one parameter"),
            (sign, json!([tx("from", Value::Null)]), "`from`"),
            (sign, json!([tx("chainId", "0x2".into())]), "chain ids 1, 5"),
            (sign, json!([tx("chainId", Value::Null)]), "`chainId`"),
            (sign, json!([tx("gasPrice", Value::Null)]), "fees"),
            (sign, json!([tx("gasPrices", "0x1".into())]), "gasPrices"),
            ("eth_signTypedData_v4", json!([A]), "two parameters"),
            ("eth_signTypedData_v4", json!([A, 1]), "JSON object"),
            ("eth_signTypedData_v4", json!([A, typed_data]), "2^64"),
            ("eth_signTypedData_v4", json!([A, "{"]), "Typed data: "),
            ("eth_signTypedData_v4", json!(["0x1", {}]), "account"),
            ("personal_sign", json!(["hello", A]), "hex"),
            ("personal_sign", json!(["0x68", A, "secret"]), "password"),
            ("personal_sign", json!(["0x68"]), "account"),
            ("eth_accounts", json!([1]), "no parameters"),
            ("eth_sendTransaction", json!([tx("value", "0x2".into())]), "only signs"),
            ("eth_sign", json!([A, "0x00"]), "only signs"),
        ] {
            let said = said(method, params);
            assert!(said.contains(part), "{method}: {said}");
        }
    }

    #[test]
    fn calls_of_libraries_are_understood() {
        let read = |method: &str, params: Value| Call::read(method, params.as_array().unwrap().clone(), &[1]);
        let by = parse_evm_address(A).unwrap();
        let Ok(Call::Transaction { from, request }) = read("eth_signTransaction", json!([tx("chainId", Value::Null)]))
        else {
            panic!()
        };
        assert_eq!((from, request.fields.chain_id), (by, 1), "an endpoint for one chain means that one");
        for password in [json!(["0x6869", A]), json!(["0x6869", A.to_lowercase(), ""]), json!(["0x6869", A, null])] {
            let words = Words::Personal(b"hi".to_vec());
            assert_eq!(read("personal_sign", password).unwrap(), Call::Words { by, words });
        }
    }
}
