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
    /// Is answered with an object, or not at all.
    One(Item),
    /// Is answered with an array, of those that are answered.
    Several(Vec<Item>),
}

/// One thing of a body.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A call: it is done and answered.
    Call(Asked),
    /// A call without an id, which nobody waits for. It is not answered, as JSON-RPC 2.0 (4.1) says; and as these methods do
    /// nothing but answer, nothing is done: a signature that nobody gets is not made.
    Notification,
    /// No call, and told so.
    Not(Unasked),
}

/// What is no call.
#[derive(Debug, PartialEq)]
pub struct Unasked {
    id: Value,
    fault: Box<Fault>,
}

impl Body {
    /// Reads a body.
    pub fn read(bytes: &[u8]) -> Self {
        let not_one = |fault| Self::One(Item::not(Value::Null, fault));
        match serde_json::from_slice(bytes) {
            Err(_) => not_one(Fault::not_json()),
            Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH_MAX => {
                not_one(Fault::no_call(&format!("A batch has 1 to {BATCH_MAX} calls; send more in several.")))
            }
            Ok(Value::Array(calls)) => Self::Several(calls.into_iter().map(Item::read).collect()),
            Ok(call) => Self::One(Item::read(call)),
        }
    }
}

impl Item {
    fn not(id: Value, fault: Fault) -> Self {
        Self::Not(Unasked { id, fault: Box::new(fault) })
    }

    fn read(call: Value) -> Self {
        let Value::Object(mut call) = call else {
            return Self::not(Value::Null, Fault::no_call("A call is a JSON object."));
        };
        let id = match id(&mut call) {
            Ok(id) => id,
            Err(fault) => return Self::not(Value::Null, fault),
        };
        match (method(&mut call), id) {
            (Err(fault), id) => Self::not(id.unwrap_or_default(), fault),
            (Ok(_), None) => Self::Notification,
            (Ok(method), Some(id)) => match params(&mut call) {
                Ok(params) => Self::Call(Asked { id, method, params }),
                Err(fault) => Self::not(id, fault),
            },
        }
    }
}

impl Unasked {
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

/// Whole numbers only: what the reader rounds would not come back as it was sent.
fn id(call: &mut Map<String, Value>) -> Result<Option<Value>, Fault> {
    match call.remove("id") {
        None => Ok(None),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(Some(Value::Number(id))),
        Some(Value::String(id)) if id.len() <= ID_MAX_BYTES => Ok(Some(Value::String(id))),
        // Discouraged (JSON-RPC 2.0, 4), and no notification.
        Some(Value::Null) => Ok(Some(Value::Null)),
        Some(_) => Err(Fault::no_call(&format!(
            "The `id` of a call is a whole number below 2^64, or a string of at most {ID_MAX_BYTES} bytes."
        ))),
    }
}

fn method(call: &mut Map<String, Value>) -> Result<String, Fault> {
    if call.remove("jsonrpc") != Some("2.0".into()) {
        return Err(Fault::no_call("A call needs \"jsonrpc\": \"2.0\"."));
    }
    match call.remove("method") {
        Some(Value::String(method)) => Ok(method),
        _ => Err(Fault::no_call("A call needs a `method`, which is a string.")),
    }
}

fn params(call: &mut Map<String, Value>) -> Result<Vec<Value>, Fault> {
    match call.remove("params") {
        None => Ok(Vec::new()),
        Some(Value::Array(params)) => Ok(params),
        Some(Value::Object(_)) => {
            Err(Fault::params("`params` is an array here: these methods take their parameters by position."))
        }
        Some(_) => Err(Fault::no_call("`params` is an array, or left out.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> Item {
        let Body::One(item) = Body::read(body.as_bytes()) else { panic!("{body}") };
        item
    }

    fn told(item: Item) -> (Value, i64) {
        let Item::Not(unasked) = item else { panic!("{item:?}") };
        let answer = unasked.answer();
        assert_eq!((&answer["jsonrpc"], answer.get("result")), (&json!("2.0"), None));
        (answer["id"].clone(), answer["error"]["code"].as_i64().unwrap())
    }

    fn code(body: &str) -> (Value, i64) {
        told(one(body))
    }

    /// Bodies and codes of the examples of JSON-RPC 2.0, section 7.
    #[test]
    fn the_examples_of_the_specification_are_answered_as_it_says() {
        assert_eq!(code(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#), (Value::Null, -32700));
        assert_eq!(code(r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#), (Value::Null, -32600));
        let broken =
            r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]"#;
        assert_eq!(code(broken), (Value::Null, -32700));
        assert_eq!(code("[]"), (Value::Null, -32600));
        for (body, several) in [("[1]", 1), ("[1,2,3]", 3)] {
            let Body::Several(items) = Body::read(body.as_bytes()) else { panic!() };
            let codes: Vec<_> = items.into_iter().map(told).collect();
            assert_eq!(codes, vec![(Value::Null, -32600); several]);
        }
        for notification in [
            r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
            r#"{"jsonrpc": "2.0", "method": "foobar"}"#,
        ] {
            assert_eq!(one(notification), Item::Notification);
        }
        let batch = r#"[
            {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
            {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
            {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
            {"jsonrpc": "2.0", "method": "get_data", "id": "9"} ]"#;
        let Body::Several(items) = Body::read(batch.as_bytes()) else { panic!() };
        let kinds: Vec<_> = items
            .into_iter()
            .map(|item| match item {
                Item::Call(asked) => json!(asked.id),
                Item::Notification => json!("-"),
                not => json!(told(not)),
            })
            .collect();
        // Here no method takes its parameters by name.
        let by_name = json!(["5", -32602]);
        assert_eq!(json!(kinds), json!(["1", "-", "2", [null, -32600], by_name, "9"]));
    }

    #[test]
    fn what_is_no_call_is_told_so_with_its_id_where_it_has_one() {
        assert_eq!(code(r#"{"id":1,"method":"m"}"#), (1.into(), -32600));
        assert_eq!(code(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#), (1.into(), -32600));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":"m","params":{"a":1}}"#), ("a".into(), -32602));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":"m","params":"bar"}"#), ("a".into(), -32600));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":-3}"#), ((-3).into(), -32600));
        for id in ["1.5", "18446744073709551616", "1e400", "true", "[1]", "{}", &format!("{:?}", "i".repeat(129))] {
            let (shown, number) = code(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#));
            assert!(shown.is_null() && [-32600, -32700].contains(&number), "{id}: {number}");
        }
        assert_eq!(code(&format!("[{}]", vec!["1"; 101].join(","))).1, -32600);
        assert_eq!(code(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).1, -32700);
    }

    #[test]
    fn a_call_is_read_with_or_without_parameters_and_keeps_its_id() {
        let called = |id: Value| Item::Call(Asked { id, method: "eth_accounts".into(), params: vec![] });
        for id in [json!(7), json!(-1), json!(u64::MAX), json!(""), json!("a-b"), Value::Null] {
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": "eth_accounts" });
            assert_eq!(one(&body.to_string()), called(id));
        }
        let Body::Several(items) = Body::read(br#"[{"jsonrpc":"2.0","id":1,"method":"m","params":[1]},2]"#) else {
            panic!()
        };
        assert!(matches!(items.as_slice(), [Item::Call(_), Item::Not(_)]));
    }
}
