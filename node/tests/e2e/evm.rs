//! Every kind of EVM content through a cluster: signed with a threshold key, recovered by libsecp256k1, or refused by its
//! reason.

use crate::harness::cluster::{Cluster, USDC, VENDOR};
use crate::harness::orders::*;
use crate::harness::people::*;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tally_chains::{AccessListItem, EvmFees, EvmFields, evm_unsigned, parse_evm_address};
use tally_client::{Client, Order};
use tally_domain::{Purpose, Reason, Scheme};

/// The example of EIP-712, and its digest.
pub const MAIL: &str = r#"{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},
    {"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],
    "Person":[{"name":"name","type":"string"},{"name":"wallet","type":"address"}],
    "Mail":[{"name":"from","type":"Person"},{"name":"to","type":"Person"},{"name":"contents","type":"string"}]},
    "primaryType":"Mail","domain":{"name":"Ether Mail","version":"1","chainId":1,
    "verifyingContract":"0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},
    "message":{"from":{"name":"Cow","wallet":"0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
    "to":{"name":"Bob","wallet":"0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},"contents":"Hello, Bob!"}}"#;
pub const MAIL_DIGEST: &str = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2";

/// What is moved and what others may move take of the same line.
const LIMITS: &str =
    "[[limit]]\nid = \"cold-usdc-day\"\nkey = \"cold\"\nasset = \"USDC\"\nmax = \"5_000\"\nper = \"24h\"\n";

/// ERC-2612, for USDC.
fn permit(spender: &str, value: &str) -> String {
    format!(
        r#"{{"types":{{"Permit":[{{"name":"owner","type":"address"}},{{"name":"spender","type":"address"}},
        {{"name":"value","type":"uint256"}},{{"name":"nonce","type":"uint256"}},{{"name":"deadline","type":"uint256"}}]}},
        "primaryType":"Permit","domain":{{"name":"USD Coin","version":"2","chainId":1,"verifyingContract":"{USDC}"}},
        "message":{{"owner":"{VENDOR}","spender":"{spender}","value":"{value}","nonce":0,"deadline":"1800000000"}}}}"#
    )
}

fn typed(name: &str, chain: &str, json: &str) -> Order {
    Order::sign_typed_data(key(name), chain, json.as_bytes().to_vec())
}

fn personal(name: &str, text: &str) -> Order {
    Order::sign_personal_message(key(name), text.as_bytes().to_vec())
}

fn tx(payload: Vec<u8>) -> Order {
    Order::sign_evm(key("hot"), "eip155:1", payload)
}

/// Wei to the vendor would need a rule for ETH; nothing of it needs one as well: these are calls of USDC.
fn with(fees: EvmFees, input: Vec<u8>) -> Order {
    let to = Some(parse_evm_address(USDC).unwrap());
    tx(evm_unsigned(&EvmFields { chain_id: 1, nonce: 1, fees, gas_limit: 60_000, to, value: amount(0), input }))
}

/// `approve(vendor, micro USDC)`.
fn approve(micro: &str) -> Vec<u8> {
    hex::decode(format!("095ea7b3{:0>64}{micro:0>64}", VENDOR.trim_start_matches("0x"))).unwrap()
}

/// Calls of a contract whose ABI the bundle has, with a rule for one function of it.
const VAULT: &str = "0x0000000000000000000000000000000000004626";
const VAULT_RULE: &str = r#"
@id("vault-deposits")
permit (principal in Group::"payouts", action == Action::"vault.deposit", resource == Key::"hot")
when { context.tx.args.receiver in List::"vendors" && context.tx.args.assets.lessThanOrEqual(decimal("1000")) };
"#;

async fn cluster_with_a_vault() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    let policy = cluster.dir.path().join("policy");
    std::fs::create_dir(policy.join("abi")).unwrap();
    let abi = include_str!("../../../policy/examples/vault/abi/erc4626.json");
    std::fs::write(policy.join("abi/erc4626.json"), abi).unwrap();
    let contracts = include_str!("../../../policy/examples/vault/contracts.toml");
    std::fs::write(policy.join("contracts.toml"), contracts).unwrap();
    let rules = std::fs::read_to_string(policy.join("policy.cedar")).unwrap();
    std::fs::write(policy.join("policy.cedar"), rules + VAULT_RULE).unwrap();
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    cluster
}

/// A call of the vault with a number and an address.
fn of_vault(selector: &str, micro: u64, address: &str) -> Order {
    let input = hex::decode(format!("{selector}{micro:064x}{:0>64}", address.trim_start_matches("0x"))).unwrap();
    let (fees, to) = (EvmFees::Legacy { gas_price: 1 }, Some(parse_evm_address(VAULT).unwrap()));
    tx(evm_unsigned(&EvmFields { chain_id: 1, nonce: 1, fees, gas_limit: 60_000, to, value: amount(0), input }))
}

const DEPOSIT: &str = "6e553f65";
const MINT: &str = "94bf804d";

fn transfer() -> Vec<u8> {
    tally_chains::erc20_transfer_input(parse_evm_address(VENDOR).unwrap(), amount(5_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_evm_content_is_signed_by_its_rule_and_recovered_by_another_library() {
    let cluster = cluster_with_a_vault().await;
    let client = cluster.client("payouts-1");
    let hot = create_hot(&client).await;
    let said = create(&client, "said", Scheme::EcdsaSecp256k1, Purpose::Message).await;

    let legacy = sign(&client, with(EvmFees::Legacy { gas_price: 30_000_000_000 }, transfer())).await.unwrap();
    assert_eq!(
        (legacy.rule.as_str(), recovered(&legacy), legacy.signed_payload[0]),
        ("payouts-small", hot.clone(), 0xf8)
    );
    let access_list = vec![AccessListItem { address: [7; 20], storage_keys: vec![[9; 32]] }];
    let listed = with(EvmFees::AccessList { gas_price: 30_000_000_000, access_list }, transfer());
    let listed = sign(&client, listed).await.unwrap();
    assert_eq!((recovered(&listed), listed.signed_payload[0]), (hot.clone(), 1));

    let allowed = sign(&client, with(EvmFees::Legacy { gas_price: 1 }, approve("4c4b40"))).await.unwrap();
    assert_eq!((allowed.rule.as_str(), recovered(&allowed)), ("vendors-collect", hot.clone()));
    let called = sign(&client, of_vault(DEPOSIT, 1_000_000_000, VENDOR)).await.unwrap();
    assert_eq!((called.rule.as_str(), recovered(&called)), ("vault-deposits", hot.clone()));
    let more = client.seal(of_vault(DEPOSIT, 1_500_000_000, VENDOR)).unwrap();
    let judged = client.simulate(&more, None).await.unwrap();
    assert_eq!((judged.verdict.as_str(), judged.near_misses[0].0.as_str()), ("deny", "vault-deposits"));
    let told = format!("vault.deposit of {VAULT} on eip155:1\n  assets = 1500 USDC\n  receiver = {VENDOR}\n");
    assert!(judged.facts.contains(&told), "{}", judged.facts);
    let permitted = sign(&client, typed("hot", "eip155:1", &permit(VENDOR, "5000000"))).await.unwrap();
    assert_eq!((permitted.rule.as_str(), recovered(&permitted)), ("vendors-collect", hot.clone()));
    let mail = sign(&client, typed("hot", "eip155:1", MAIL)).await.unwrap();
    assert_eq!((mail.rule.as_str(), recovered(&mail)), ("mail", hot));
    assert_eq!((hex::encode(&mail.signed_bytes), mail.signed_payload.len()), (MAIL_DIGEST.into(), 0));
    let hello = sign(&client, personal("said", "hello")).await.unwrap();
    assert_eq!((hello.rule.as_str(), recovered(&hello)), ("messages", said));
    // The published EIP-191 hash of "hello".
    let expected = "50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750";
    assert_eq!(hex::encode(&hello.signed_bytes), expected);

    refusals(&client).await;
    batched(&cluster);
}

/// `tally batch`: one that is denied stops no other, and the program ends as it does.
fn batched(cluster: &Cluster) {
    let line = |micro: u64| format!("{}\n", hex::encode(usdc(1, micro, micro.into())));
    let file = cluster.dir.path().join("batch.txt");
    std::fs::write(&file, [1_000_000, 1_001_000_000, 2_000_000].map(line).concat()).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("tally");
    let profile = cluster.dir.path().join("payouts-1/profile.toml");
    let mut command = Command::new(program);
    let output = command.args(["batch", "hot", "--json"]).arg(file).env("TALLY_PROFILE", profile).output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &printed["signed"]), (Some(3), &2.into()), "{printed}");
    let outcomes = printed["outcomes"].as_array().unwrap();
    let reasons: Vec<_> = outcomes.iter().map(|one| one["reason"].as_str()).collect();
    assert_eq!(reasons, [None, Some("POLICY_DENIED"), None]);
    for (one, signed) in outcomes.iter().zip([true, false, true]) {
        let raw = one["raw_transaction"].as_str();
        assert_eq!(raw.is_some_and(|raw| raw.starts_with("0x02f8")), signed, "{one}");
        assert_eq!(one["request_id"].as_str().map(str::len), Some(32), "whoever asks again needs it");
    }
}

async fn refusals(client: &Client) {
    create_fast(client).await;
    let with_input = |input| with(EvmFees::Legacy { gas_price: 1 }, input);
    let unknown = MAIL.replace("\"Mail\"", "\"Order\"");
    let narrow = MAIL.replace("\"uint256\"", "\"uint\"");
    let delegation = vec![4, 0xc0];
    // Six empty fields: a legacy transaction before EIP-155.
    let unbound = vec![0xc6, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
    for (order, reason) in [
        (with_input(approve(&"f".repeat(64))), Reason::PolicyDenied),
        (with_input(approve("3b9aca01")), Reason::PolicyDenied),
        (of_vault(DEPOSIT, 1_000_000_001, VENDOR), Reason::PolicyDenied),
        (of_vault(DEPOSIT, 1, USDC), Reason::PolicyDenied),
        (of_vault(MINT, 1, VENDOR), Reason::PolicyDenied),
        (of_vault("deadbeef", 1, VENDOR), Reason::TxOpaque),
        (typed("hot", "eip155:1", &permit(USDC, "5000000")), Reason::PolicyDenied),
        (typed("hot", "eip155:1", &permit(VENDOR, &format!("0x{}", "f".repeat(64)))), Reason::PolicyDenied),
        (typed("hot", "eip155:1", &unknown), Reason::PolicyDenied),
        (typed("hot", "eip155:1", &narrow), Reason::TypedDataInvalid),
        (typed("hot", "eip155:1", "{"), Reason::TypedDataInvalid),
        (typed("hot", "eip155:137", MAIL), Reason::ChainMismatch),
        (typed("hot", "", MAIL), Reason::ChainMismatch),
        (typed("said", "eip155:1", MAIL), Reason::KeyPurpose),
        (personal("hot", "hello"), Reason::KeyPurpose),
        (personal("fast", "hello"), Reason::KeyScheme),
        (tx(delegation), Reason::TxType),
        (tx(vec![3, 0xc0]), Reason::TxType),
        (tx(unbound), Reason::TxType),
    ] {
        assert_eq!(self::reason(sign(client, order.clone()).await), reason, "{order:?}");
    }
    // A person reads what to build instead.
    let refused = sign(client, tx(vec![4, 0xc0])).await.unwrap_err();
    assert!(refused.refused().unwrap().metadata["detail"].contains("EIP-1559"), "{refused:?}");
    let refused = sign(client, typed("hot", "eip155:1", &narrow)).await.unwrap_err();
    assert!(refused.refused().unwrap().metadata["detail"].contains("`uint`"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leave_waits_for_persons_is_shown_to_them_and_takes_of_limits() {
    let cluster = Cluster::limited(LIMITS).await;
    let client = cluster.client("payouts-1");
    let cold = create(&client, "cold", Scheme::EcdsaSecp256k1, Purpose::Transaction).await;
    let approval = Order::sign_evm(key("cold"), "eip155:1", call(1, 1, approve("77359400")));
    let collect = |micro: &str| typed("cold", "eip155:1", &permit(VENDOR, micro));
    for order in [approval, collect("2000000000")] {
        let order = order.valid_for(3_600_000);
        let judged = client.simulate(&client.seal(order.clone()).unwrap(), None).await.unwrap();
        assert_eq!(
            (judged.verdict.as_str(), &judged.missing[..]),
            ("needs-approval", &["vendors-collect-large: 1 of treasury".to_owned()][..])
        );
        let charged: Vec<_> = judged.charges.iter().map(|c| (c.limit.to_string(), c.amount.to_string())).collect();
        assert_eq!(charged, [("cold-usdc-day".to_owned(), "2000000000".to_owned())]);

        let id = asked(&client, order).await.request_id();
        let shown = holds(&cluster, 1, id, 0).await;
        assert!(shown.summary.contains(&format!("{VENDOR} may move up to 2000 USDC ({USDC})")), "{}", shown.summary);
        assert_eq!(judged.facts, shown.summary);
        assert_eq!(approves(&cluster.at(1), id, "alice").await.unwrap().state, "approved");
        let signed = done(&cluster, 0, id).await;
        assert_eq!((signed.rule.as_str(), recovered(&signed)), ("vendors-collect-large", cold.clone()));
    }
    // To the last unit, whichever rule permits the rest.
    assert_eq!(sign(&client, collect("1000000000")).await.unwrap().rule, "vendors-collect");
    assert_eq!(reason(sign(&client, collect("1")).await), Reason::VelocityLimit);
}
