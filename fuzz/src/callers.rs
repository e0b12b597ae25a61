//! Certificates of callers, as TLS hands them over: who is at the other end of a connection.

use crate::target::Verdict;
use crate::world;
use rcgen::{CertificateParams, KeyPair, SanType};
use std::sync::LazyLock;
use tally_domain::Digest;
use tally_domain::roster::Roster;
use tally_node::testing::caller;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

pub const WORDS: &[&str] = &[
    "spiffe://",
    "spiffe://test/node/node-1",
    "spiffe://test/client/payouts",
    "/node/",
    "/client/",
    "node-2",
    "\u{86}",
];

/// A roster with the keys of the two certificates, which are the nodes' and the client's.
struct Known {
    roster: Roster,
    certificates: Vec<Vec<u8>>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut roster = world::roster();
    let (node, client) = (made("spiffe://test/node/node-1"), made("spiffe://test/client/payouts"));
    roster.nodes[0].tls_spki_sha256 = spki(&node).unwrap();
    roster.clients[0].tls_spki_sha256 = vec![spki(&client).unwrap()];
    Known { roster, certificates: vec![node, client] }
});

fn made(name: &str) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI(name.try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// The digest of a certificate's key, by another reader of certificates.
fn spki(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der().ok()?;
    Some(hex::encode(Digest::of(&spki).0))
}

/// Reads a certificate. Who is known by it has the key that the roster says, in the eyes of another reader too.
pub fn certificate(bytes: &[u8]) -> Verdict {
    let Known { roster, .. } = &*KNOWN;
    let (node, client, key) = caller(bytes, roster);
    assert!(node.is_none() || client.is_none(), "a node and a client");
    if let Some(node) = &node {
        assert_eq!((node, &key), (&roster.nodes[0].name, &roster.nodes[0].tls_spki_sha256));
    }
    if let Some(client) = &client {
        assert_eq!((client, &vec![key.clone()]), (&roster.clients[0].id, &roster.clients[0].tls_spki_sha256));
    }
    if let Some(second) = spki(bytes).filter(|_| !key.is_empty()) {
        assert_eq!(second, key, "two readers, two keys");
    }
    match (node, client) {
        (None, None) => Verdict::Refused(format!("{} {}", key.is_empty(), spki(bytes).is_some())),
        (node, _) => Verdict::Read(format!("node: {}", node.is_some())),
    }
}

pub fn certificates() -> Vec<Vec<u8>> {
    KNOWN.certificates.clone()
}
