//! Typed data that is refused, and what values its types take.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

mod common {
    pub mod typed;
}

use common::typed::*;
use serde_json::{Value, json};
use tally_chains::{BadTypedData, ChainError, SHOWN_MAX_BYTES, VALUES_MAX, decode};
use tally_domain::{ContentKind, Reason, Scheme};

fn refused(document: &Value) -> BadTypedData {
    match read("eip155:1", document) {
        Err(ChainError::TypedData(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_wallets_could_read_otherwise_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut document = mail();
        *document.pointer_mut(pointer).unwrap() = value;
        refused(&document)
    };
    let added = |pointer: &str, key: &str, value: Value| {
        let mut document = mail();
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(key.into(), value);
        refused(&document)
    };
    let removed = |pointer: &str, key: &str| {
        let mut document = mail();
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
        refused(&document)
    };
    let unsigned = |path: &str| BadTypedData::Unsigned { path: path.into() };
    assert_eq!(added("", "note", "x".into()), unsigned("note"));
    assert_eq!(added("/message", "cc", "x".into()), unsigned("cc"));
    assert_eq!(added("/message/to", "cc", "x".into()), unsigned("to.cc"));
    assert_eq!(added("/domain", "nonce", 1.into()), unsigned("domain.nonce"));
    assert_eq!(added("/types/Person/0", "internal", 1.into()), unsigned("types.Person.0.internal"));
    let missing = |path: &str| BadTypedData::Missing { path: path.into() };
    assert_eq!(removed("/message/to", "wallet"), missing("to.wallet"));
    for key in ["types", "domain", "message", "primaryType"] {
        assert_eq!(removed("", key), missing(key));
    }
    assert_eq!(removed("/domain", "version"), BadTypedData::DomainType);
    assert_eq!(changed("/primaryType", "EIP712Domain".into()), BadTypedData::PrimaryType);
    assert_eq!(changed("/primaryType", "Letter".into()), BadTypedData::UnknownType { name: "Letter".into() });
    for kind in [
        "uint",
        "int",
        "uint7",
        "uint264",
        "bytes0",
        "bytes33",
        "Person[",
        "Person[0]",
        "Person[01]",
        "x y",
        "",
        "function()",
    ] {
        let why = changed("/types/Mail/2/type", kind.into());
        assert!(matches!(&why, BadTypedData::Type { name, .. } if name == kind), "{kind}: {why}");
    }
    for name in ["", "a b", "1a", "a)", "from"] {
        assert!(matches!(changed("/types/Mail/2/name", name.into()), BadTypedData::Type { .. }), "{name}");
    }
    let value = |pointer, value| matches!(changed(pointer, value), BadTypedData::Value { .. });
    assert!(value("/message/contents", 5.into()) && value("/message/contents", Value::Null));
    assert!(value("/message/to", "0x".into()) && value("/message", json!([])));
    assert!(value("/message/to/wallet", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbb".into()));
    assert!(value("/message/to/wallet", "bBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB".into()));
}

#[test]
fn of_a_number_that_readers_do_not_agree_on_it_is_said_how_to_write_it() {
    for number in ["115792089237316195423570985008687907853269984665640564039457584007913129639935", "1.5"] {
        let text = mail().to_string().replacen("\"contents\":", &format!("\"amount\":{number},\"contents\":"), 1);
        let why = decode(ContentKind::TypedData, Scheme::EcdsaSecp256k1, "eip155:1", text.as_bytes()).unwrap_err();
        assert!(why.to_string().contains("put a larger one in quotes"), "{why}");
    }
}

#[test]
fn values_are_those_of_their_types() {
    let with = |kind: &str, value: Value| {
        let types = json!({ "T": members(&[(kind, "v")]) });
        let document =
            json!({ "types": types, "primaryType": "T", "domain": { "chainId": 1 }, "message": { "v": value } });
        read("eip155:1", &document).is_ok()
    };
    let good: [(&str, Value); 16] = [
        ("uint8", 255.into()),
        ("uint8", "0xff".into()),
        ("uint256", MAX.into()),
        ("int8", (-128).into()),
        ("int8", "127".into()),
        ("int256", "-57896044618658097711785492504343953926634992332820282019728792003956564819968".into()),
        ("bool", true.into()),
        ("bytes", "0x".into()),
        ("bytes2", "0x0102".into()),
        ("string", "".into()),
        ("uint8[]", json!([])),
        ("uint8[2]", json!([1, 2])),
        ("uint8[2][]", json!([[1, 2], [3, 4]])),
        ("T[]", json!([{ "v": [] }])),
        ("bytes32", MAX.into()),
        ("address", ALICE.into()),
    ];
    for (kind, value) in good {
        assert!(with(kind, value.clone()), "{kind} {value}");
    }
    let bad: [(&str, Value); 22] = [
        ("uint8", 256.into()),
        ("uint8", (-1).into()),
        ("uint8", 1.5.into()),
        ("uint8", "".into()),
        ("uint8", "0x".into()),
        ("uint8", "+1".into()),
        ("uint8", " 1".into()),
        ("uint8", "1e2".into()),
        ("uint256", format!("0x1{}", "0".repeat(64)).into()),
        ("int8", 128.into()),
        ("int8", (-129).into()),
        ("int8", "--1".into()),
        ("int256", "57896044618658097711785492504343953926634992332820282019728792003956564819968".into()),
        ("bool", "true".into()),
        ("bool", 1.into()),
        ("bytes", "00".into()),
        ("bytes", "0x0".into()),
        ("bytes", json!([1])),
        ("bytes2", "0x010203".into()),
        ("uint8[2]", json!([1])),
        ("uint8[]", 1.into()),
        ("T[]", json!([null])),
    ];
    for (kind, value) in bad {
        assert!(!with(kind, value.clone()), "{kind} {value}");
    }
    assert!(with("uint8[]", vec![1; VALUES_MAX].into()));
    assert!(!with("uint8[]", vec![1; VALUES_MAX + 1].into()));
}

/// Small documents that would take a careless reader for ever, or off its stack.
#[test]
fn documents_that_grow_or_nest_without_end_are_read_or_refused_at_once() {
    // Each type has the next one twice: 2^60 values, if the message had them.
    let mut types = serde_json::Map::new();
    for i in 0..60 {
        let next = format!("T{}", i + 1);
        types.insert(format!("T{i}"), members(&[(&next, "a"), (&next, "b")]));
    }
    types.insert("T60".into(), members(&[("bool", "v")]));
    let document = |types: &serde_json::Map<_, _>, message: Value| json!({ "types": types, "primaryType": "T0", "domain": { "chainId": 1 }, "message": message });
    assert!(matches!(refused(&document(&types, json!({ "a": {}, "b": {} }))), BadTypedData::Missing { .. }));
    types.insert("T61".into(), json!([]));
    types.insert("T62".into(), json!([]));
    types.insert("T63".into(), json!([]));
    types.insert("T64".into(), json!([]));
    assert!(matches!(refused(&document(&types, json!({}))), BadTypedData::TooLarge { .. }));
    // Paths repeat the names above them, and errors repeat what they are about.
    let names: Vec<_> = (0..5).map(|i| format!("{}{i}", "n".repeat(127))).collect();
    let mut nested = serde_json::Map::new();
    nested.insert("T5".into(), members(&[("bool[]", "v")]));
    let mut message = json!({ "v": vec![true; VALUES_MAX] });
    for i in (0..5).rev() {
        nested.insert(format!("T{i}"), members(&[(&format!("T{}", i + 1), &names[i])]));
        message = json!({ names[i].clone(): message });
    }
    let why = refused(&document(&nested, message));
    assert_eq!(why, BadTypedData::TooLarge { what: "bytes of values with their paths", limit: SHOWN_MAX_BYTES });
    let mut long = mail();
    long["message"].as_object_mut().unwrap().insert(format!("\u{1b}{}", "x".repeat(50_000)), 1.into());
    let e = read("eip155:1", &long).unwrap_err().to_string();
    assert!(e.len() < 300 && !e.contains('\u{1b}'), "{e}");
    let mut long = mail();
    long["types"]["Mail"][2]["name"] = "n".repeat(129).into();
    assert!(matches!(refused(&long), BadTypedData::Type { .. }));
    let deep = [b"{\"message\":".repeat(5_000), b"[".repeat(5_000)].concat();
    for content in [
        deep,
        b"[".repeat(60_000),
        b"{\"types\":{},\"types\":{}}".to_vec(),
        b"{} {}".to_vec(),
        b"\"x\"".to_vec(),
        b"1.5".to_vec(),
    ] {
        let e = decode(ContentKind::TypedData, Scheme::EcdsaSecp256k1, "eip155:1", &content).unwrap_err();
        assert_eq!(e.reason(), Reason::TypedDataInvalid);
    }
    let e = decode(ContentKind::TypedData, Scheme::EcdsaSecp256k1, "eip155:1", b"").unwrap_err();
    assert_eq!(e.reason(), Reason::Malformed);
}
