//! Programs that know nothing of our SDK, and a chain that knows nothing of us: Python and TypeScript with the .proto files,
//! ethers, web3.py and (by `cargo xtask long clients`) alloy with the JSON-RPC endpoint. What they get signed is sent to anvil, and moves a token there.

use crate::evm::{MAIL, MAIL_DIGEST};
use crate::harness::anvil::{Anvil, CHAIN, TOKEN};
use crate::harness::cluster::{Cluster, VENDOR};
use crate::harness::json_rpc::provide;
use crate::harness::orders::*;
use crate::harness::stock;
use serde_json::{Value, json};
use std::process::{Command, Output};
use tally_chains::{AccessListItem, EvmFees, EvmFields, evm_unsigned, parse_evm_address};
use tally_client::{Client, Order, RequestState};
use tally_domain::RequestId;

/// The token of the chain of the test, under the name that the rules know.
fn on_this_chain(cluster: &Cluster) {
    let path = cluster.dir.path().join("policy/assets.toml");
    let mut assets = std::fs::read_to_string(&path).unwrap();
    assets += &format!(
        "\n[[asset]]\nsymbol = \"ETH\"\nchain = \"eip155:{CHAIN}\"\ndecimals = 18\n\
         \n[[asset]]\nsymbol = \"USDC\"\nchain = \"eip155:{CHAIN}\"\ncontract = \"{TOKEN}\"\ndecimals = 6\n"
    );
    std::fs::write(path, assets).unwrap();
}

/// `transfer(to, micro)` as the arguments of both examples.
fn transfer(command: &mut Command, cluster: &Cluster, nonce: u64, to: &str, micro: u64) -> Output {
    let data = format!("0xa9059cbb{:0>64}{micro:064x}", to.trim_start_matches("0x"));
    let profile = cluster.dir.path().join("payouts-1/profile.toml");
    command.arg("--profile").arg(profile).args(["--key", "hot", "--to", TOKEN, "--data", &data]);
    command.args(["--chain", &CHAIN.to_string(), "--nonce", &nonce.to_string()]).output().unwrap()
}

fn python() -> Command {
    let mut command = Command::new(stock::python());
    command.arg(stock::sign_py());
    command
}

fn typescript() -> Command {
    let mut command = Command::new("node");
    command.arg(stock::sign_js()).arg("--proto").arg(stock::proto());
    command
}

/// `examples/ethers/pay.mjs`
fn ethers() -> Command {
    let mut command = Command::new("node");
    command.arg(stock::ethers().join("pay.mjs"));
    command
}

/// `examples/web3py/pay.py`
fn web3py() -> Command {
    let mut command = Command::new(stock::web3py());
    command.arg(stock::pay_py());
    command
}

/// `tools/alloy-client`, where it has been built.
fn alloy() -> Option<Command> {
    std::env::var_os("TALLY_ALLOY_CLIENT").map(Command::new)
}

/// A payment by a library that is given the endpoint, as its client.
fn pay(mut program: Command, cluster: &Cluster, endpoint: &str, anvil: &Anvil, micro: u64) -> Value {
    program.arg(cluster.dir.path().join("payouts-1"));
    program.args([endpoint, &anvil.url(), TOKEN, VENDOR, &micro.to_string()]);
    let output = program.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stock::said(&output)))
}

/// What the libraries do not send: each type of transaction, an approval, and typed data, whose signer the chain's own
/// `ecrecover` finds. Gives how many transactions and how much it was.
async fn every_kind(client: &Client, anvil: &Anvil, hot: &str, nonce: u64) -> (u64, u64) {
    let to_vendor = |micro| tally_chains::erc20_transfer_input(parse_evm_address(VENDOR).unwrap(), amount(micro));
    let approve = hex::decode(format!("095ea7b3{:0>64}{:064x}", VENDOR.trim_start_matches("0x"), 5_000_000)).unwrap();
    let token = parse_evm_address(TOKEN).unwrap();
    let access_list = || vec![AccessListItem { address: token, storage_keys: vec![[0; 32]] }];
    let price = 30_000_000_000;
    let market = EvmFees::FeeMarket { max_priority_fee_per_gas: 1, max_fee_per_gas: price, access_list: access_list() };
    let kinds = [
        ("0x0", EvmFees::Legacy { gas_price: price }, to_vendor(1_000_000)),
        ("0x1", EvmFees::AccessList { gas_price: price, access_list: access_list() }, to_vendor(2_000_000)),
        ("0x2", market, to_vendor(3_000_000)),
        ("0x0", EvmFees::Legacy { gas_price: price }, approve),
    ];
    for (nonce, (kind, fees, input)) in (nonce..).zip(kinds) {
        let (to, value) = (Some(token), amount(0));
        let fields = EvmFields { chain_id: CHAIN, nonce, fees, gas_limit: 90_000, to, value, input };
        let order = Order::sign_evm(key("hot"), &format!("eip155:{CHAIN}"), evm_unsigned(&fields));
        let signed = sign(client, order).await.unwrap();
        let receipt = anvil.send(&format!("0x{}", hex::encode(&signed.signed_payload))).await;
        assert_eq!((&receipt["status"], &receipt["type"]), (&"0x1".into(), &kind.into()), "{receipt}");
        assert_eq!(receipt["from"], hot.to_lowercase());
    }
    let of = |address: &str| format!("{:0>64}", address.trim_start_matches("0x").to_lowercase());
    // allowance(hot, vendor)
    let asked = json!([{ "to": TOKEN, "data": format!("0xdd62ed3e{}{}", of(hot), of(VENDOR)) }, "latest"]);
    assert_eq!(anvil.ask("eth_call", asked).await, format!("0x{:064x}", 5_000_000));
    let mail = Order::sign_typed_data(key("hot"), "eip155:1", MAIL.as_bytes().to_vec());
    let mail = sign(client, mail).await.unwrap();
    let data = format!("0x{MAIL_DIGEST}{:064x}{}", 27 + mail.recovery_id, hex::encode(&mail.signature));
    let ecrecover = json!([{ "to": format!("0x{:040x}", 1), "data": data }, "latest"]);
    assert_eq!(anvil.ask("eth_call", ecrecover).await, format!("0x{}", of(hot)));
    (4, 6_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_takes_what_stock_clients_have_had_signed() {
    // What is installed the first time is, while the cluster starts.
    let prepare: [fn() -> std::path::PathBuf; 3] = [stock::python, stock::sign_js, stock::web3py];
    let installing = prepare.map(std::thread::spawn);
    let anvil = Anvil::start().await;
    let mut cluster = Cluster::prepare(3);
    on_this_chain(&cluster);
    let port = provide(&cluster, 0, CHAIN, "{ key = \"hot\" }");
    let certificates = cluster.dir.path().join("payouts-1");
    std::fs::copy(cluster.dir.path().join("ca.pem"), certificates.join("ca.pem")).unwrap();
    (0..3).for_each(|i| cluster.launch(i, &[]));
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    let hot = tally_chains::evm_address(&create_hot(&client).await).unwrap();
    anvil.fund(&hot, 2_000_000_000).await;

    installing.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    let endpoint = format!("https://127.0.0.1:{port}");
    // web3.py expects what geth answers, and has a path for it.
    let libraries = [(ethers(), endpoint.clone()), (web3py(), format!("{endpoint}/geth"))];
    let libraries: Vec<_> = libraries.into_iter().chain(alloy().map(|alloy| (alloy, endpoint.clone()))).collect();
    let (mut nonce, mut total) = (0, 0);
    for (program, endpoint) in libraries {
        let paid = pay(program, &cluster, &endpoint, &anvil, 5_000_000);
        (nonce, total) = (nonce + 1, total + 5_000_000);
        assert_eq!((&paid["status"], &paid["balance"]), (&1.into(), &total.to_string().into()), "{paid}");
        assert!(paid["from"].as_str().is_some_and(|from| from.eq_ignore_ascii_case(&hot)), "{paid}");
    }
    for (micro, mut program) in [(7_000_000, python()), (11_000_000, typescript())] {
        let output = transfer(&mut program, &cluster, nonce, VENDOR, micro);
        let said = stock::said(&output);
        assert!(output.status.success() && said.contains("permitted by rule payouts-small"), "{said}");
        let raw = String::from_utf8(output.stdout).unwrap();
        let receipt = anvil.send(raw.trim()).await;
        assert_eq!((&receipt["status"], &receipt["to"]), (&"0x1".into(), &TOKEN.into()));
        assert_eq!(receipt["from"], hot.to_lowercase());
        (nonce, total) = (nonce + 1, total + micro);
    }
    let (used, moved) = every_kind(&client, &anvil, &hot, nonce).await;
    (nonce, total) = (nonce + used, total + moved);
    assert_eq!(anvil.balance(VENDOR).await, total);
    assert_eq!(anvil.balance(&hot).await, 2_000_000_000 - total);

    // A denial reaches each of them with its reason, and nothing moves.
    for mut program in [python(), typescript()] {
        let output = transfer(&mut program, &cluster, nonce, TOKEN, 1);
        let said = stock::said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("POLICY_DENIED: ") && said.contains("payouts-small"), "{said}");
    }
    let libraries = [(ethers(), endpoint.clone()), (web3py(), format!("{endpoint}/geth"))];
    let mut refused = Value::Null;
    for (program, endpoint) in libraries.into_iter().chain(alloy().map(|alloy| (alloy, endpoint))) {
        refused = pay(program, &cluster, &endpoint, &anvil, 1_001_000_000)["refused"].take();
        assert_eq!((&refused["code"], &refused["data"]["reason"]), (&(-32003).into(), &"POLICY_DENIED".into()));
    }
    let id = hex::decode(refused["data"]["requestId"].as_str().unwrap()).unwrap();
    let known = client.request(RequestId::from_slice(&id).unwrap()).await.unwrap();
    assert!(matches!(known.state, RequestState::Refused(reason) if reason == "POLICY_DENIED"));
    assert_eq!(anvil.balance(VENDOR).await, total);
}
