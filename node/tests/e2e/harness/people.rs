//! Persons who approve: alice has two keys, carol operates the client that asks, dora is not asked by every rule.

use super::cluster::{CLUSTER, Cluster};
use super::orders::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tally_audit::verify::Approvers;
use tally_client::{Client, ClientError, Order, PendingInfo, RequestState, SealedIntent, Signed};
use tally_domain::approval::Verdict;
use tally_domain::dsse::{Envelope, SigningKey, VerifyingKey};
use tally_domain::{
    Approval, ClientId, ClusterId, Digest, KeySpec, PersonName, Purpose, Reason, RequestId, Scheme, Threshold,
};
use tally_policy::Bundle;

/// What a bundle says of persons, for the check of logs.
pub struct OfBundle<'a>(pub &'a Bundle);

impl Approvers for OfBundle<'_> {
    fn bundle(&self) -> Digest {
        self.0.digest()
    }

    fn keys(&self, person: &PersonName) -> Option<Vec<VerifyingKey>> {
        self.0.keys_of(person)
    }

    fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool {
        self.0.enough(rule, client, persons)
    }
}

/// Longest wait for what nodes do by themselves: a takeover takes ten seconds, or twenty.
const BY_THEMSELVES: Duration = Duration::from_secs(90);

/// A person's key; alice's second one is `alice-2`.
pub fn key_of(person: &str) -> SigningKey {
    let all = ["alice", "alice-2", "bob", "carol", "dora", "stranger"];
    let number = all.iter().position(|name| *name == person).unwrap();
    SigningKey::ed25519(&[131 + u8::try_from(number).unwrap(); 32])
}

pub fn groups() -> String {
    let mut text = String::new();
    let people = [("alice", &["alice", "alice-2"][..]), ("bob", &["bob"]), ("carol", &["carol"]), ("dora", &["dora"])];
    for (name, keys) in people {
        let keys: Vec<_> = keys.iter().map(|k| format!("\"{}\"", key_of(k).verifying_key())).collect();
        let clients = if name == "carol" { "clients = [\"payouts-1\"]\n" } else { "" };
        write!(text, "[[person]]\nname = \"{name}\"\nkeys = [{}]\n{clients}", keys.join(", ")).unwrap();
    }
    text + "[[group]]\nname = \"treasury\"\npersons = [\"alice\", \"bob\", \"carol\"]\n\
            [[group]]\nname = \"risk\"\npersons = [\"dora\"]\n"
}

/// `board`: Ed25519, 2 of 3, for messages that two of the treasury approve.
pub async fn create_board(client: &Client) -> Vec<u8> {
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let intent = client.seal(Order::create_key(key("board"), spec)).unwrap();
    client.create_key(&intent).await.unwrap().key.public_key
}

pub fn minute(text: &str) -> Order {
    Order::sign_message(key("board"), text.as_bytes().to_vec()).valid_for(8 * 60 * 60 * 1_000)
}

/// Asks for a signature that must wait.
pub async fn asked(client: &Client, order: Order) -> SealedIntent {
    let intent = client.seal(order).unwrap();
    assert_eq!(reason(client.sign(&intent).await), Reason::ApprovalsRequired);
    intent
}

/// What a person says of what a node shows.
pub fn statement(shown: &PendingInfo, person: &str, verdict: Verdict) -> Approval {
    Approval {
        cluster: ClusterId::parse(CLUSTER).unwrap(),
        tenant: shown.tenant.clone(),
        request_id: shown.request_id,
        intent_digest: shown.intent_digest,
        summary_digest: shown.summary_digest,
        bundle: shown.bundle,
        verdict,
        person: PersonName::parse(person).unwrap(),
        expires_at: shown.expires_at,
    }
}

pub fn signed_by(shown: &PendingInfo, person: &str, verdict: Verdict) -> Envelope {
    statement(shown, person, verdict).sign(&key_of(person))
}

pub async fn says(client: &Client, id: RequestId, person: &str, verdict: Verdict) -> Result<PendingInfo, ClientError> {
    let shown = client.summary(id).await?;
    client.submit_approval(&signed_by(&shown, person, verdict)).await
}

pub async fn approves(client: &Client, id: RequestId, person: &str) -> Result<PendingInfo, ClientError> {
    says(client, id, person, Verdict::Approve).await
}

/// Waits until a node has what `of` reads out of it.
pub async fn until<T>(cluster: &Cluster, i: usize, what: &str, mut of: impl AsyncFnMut(Client) -> Option<T>) -> T {
    let end = Instant::now() + BY_THEMSELVES;
    loop {
        if let Some(found) = of(cluster.at(i)).await {
            return found;
        }
        assert!(Instant::now() < end, "node {i}: {what}\n{}", cluster.log_of(i));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a node holds a request of which so many persons have said something.
pub async fn holds(cluster: &Cluster, i: usize, id: RequestId, said: usize) -> PendingInfo {
    let said_by = async |c: Client| c.summary(id).await.ok().filter(|p| p.said.len() == said);
    until(cluster, i, "it must hold the request", said_by).await
}

/// Waits until a node has the signature.
pub async fn done(cluster: &Cluster, i: usize, id: RequestId) -> Signed {
    let signed = async |c: Client| match c.request(id).await.ok()?.state {
        RequestState::Completed(Some(signed)) => Some(*signed),
        _ => None,
    };
    until(cluster, i, "it must have the signature", signed).await
}
