//! A cluster of two nodes and a client, with keys that everybody knows.

use tally_domain::boot::{self, Believed, BootCert};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::intent::{Action, ContentKind};
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterClient, RosterNode};
use tally_domain::{
    ClientId, ClusterId, DerivationPath, Incarnation, Intent, KeyName, NodeName, Purpose, RequestId, Tenant, UnixMillis,
};

/// A moment: 2026-11-22.
pub const NOW: UnixMillis = UnixMillis(1_795_298_460_000);

pub fn cluster() -> ClusterId {
    ClusterId::parse("test").unwrap()
}

pub fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub fn key_name() -> KeyName {
    KeyName::parse("hot").unwrap()
}

/// Nodes 1 and 2.
pub fn node(i: u8) -> NodeName {
    NodeName::parse(&format!("node-{i}")).unwrap()
}

/// What the client signs with.
pub fn client() -> SigningKey {
    SigningKey::ed25519(&[9; 32])
}

/// What a node's token signs with: Ed25519 for node 1, P-256 for node 2.
pub fn identity(i: u8) -> SigningKey {
    if i == 1 { SigningKey::ed25519(&[1; 32]) } else { SigningKey::p256(&[2; 32]).unwrap() }
}

/// What a node signs with in its first start, and the certificate of that.
pub fn boot_of(i: u8) -> (SigningKey, Envelope) {
    let key = SigningKey::ed25519(&[10 + i; 32]);
    let cert =
        BootCert { cluster: cluster(), node: node(i), incarnation: Incarnation(1), boot_key: key.verifying_key() };
    let cert = identity(i).seal(boot::PAYLOAD_TYPE, cert.to_bytes());
    (key, cert)
}

pub fn roster() -> Roster {
    let nodes = [1, 2].map(|i| RosterNode {
        name: node(i),
        role: NodeRole::Signer,
        address: format!("127.0.0.1:700{i}"),
        identity: identity(i).verifying_key(),
        tls_spki_sha256: String::new(),
    });
    Roster {
        cluster: cluster(),
        nodes: nodes.to_vec(),
        clients: vec![RosterClient {
            id: ClientId::parse("payouts").unwrap(),
            tenant: tenant(),
            intent_key: client().verifying_key(),
            tls_spki_sha256: vec![],
            groups: vec![],
        }],
        tolerance: Tolerance::usual(2, 2),
        boots: Believed::default(),
    }
}

/// What the client asks for.
pub fn intent(action: Action, kind: ContentKind, content: Vec<u8>) -> Intent {
    Intent {
        request_id: RequestId([7; 16]),
        tenant: tenant(),
        client: ClientId::parse("payouts").unwrap(),
        action,
        key: key_name(),
        path: DerivationPath::parse("m/0/7").unwrap(),
        kind,
        chain: String::new(),
        content,
        purpose: Purpose::Message,
        not_before: NOW,
        expires_at: NOW.plus(60_000),
        min_bundle_version: 1,
        note: "a note".into(),
        cluster: cluster(),
    }
}
