//! KEKs as tests use them: `vault`, and what is wrapped for the ledger.

use super::cluster::Cluster;
use super::orders::key;
use crate::main_job::logs_of;
use tally_audit::verify::{Report, verify_together};
use tally_client::{ChangedKek, Client, ClientError, DataKey, KekInfo, Order, Plain, Unwrapped, Wrapped};
use tally_domain::{EncryptionContext, KekChange, KekNumber, NodeName, RequestId, SecretBytes};

pub fn home(node: usize) -> NodeName {
    NodeName::parse(&format!("node-{}", node + 1)).unwrap()
}

pub fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()))).unwrap()
}

pub fn ledger() -> EncryptionContext {
    context(&[("app", "ledger"), ("row", "7")])
}

/// Makes a KEK in the HSM of a node, by asking `client`.
pub async fn create_kek(client: &Client, name: &str, node: usize) -> Result<KekInfo, ClientError> {
    let intent = client.seal(Order::create_kek(key(name), home(node))).unwrap();
    Ok(client.create_kek(&intent).await?.kek)
}

pub async fn change(client: &Client, name: &str, change: KekChange) -> Result<ChangedKek, ClientError> {
    client.change_kek(&client.seal(Order::change_kek(key(name), change)).unwrap()).await
}

/// A plaintext bound to a request, and the order to wrap it.
pub fn plain(client: &Client, name: &str, id: RequestId, bytes: &[u8]) -> (Order, Plain) {
    let plain = Plain::new(client.profile(), id, SecretBytes::new(bytes.to_vec())).unwrap();
    (Order::wrap(key(name), ledger(), &plain).request_id(id), plain)
}

pub async fn wrap(client: &Client, name: &str, bytes: &[u8]) -> Result<Wrapped, ClientError> {
    let (order, plain) = plain(client, name, client.draw_request_id().unwrap(), bytes);
    client.wrap(&client.seal(order).unwrap(), &plain).await
}

pub async fn draw(client: &Client, name: &str, bytes: usize, plaintext: bool) -> Result<DataKey, ClientError> {
    let order = Order::generate_data_key(key(name), ledger(), bytes, plaintext);
    client.generate_data_key(&client.seal(order).unwrap()).await
}

pub async fn open_with(
    client: &Client,
    name: &str,
    context: EncryptionContext,
    blob: &[u8],
) -> Result<Unwrapped, ClientError> {
    client.unwrap(&client.seal(Order::unwrap(key(name), context, blob)).unwrap(), blob).await
}

/// What was wrapped.
pub async fn opened(client: &Client, name: &str, blob: &[u8]) -> Vec<u8> {
    open_with(client, name, ledger(), blob).await.unwrap().plaintext.expose().to_vec()
}

pub async fn rewrap(client: &Client, name: &str, blob: &[u8], to: Option<u32>) -> Result<Wrapped, ClientError> {
    let order = Order::rewrap(key(name), ledger(), blob, to.map(KekNumber));
    client.rewrap(&client.seal(order).unwrap(), blob).await
}

/// The outcome of opening as tests compare it: an error, or bytes.
pub fn bytes(outcome: Result<Unwrapped, ClientError>) -> Result<Vec<u8>, ClientError> {
    outcome.map(|unwrapped| unwrapped.plaintext.expose().to_vec())
}

/// The state of a version, as its home tells it.
pub async fn state(client: &Client, name: &str, number: u32) -> String {
    let kek = client.kek(&key(name)).await.unwrap();
    kek.versions.into_iter().find(|v| v.number == KekNumber(number)).unwrap().state
}

/// Checks the logs of all nodes against each other; and that no scrubber had to take a card number out of what they tell.
pub async fn verified(cluster: &Cluster) -> Vec<Report> {
    for i in 0..cluster.nodes.len() {
        assert!(!cluster.log_of(i).contains("were about to be logged"), "node {i}");
    }
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    verify_together(bundle.roster(), &logs_of(cluster).await).unwrap()
}

/// Whether a file of any node holds these bytes, as they are or in hex or base64.
pub fn found_in_files(cluster: &Cluster, secret: &[u8]) -> Vec<String> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let digits = |upper: bool| {
        let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        if upper { text.to_uppercase() } else { text }
    };
    let base64 = BASE64_STANDARD.encode(secret);
    let forms = [
        secret.to_vec(),
        digits(false).into_bytes(),
        digits(true).into_bytes(),
        // Without its end, which depends on what follows.
        base64.get(..base64.len() - 4).unwrap().as_bytes().to_vec(),
        format!("{secret:?}").into_bytes(),
    ];
    let mut found = Vec::new();
    let mut dirs: Vec<_> = cluster.nodes.iter().map(|n| n.dir.clone()).collect();
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            if forms.iter().any(|form| content.windows(form.len()).any(|w| w == form)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
