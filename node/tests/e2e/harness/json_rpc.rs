//! JSON-RPC by hand: what a library would send, byte for byte, and what it would not.

use super::certs::Issued;
use super::cluster::Cluster;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Gives a node, which does not run yet, an endpoint for `payouts-1`; gives its port.
pub fn provide(cluster: &Cluster, node: usize, chain: u64, accounts: &str) -> u16 {
    let port = free_port();
    let path = cluster.nodes[node].dir.join("node.toml");
    let mut config = std::fs::read_to_string(&path).unwrap();
    write!(
        config,
        "[rpc]\nlisten = \"127.0.0.1:{port}\"\nclient = \"payouts-1\"\nintent_key = \"../payouts-1/intent.key\"\n\
         chains = [{chain}]\naccounts = [{accounts}]\n"
    )
    .unwrap();
    std::fs::write(path, config).unwrap();
    port
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Somebody with a certificate at an endpoint.
pub struct Caller {
    port: u16,
    tls: TlsConnector,
}

impl Caller {
    pub fn new(cluster: &Cluster, port: u16, who: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cluster.authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match who {
            Some(who) => {
                let chain = vec![CertificateDer::from_pem_slice(who.cert.as_bytes()).unwrap()];
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(who.key.as_bytes()).unwrap()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        Self { port, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// The status and body of an answer to a request whose head is given without its length.
    pub async fn http(&self, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        exchange(self.connect().await?, head, body).await
    }

    /// A request of which nothing follows the head.
    pub async fn open(&self, head: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await.unwrap();
        stream.write_all(format!("{head}\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    pub async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        self.tls.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.http(&post_to(path), body.to_string().as_bytes()).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        result(self.post("/", &call(7, method, params)).await)
    }
}

pub fn post_to(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\ncontent-type: application/json")
}

pub fn call(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub fn result(mut answer: Value) -> Result<Value, Value> {
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
    match answer["error"].take() {
        Value::Null => Ok(answer["result"].take()),
        error => Err(error),
    }
}

/// The status and body of the answer to one request on a connection of its own.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let answer = whole(stream, head, body).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

/// The same answer with its head.
pub async fn whole(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> std::io::Result<String> {
    let length = body.len();
    let head = format!("{head}\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    // A server that has refused reads no further.
    let _ = stream.write_all(body).await;
    // What TLS has in its buffer is sent by nothing else: reading does not.
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer).await
        && answer.is_empty()
    {
        return Err(error);
    }
    Ok(String::from_utf8(answer).unwrap())
}
