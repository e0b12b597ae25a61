//! A chain of its own for a test: anvil, and the token of `token/Token.sol` on it.

use super::json_rpc::{call, exchange, free_port, result};
use super::stock;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

pub const CHAIN: u64 = 31_337;

/// What the first transaction of anvil's first account creates, on every anvil.
pub const TOKEN: &str = "0x5fbdb2315678afecb367f032d93f642f64180aa3";

/// Longest wait for anvil to answer.
const START_MAX: Duration = Duration::from_secs(30);

pub struct Anvil {
    port: u16,
    child: Child,
    rich: String,
}

impl Anvil {
    /// Starts it and creates the token.
    pub async fn start() -> Self {
        let port = free_port();
        let child = Command::new(stock::anvil())
            .args(["--port", &port.to_string(), "--chain-id", &CHAIN.to_string(), "--silent"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut anvil = Self { port, child, rich: String::new() };
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "anvil does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anvil.rich = anvil.ask("eth_accounts", json!([])).await[0].as_str().unwrap().to_owned();
        let code: String = include_str!("../token/Token.hex").split_whitespace().collect();
        let created = anvil.send_rich(json!({ "data": format!("0x{code}") })).await;
        assert_eq!(created["contractAddress"], TOKEN);
        anvil
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let head = "POST / HTTP/1.1\r\ncontent-type: application/json";
        let body = call(7, method, params).to_string();
        let (_, answer) = exchange(stream, head, body.as_bytes()).await.unwrap();
        result(serde_json::from_str(&answer).unwrap()).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Gives an account a coin for fees, and so many millionths of the token.
    pub async fn fund(&self, address: &str, micro: u64) {
        self.send_rich(json!({ "to": address, "value": "0xde0b6b3a7640000" })).await;
        let data = format!("0xa9059cbb{:0>64}{micro:064x}", address.trim_start_matches("0x"));
        self.send_rich(json!({ "to": TOKEN, "data": data })).await;
    }

    /// Sends what others have signed; gives the receipt.
    pub async fn send(&self, raw: &str) -> Value {
        let hash = self.ask("eth_sendRawTransaction", json!([raw])).await;
        self.receipt(hash).await
    }

    /// Millionths of the token.
    pub async fn balance(&self, address: &str) -> u64 {
        let data = format!("0x70a08231{:0>64}", address.trim_start_matches("0x"));
        let answer = self.ask("eth_call", json!([{ "to": TOKEN, "data": data }, "latest"])).await;
        u64::from_str_radix(answer.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    async fn send_rich(&self, mut tx: Value) -> Value {
        tx["from"] = self.rich.clone().into();
        let hash = self.ask("eth_sendTransaction", json!([tx])).await;
        let receipt = self.receipt(hash).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    async fn receipt(&self, hash: Value) -> Value {
        let end = Instant::now() + START_MAX;
        loop {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            assert!(Instant::now() < end, "{hash} is in no block");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
