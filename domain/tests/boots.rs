//! Boot certificates: what has been believed once is believed of the same bytes under the same identity key only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests say what they expect"
)]

use tally_domain::boot::{self, BadStatement, Believed, BootCert};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterNode};
use tally_domain::*;

fn roster(cluster: &str, identity: &SigningKey) -> Roster {
    let node = RosterNode {
        name: NodeName::parse("node-1").unwrap(),
        role: NodeRole::Signer,
        address: "127.0.0.1:7000".into(),
        identity: identity.verifying_key(),
        tls_spki_sha256: String::new(),
    };
    Roster {
        cluster: ClusterId::parse(cluster).unwrap(),
        nodes: vec![node],
        clients: vec![],
        tolerance: Tolerance::usual(1, 1),
        boots: Believed::default(),
    }
}

fn certificate(identity: &SigningKey, boot_key: u8) -> (BootCert, Envelope) {
    let cert = BootCert {
        cluster: ClusterId::parse("test").unwrap(),
        node: NodeName::parse("node-1").unwrap(),
        incarnation: Incarnation(1),
        boot_key: SigningKey::ed25519(&[boot_key; 32]).verifying_key(),
    };
    let envelope = identity.seal(boot::PAYLOAD_TYPE, cert.to_bytes());
    (cert, envelope)
}

#[test]
fn a_certificate_is_believed_again_and_a_changed_one_is_not() {
    let identity = SigningKey::ed25519(&[1; 32]);
    let roster = roster("test", &identity);
    let (cert, envelope) = certificate(&identity, 2);
    for _ in 0..2 {
        assert_eq!(BootCert::open(&envelope, &roster).unwrap(), cert);
    }
    let mut other = envelope.clone();
    other.signatures[0].signature[0] ^= 1;
    assert_eq!(BootCert::open(&other, &roster), Err(BadStatement::Signature));
    let mut other = envelope.clone();
    other.payload = certificate(&identity, 3).1.payload;
    assert_eq!(BootCert::open(&other, &roster), Err(BadStatement::Signature));
    let mut other = envelope;
    other.payload_type.push('x');
    assert_eq!(BootCert::open(&other, &roster), Err(BadStatement::Signature));
}

#[test]
fn a_roster_that_changes_forgets_what_was_believed_of_a_key_that_it_does_not_name() {
    let (old, new) = (SigningKey::ed25519(&[1; 32]), SigningKey::ed25519(&[4; 32]));
    let mut roster = roster("test", &old);
    let (_, envelope) = certificate(&old, 2);
    BootCert::open(&envelope, &roster).unwrap();
    roster.nodes[0].identity = new.verifying_key();
    assert_eq!(BootCert::open(&envelope, &roster), Err(BadStatement::Signature));
    roster.nodes[0].identity = old.verifying_key();
    roster.cluster = ClusterId::parse("other").unwrap();
    assert_eq!(BootCert::open(&envelope, &roster), Err(BadStatement::UnknownNode));
    roster.cluster = ClusterId::parse("test").unwrap();
    roster.nodes.clear();
    assert_eq!(BootCert::open(&envelope, &roster), Err(BadStatement::UnknownNode));
}
