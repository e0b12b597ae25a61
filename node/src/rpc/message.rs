//! JSON-RPC 2.0: one call, or several that are answered in their order.

use super::fault::Fault;
use serde_json::{Map, Value, json};

/// Most calls in one body: as many as libraries put into one by default.
const BATCH_MAX: usize = 100;

/// Longest id, if it is a string: libraries count, some draw a UUID.
const ID_MAX_BYTES: usize = 128;

/// A call as it came.
#[derive(Debug, PartialEq)]
pub struct Asked {
    /// What the answer is told by: a number or a string.
    pub id: Value,
    /// What is called.
    pub method: String,
    /// With what.
    pub params: Vec<Value>,
}

/// A body as it came.
#[derive(Debug, PartialEq)]
pub enum Body {
    /// Is answered with an object.
    One(Result<Asked, Unasked>),
    /// Is answered with an array.
    Several(Vec<Result<Asked, Unasked>>),
}

/// What is no call, and is told so.
#[derive(Debug, PartialEq)]
pub struct Unasked {
    id: Value,
    fault: Box<Fault>,
}

impl Body {
    /// Reads a body.
    pub fn read(bytes: &[u8]) -> Self {
        let not_one = |fault| Self::One(Err(Unasked::new(Value::Null, fault)));
        match serde_json::from_slice(bytes) {
            Err(_) => not_one(Fault::not_json()),
            Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH_MAX => {
                not_one(Fault::no_call(&format!("A batch has 1 to {BATCH_MAX} calls; send more in several.")))
            }
            Ok(Value::Array(calls)) => Self::Several(calls.into_iter().map(asked).collect()),
            Ok(call) => Self::One(asked(call)),
        }
    }
}

impl Unasked {
    fn new(id: Value, fault: Fault) -> Self {
        Self { id, fault: Box::new(fault) }
    }

    /// The answer.
    pub fn answer(self) -> Value {
        answer(&self.id, Err(*self.fault))
    }
}

/// An answer to the call of that id.
pub fn answer(id: &Value, outcome: Result<Value, Fault>) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(fault) => json!({ "jsonrpc": "2.0", "id": id, "error": fault.to_json() }),
    }
}

fn asked(call: Value) -> Result<Asked, Unasked> {
    let Value::Object(mut call) = call else {
        return Err(Unasked::new(Value::Null, Fault::no_call("A call is a JSON object.")));
    };
    let id = id(&mut call).map_err(|fault| Unasked::new(Value::Null, fault))?;
    match rest(call) {
        Ok((method, params)) => Ok(Asked { id, method, params }),
        Err(fault) => Err(Unasked::new(id, fault)),
    }
}

/// A call without an id would be answered by nothing, and a signature that nobody gets is not made.
fn id(call: &mut Map<String, Value>) -> Result<Value, Fault> {
    match call.remove("id") {
        Some(id @ Value::Number(_)) => Ok(id),
        Some(Value::String(id)) if id.len() <= ID_MAX_BYTES => Ok(Value::String(id)),
        _ => Err(Fault::no_call(&format!(
            "A call needs an `id`: a number, or a string of at most {ID_MAX_BYTES} bytes. Notifications are not taken."
        ))),
    }
}

fn rest(mut call: Map<String, Value>) -> Result<(String, Vec<Value>), Fault> {
    if call.remove("jsonrpc") != Some("2.0".into()) {
        return Err(Fault::no_call("A call needs \"jsonrpc\": \"2.0\"."));
    }
    let Some(Value::String(method)) = call.remove("method") else {
        return Err(Fault::no_call("A call needs a `method`, which is a string."));
    };
    match call.remove("params") {
        None => Ok((method, Vec::new())),
        Some(Value::Array(params)) => Ok((method, params)),
        Some(_) => Err(Fault::params("`params` is an array here: these methods take their parameters by position.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> (Value, i64) {
        let Body::One(Err(unasked)) = Body::read(body.as_bytes()) else { panic!("{body}") };
        let answer = unasked.answer();
        (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap())
    }

    /// Bodies and codes of the examples of JSON-RPC 2.0, section 7, where they do not ask for notifications.
    #[test]
    fn what_is_no_call_is_told_so() {
        assert_eq!(code(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#), (Value::Null, -32700));
        assert_eq!(code(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#), (Value::Null, -32600));
        assert_eq!(code("[]"), (Value::Null, -32600));
        let Body::Several(three) = Body::read(b"[1,2,3]") else { panic!() };
        let codes: Vec<_> = three.into_iter().map(|one| one.unwrap_err().answer()["error"]["code"].take()).collect();
        assert_eq!(codes, [-32600, -32600, -32600]);
        assert_eq!(code(r#"{"id":1,"method":"m"}"#), (1.into(), -32600));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":"m","params":{"a":1}}"#), ("a".into(), -32602));
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"m"}"#), (Value::Null, -32600));
        assert_eq!(code(&format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"m\"}}", "i".repeat(129))).1, -32600);
        assert_eq!(code(&format!("[{}]", vec!["1"; 101].join(","))).1, -32600);
    }

    #[test]
    fn a_call_is_read_with_or_without_parameters() {
        let Body::One(Ok(asked)) = Body::read(br#"{"jsonrpc":"2.0","id":7,"method":"eth_accounts"}"#) else { panic!() };
        assert_eq!(asked, Asked { id: 7.into(), method: "eth_accounts".into(), params: vec![] });
        let Body::Several(calls) = Body::read(br#"[{"jsonrpc":"2.0","id":1,"method":"m","params":[1]},2]"#) else {
            panic!()
        };
        assert_eq!((calls.len(), calls[0].is_ok(), calls[1].is_err()), (2, true, true));
    }
}
