//! The JSON-RPC endpoint: what alloy, ethers and web3.py send, byte for byte; who may send it; and what is told to those who
//! send something else.

use crate::evm::{MAIL, MAIL_DIGEST};
use crate::harness::cluster::{Cluster, USDC, VENDOR};
use crate::harness::json_rpc::{Caller, call, post_to, provide, whole};
use crate::harness::orders::*;
use crate::harness::watch;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use serde_json::{Value, json};
use tally_chains::{TransactionRequest, evm_address, evm_unsigned};
use tally_client::{Client, RequestState};
use tally_domain::{ContentKind, DerivationPath, HsmScheme, Purpose, RequestId, Scheme};

const ACCOUNTS: &str = "{ key = \"later\" }, { key = \"hot\" }, { key = \"hot\", path = \"m/0/7\" }, { key = \"said\" }, \
                        { key = \"house\" }";

/// What node 1 works on at once for JSON-RPC.
const BODIES_MAX: usize = 64;

/// Connections that say nothing: more than there can be handshakes at once.
const IDLE: usize = 700;

/// Places that are left for a flood, and its calls: many more, on fewer connections than one client may have.
const LEFT: usize = 4;
const FLOOD: usize = 30;

/// Connections of nodes and of other clients beside them, at most; one certificate may have 128.
const CONNECTIONS_REST: f64 = 32.0;

struct Endpoint {
    cluster: Cluster,
    port: u16,
    client: Client,
    /// Addresses of `hot`, its child m/0/7, `said`, and `house` in the HSM of node 1.
    addresses: [String; 4],
}

impl Endpoint {
    async fn start() -> Self {
        let mut cluster = Cluster::prepare(3);
        let port = provide(&cluster, 0, 1, ACCOUNTS);
        (0..3).for_each(|i| cluster.launch(i, &[]));
        cluster.all_serving().await;
        let client = cluster.client("payouts-1");
        let hot = create_hot(&client).await;
        let child = client.derive(&key("hot"), &DerivationPath::parse("m/0/7").unwrap()).await.unwrap().public_key;
        let said = create(&client, "said", Scheme::EcdsaSecp256k1, Purpose::Message).await;
        let spec = in_hsm_of(0, HsmScheme::EcdsaSecp256k1, Purpose::Message);
        let house = create_hsm(&client, "house", &spec).await.unwrap().secp256k1_compressed().unwrap().to_vec();
        let addresses = [hot, child, said, house].map(|point| evm_address(&point).unwrap());
        Self { cluster, port, client, addresses }
    }

    fn caller(&self, client: &str) -> Caller {
        Caller::new(&self.cluster, self.port, Some(&self.cluster.clients[client].tls))
    }

    /// As alloy's `TransactionRequest` is written.
    fn transfer(&self, from: &str, micro: u64) -> Value {
        json!({
            "from": from, "to": USDC, "gas": "0xea60", "nonce": "0x0", "value": "0x0", "chainId": "0x1", "type": "0x2",
            "maxFeePerGas": "0x6fc23ac00", "maxPriorityFeePerGas": "0x3b9aca00",
            "input": format!("0xa9059cbb{:0>64}{micro:064x}", VENDOR.trim_start_matches("0x")),
        })
    }
}

/// The address that libsecp256k1 recovers from `0x` and r, s, v.
fn signer(digest: &[u8], signature: &str) -> String {
    let bytes = hex::decode(signature.strip_prefix("0x").unwrap()).unwrap();
    let id = RecoveryId::try_from(i32::from(bytes[64]) - 27).unwrap();
    let signature = RecoverableSignature::from_compact(&bytes[..64], id).unwrap();
    let point = signature.recover(secp256k1::Message::from_digest(digest.try_into().unwrap())).unwrap();
    evm_address(&point.serialize()).unwrap()
}

/// The fields of a list in RLP; of a list within it the bytes of its fields.
fn rlp_fields(list: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut fields) = (rlp_item(list).0, Vec::new());
    while !rest.is_empty() {
        let (field, after) = rlp_item(rest);
        fields.push(field.to_vec());
        rest = after;
    }
    fields
}

/// The first item's bytes, and what comes after it.
fn rlp_item(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (short, long) = if bytes[0] < 0xc0 { (0x80, 0xb7) } else { (0xc0, 0xf7) };
    match bytes[0] {
        byte if byte < 0x80 => bytes.split_at(1),
        byte if byte <= long => bytes[1..].split_at(usize::from(byte - short)),
        byte => {
            let (length, rest) = bytes[1..].split_at(usize::from(byte - long));
            rest.split_at(length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libraries_sign_as_the_client_whose_key_the_endpoint_has() {
    let endpoint = Endpoint::start().await;
    let caller = endpoint.caller("payouts-1");
    let [hot, child, said, house] = &endpoint.addresses;
    // A key that does not exist yet has no address.
    assert_eq!(caller.call("eth_accounts", json!([])).await.unwrap(), json!([hot, child, said, house]));
    assert_eq!(caller.call("eth_chainId", json!([])).await.unwrap(), "0x1");

    for account in [hot, child] {
        let tx = endpoint.transfer(account, 5_000_000);
        let raw = caller.call("eth_signTransaction", json!([tx])).await.unwrap();
        let raw = hex::decode(raw.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap();
        let unsigned = evm_unsigned(&TransactionRequest::from_value(tx, None).unwrap().fields);
        let decoded =
            tally_chains::decode(ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1, "eip155:1", &unsigned).unwrap();
        let tally_chains::ToSign::Digest(digest) = decoded.to_sign else { panic!() };
        let fields = rlp_fields(&raw[1..]);
        let [.., parity, r, s] = fields.as_slice() else { panic!("{raw:02x?}") };
        let v = if parity.is_empty() { "1b" } else { "1c" };
        let signature = format!("0x{:0>64}{:0>64}{v}", hex::encode(r), hex::encode(s));
        assert_eq!(signer(&digest.0, &signature), *account);
    }
    // geth's form, which web3.py reads.
    let body = call(7, "eth_signTransaction", json!([endpoint.transfer(hot, 1_000_000)]));
    let signed = caller.post("/geth", &body).await["result"].take();
    assert!(signed["raw"].as_str().unwrap().starts_with("0x02f8"), "{signed}");
    assert_eq!(
        (&signed["tx"]["from"], &signed["tx"]["nonce"], &signed["tx"]["type"]),
        (&json!(hot), &json!("0x0"), &json!("0x2"))
    );
    let r = signed["tx"]["r"].as_str().unwrap().trim_start_matches("0x");
    assert!(signed["raw"].as_str().unwrap().contains(r), "{signed}");

    let digest = hex::decode(MAIL_DIGEST).unwrap();
    for mail in [json!(MAIL), serde_json::from_str(MAIL).unwrap()] {
        let signature = caller.call("eth_signTypedData_v4", json!([hot.to_lowercase(), mail])).await.unwrap();
        assert_eq!(signer(&digest, signature.as_str().unwrap()), *hot);
    }
    for account in [said, house] {
        said_hello(account, &caller.call("personal_sign", json!(["0x68656c6c6f", account])).await.unwrap());
    }
    refusals(&endpoint, &caller).await;
    strangers(&endpoint).await;
    http(&endpoint, &caller).await;
    json_rpc(&endpoint, &caller).await;
    overload(&endpoint, &caller).await;
    flood(&endpoint, &caller).await;
}

/// The endpoint is a client as any other: what policy denies is denied, and says so.
async fn refusals(endpoint: &Endpoint, caller: &Caller) {
    let [hot, ..] = &endpoint.addresses;
    let denied = endpoint.transfer(hot, 1_001_000_000);
    let error = caller.call("eth_signTransaction", json!([denied])).await.unwrap_err();
    let data = &error["data"];
    assert_eq!((error["code"].as_i64(), &data["code"]), (Some(-32003), &json!("PERMISSION_DENIED")));
    assert_eq!((&data["domain"], &data["reason"]), (&json!("tally"), &json!("POLICY_DENIED")));
    assert!(data["metadata"].to_string().contains("payouts-small"), "{data}");
    let id = hex::decode(data["requestId"].as_str().unwrap()).unwrap();
    let request = endpoint.client.request(RequestId::from_slice(&id).unwrap()).await.unwrap();
    assert_eq!((request.client.as_str(), request.key.as_str()), ("payouts-1", "hot"));
    assert!(matches!(request.state, RequestState::Refused(reason) if reason == "POLICY_DENIED"));

    let purpose = caller.call("personal_sign", json!(["0x68", hot])).await.unwrap_err();
    assert_eq!(purpose["data"]["reason"], "KEY_PURPOSE");
    // A child that is not listed is no account, though the client could ask for it over gRPC.
    let path = DerivationPath::parse("m/0/8").unwrap();
    let unlisted = endpoint.client.derive(&key("hot"), &path).await.unwrap().public_key;
    let tx = endpoint.transfer(&evm_address(&unlisted).unwrap(), 1);
    let mut elsewhere = endpoint.transfer(hot, 1);
    elsewhere["chainId"] = json!("0x89");
    for (tx, part) in [(tx, "no key of address"), (elsewhere, "eip155:137")] {
        let error = caller.call("eth_signTransaction", json!([tx])).await.unwrap_err();
        assert_eq!((error["code"].as_i64(), &error["data"]["reason"]), (Some(-32602), &json!("MALFORMED")));
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
}

/// Only the client's own certificates speak for it.
async fn strangers(endpoint: &Endpoint) {
    let nobody = Caller::new(&endpoint.cluster, endpoint.port, None);
    assert!(nobody.http("POST / HTTP/1.1\r\ncontent-type: application/json", b"{}").await.is_err());
    let node = Caller::new(&endpoint.cluster, endpoint.port, Some(&endpoint.cluster.nodes[1].tls));
    for (stranger, reason) in [(endpoint.caller("payouts-2"), "ACL"), (node, "UNKNOWN_CLIENT")] {
        let answer = stranger.post("/", &call(7, "eth_accounts", json!([]))).await;
        assert_eq!((&answer["id"], &answer["error"]["data"]["reason"]), (&Value::Null, &json!(reason)), "{answer}");
    }
}

async fn http(endpoint: &Endpoint, caller: &Caller) {
    let json = "content-type: application/json";
    let too_large = vec![b' '; 300 * 1024];
    for (head, body, status) in [
        (format!("GET / HTTP/1.1\r\n{json}"), &b""[..], 405),
        (format!("POST /v1 HTTP/1.1\r\n{json}"), b"{}", 404),
        ("POST / HTTP/1.1\r\ncontent-type: text/plain".into(), b"{}", 415),
        (format!("POST / HTTP/1.1\r\n{json}"), &too_large, 413),
        (format!("POST / HTTP/1.1\r\n{json}{}", "\r\nx: y".repeat(80)), b"{}", 431),
    ] {
        assert_eq!(caller.http(&head, body).await.unwrap().0, status, "{head}");
    }
    assert!(endpoint.client.healthy().await.unwrap());
}

/// What JSON-RPC 2.0 says of batches, notifications, ids and methods, and what is counted of them.
async fn json_rpc(endpoint: &Endpoint, caller: &Caller) {
    let [hot, ..] = &endpoint.addresses;
    let notification =
        json!({ "jsonrpc": "2.0", "method": "eth_signTransaction", "params": [endpoint.transfer(hot, 1)] });
    let signed = || watch::number(&endpoint.cluster, 0, "tally_signatures_total{part=\"led\"}");
    let before = signed();
    let several = json!([call(1, "eth_chainId", json!([])), notification, call(2, "eth_sendTransaction", json!([])), 5, { "id": 7 }]);
    let answers = caller.post("/", &several).await;
    let told: Vec<_> =
        answers.as_array().unwrap().iter().map(|a| json!([a["id"], a["result"], a["error"]["code"]])).collect();
    assert_eq!(
        json!(told),
        json!([[1, "0x1", null], [2, null, -32601], [null, null, -32600], [7, null, -32600]]),
        "{answers}"
    );
    // Nobody waits for a notification: it is not answered, and nothing is signed.
    for body in [notification.clone(), json!([notification, notification])] {
        let answer = caller.http(&post_to("/"), body.to_string().as_bytes()).await.unwrap();
        assert_eq!(answer, (204, String::new()));
    }
    assert_eq!(signed(), before);
    let long = "i".repeat(500);
    for (body, id, number) in [
        ("{\"jsonrpc\":", json!(null), -32700),
        ("[]", json!(null), -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"eth_chainId"}"#, json!(null), -32600),
        (&format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"eth_chainId"}}"#), json!(null), -32600),
        (r#"{"jsonrpc":"2.0","id":"a","method":"eth_chainId","params":{}}"#, json!("a"), -32602),
        (r#"{"jsonrpc":"2.0","id":"a","method":"rpc.discover"}"#, json!("a"), -32601),
    ] {
        let (status, answer) = caller.http(&post_to("/"), body.as_bytes()).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["id"], &answer["error"]["code"]), (200, &id, &json!(number)), "{body}: {answer}");
    }
    let numbers = watch::shown(&endpoint.cluster, 0);
    let counted = |method: &str, outcome: &str| {
        watch::value(&numbers, &format!("tally_calls_total{{method=\"{method}\",outcome=\"{outcome}\"}}"))
    };
    // Of both transactions above, of the one that was refused, and of all that is no call or no method.
    assert_eq!(counted("eth_signTransaction", "POLICY_DENIED"), 1.0);
    assert_eq!(counted("eth_signTransaction", "ok"), 3.0);
    assert_eq!(counted("unknown", "MALFORMED"), 9.0);
    assert!(watch::value(&numbers, "tally_call_seconds_count{method=\"eth_signTransaction\"}") >= 4.0);
}

/// What the endpoint says to a call for the chain's id.
async fn chain(caller: &Caller) -> (u16, Value) {
    let body = call(7, "eth_chainId", json!([])).to_string();
    let (status, answer) = caller.http(&post_to("/"), body.as_bytes()).await.unwrap();
    (status, serde_json::from_str(&answer).unwrap())
}

/// Connections that say nothing, strangers, and bodies that never end keep nobody out for long; the node itself serves on.
async fn overload(endpoint: &Endpoint, caller: &Caller) {
    let room = crate::overload::idle_max();
    assert!(room >= IDLE, "the limit of descriptors is too low to show anything: raise `ulimit -Hn`");
    let idle: Vec<_> = (0..IDLE).map(|_| std::net::TcpStream::connect(("127.0.0.1", endpoint.port)).unwrap()).collect();
    assert_eq!(chain(caller).await.0, 200, "beside idle connections");
    drop(idle);

    let head = format!("{}\r\ncontent-length: 9", post_to("/"));
    let stranger = endpoint.caller("payouts-2");
    let mut slow = Vec::new();
    for _ in 0..BODIES_MAX {
        slow.push(stranger.open(&head).await);
    }
    assert_eq!(chain(caller).await.0, 200, "who may not call takes no place");
    slow.clear();
    for _ in 0..BODIES_MAX {
        slow.push(caller.open(&head).await);
    }
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    // The last ones may still be on their way.
    while chain(caller).await.0 != 429 {
        assert!(tokio::time::Instant::now() < end, "64 open bodies must be all that it takes");
    }
    sign(&endpoint.client, pay(9, 5)).await.unwrap();
    drop(slow);
    while chain(caller).await.0 != 200 {
        assert!(tokio::time::Instant::now() < end, "places must be given back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// More calls at once than there are places: those beyond are told when to come again, and get what they want when they do;
/// other clients are served meanwhile.
async fn flood(endpoint: &Endpoint, caller: &Caller) {
    let [.., house] = &endpoint.addresses;
    create_fast(&endpoint.client).await;
    let other = endpoint.cluster.client("payouts-2").only(0).unwrap().once();
    let counted = || watch::number(&endpoint.cluster, 0, "tally_calls_shed_total{caller=\"client\"}");
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    while watch::number(&endpoint.cluster, 0, "tally_connections") > CONNECTIONS_REST {
        assert!(tokio::time::Instant::now() < end, "connections that were closed must be forgotten");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (head, before) = (post_to("/"), counted());
    let mut streams = Vec::new();
    for _ in 0..FLOOD {
        streams.push(caller.connect().await.unwrap());
    }
    let mut slow = Vec::new();
    for _ in 0..BODIES_MAX - LEFT {
        slow.push(caller.open(&format!("{head}\r\ncontent-length: 9")).await);
    }
    let body = call(7, "personal_sign", json!(["0x68656c6c6f", house])).to_string();
    let calls = futures_util::future::join_all(streams.into_iter().map(|stream| whole(stream, &head, body.as_bytes())));
    let healthy = async {
        for i in 0..3 {
            sign(&other, say(&format!("during a flood, {i}"))).await.unwrap_or_else(|e| panic!("{i}: {e}"));
        }
    };
    let (answers, ()) = tokio::join!(calls, healthy);
    let (mut signed, mut shed) = (0_u32, 0_u32);
    for answer in answers {
        let answer = answer.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
        if head.starts_with("HTTP/1.1 200 ") {
            said_hello(house, &body["result"]);
            signed += 1;
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
        let (error, data) = (&body["error"], &body["error"]["data"]);
        let told = (&body["id"], &error["code"], &data["reason"]);
        assert_eq!(told, (&Value::Null, &json!(-32005), &json!("OVERLOADED")));
        assert_eq!((&data["code"], &data["retryAfterMs"]), (&json!("RESOURCE_EXHAUSTED"), &json!(1_000)));
        shed += 1;
    }
    assert!(signed > 0 && shed > 0, "{signed} signed, {shed} shed");
    // A body that never ends may have come after the calls, and was shed as they were.
    let all = counted() - before;
    assert!(all >= f64::from(shed) && all <= (FLOOD + BODIES_MAX - LEFT) as f64, "{all} counted, {shed} shed");
    drop(slow);
    // Who comes again when it was told to is served.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    said_hello(house, &caller.call("personal_sign", json!(["0x68656c6c6f", house])).await.unwrap());
}

/// The published EIP-191 hash of "hello" is what was signed, with this address's key.
fn said_hello(address: &str, signature: &Value) {
    let digest = hex::decode("50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750").unwrap();
    assert_eq!(signer(&digest, signature.as_str().unwrap_or_else(|| panic!("{signature}"))), address);
}
