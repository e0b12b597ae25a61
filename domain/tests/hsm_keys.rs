//! Records of keys in an HSM, and the majority that gives them their name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use tally_domain::boot::{self, BadStatement, Believed, BootCert, Statement};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::intent::BadIntent;
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterNode};
use tally_domain::*;

fn name(i: u8) -> NodeName {
    NodeName::parse(&format!("node-{i}")).unwrap()
}

/// A roster of n nodes, and each one's boot key with its certificate.
fn cluster(n: u8) -> (Roster, Vec<(SigningKey, Envelope)>) {
    let identity = |i: u8| SigningKey::ed25519(&[i; 32]);
    let cluster = ClusterId::parse("test").unwrap();
    let nodes = (1..=n).map(|i| RosterNode {
        name: name(i),
        role: NodeRole::Signer,
        address: String::new(),
        identity: identity(i).verifying_key(),
        tls_spki_sha256: String::new(),
    });
    let boots = (1..=n).map(|i| {
        let key = SigningKey::ed25519(&[100 + i; 32]);
        let cert = BootCert {
            cluster: cluster.clone(),
            node: name(i),
            incarnation: Incarnation(1),
            boot_key: key.verifying_key(),
        };
        (key, identity(i).seal(boot::PAYLOAD_TYPE, cert.to_bytes()))
    });
    let boots = boots.collect();
    (
        Roster {
            cluster,
            nodes: nodes.collect(),
            clients: vec![],
            tolerance: Tolerance::usual(usize::from(n), usize::from(n)),
            boots: Believed::default(),
        },
        boots,
    )
}

fn record(home: u8, seed: u8) -> HsmKeyRecord {
    let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
    HsmKeyRecord {
        cluster: ClusterId::parse("test").unwrap(),
        name: KeyName::parse("jwt").unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        request_id: RequestId([seed; 16]),
        purpose: Purpose::Message,
        home: name(home),
        material: Material::Signing(PublicKey::P256(*key.verifying_key())),
    }
}

fn certificate(record: &HsmKeyRecord, boots: &[(SigningKey, Envelope)]) -> HsmKeyCertificate {
    HsmKeyCertificate { statements: boots.iter().map(|(key, cert)| record.sign(key, cert)).collect() }
}

#[test]
fn specs_and_records_have_one_encoding() {
    let spec = HsmKeySpec { scheme: HsmScheme::Rsa3072, purpose: Purpose::Raw, home: name(2) };
    assert_eq!(HsmKeySpec::from_bytes(&spec.to_bytes()).unwrap(), spec);
    let no_home = [0x08, 0x01, 0x10, 0x02];
    assert_eq!(HsmKeySpec::from_bytes(&no_home), Err(BadIntent::Field { field: "home" }));
    let record = record(1, 7);
    let bytes = record.to_bytes();
    assert_eq!(HsmKeyRecord::from_bytes(&bytes).unwrap(), record);
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 1;
        assert!(HsmKeyRecord::from_bytes(&bad).map_or(true, |other| other != record), "byte {i}");
    }
    assert_ne!(record.object(), HsmKeyRecord { request_id: RequestId([8; 16]), ..record.clone() }.object());
}

#[test]
fn a_kek_has_a_name_as_a_signing_key_has_and_is_never_taken_for_one() {
    let signing = record(1, 7);
    let kek = HsmKeyRecord {
        purpose: Purpose::Wrap,
        material: Material::Kek { id: KekId([7; 16]), check_value: KeyCheckValue([1, 2, 3]) },
        ..signing.clone()
    };
    assert_eq!(HsmKeyRecord::from_bytes(&kek.to_bytes()), Ok(kek.clone()));
    assert_eq!((kek.public_key(), kek.algorithm()), (None, "aes-256"));
    // The purpose says which of the two it is; neither may carry the other's parts.
    for bad in [
        HsmKeyRecord { purpose: Purpose::Message, ..kek.clone() },
        HsmKeyRecord { purpose: Purpose::Wrap, ..signing.clone() },
    ] {
        assert_eq!(HsmKeyRecord::from_bytes(&bad.to_bytes()), Err(BadStatement::Malformed));
    }
    let both = [signing.to_bytes(), kek.to_bytes()[kek.to_bytes().len() - 23..].to_vec()].concat();
    assert_eq!(HsmKeyRecord::from_bytes(&both), Err(BadStatement::Malformed));
    let (roster, boots) = cluster(3);
    assert_eq!(certificate(&kek, &boots).open(&roster), Ok(kek));
    // Nor does a client ask for one as for a signing key.
    let spec = HsmKeySpec { scheme: HsmScheme::Ed25519, purpose: Purpose::Wrap, home: name(1) };
    assert_eq!(HsmKeySpec::from_bytes(&spec.to_bytes()), Err(BadIntent::Field { field: "purpose" }));
}

#[test]
fn a_majority_with_the_home_makes_a_certificate_and_nothing_less() {
    for (n, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        let (roster, boots) = cluster(n);
        assert_eq!(roster.majority(), needed);
        let record = record(1, 7);
        assert_eq!(certificate(&record, &boots[..needed]).open(&roster), Ok(record.clone()));
        assert!(certificate(&record, &boots[..needed - 1]).open(&roster).is_err(), "{n} nodes");
    }
    let (roster, boots) = cluster(3);
    let record = record(1, 7);
    assert!(certificate(&record, &boots[1..]).open(&roster).is_err(), "without the home");
    let twice = HsmKeyCertificate { statements: vec![record.sign(&boots[0].0, &boots[0].1); 2] };
    assert!(twice.open(&roster).is_err(), "one node twice");
}

#[test]
fn statements_on_different_records_of_other_clusters_or_types_are_no_certificate() {
    let (roster, boots) = cluster(3);
    let (one, other) = (record(1, 7), record(1, 8));
    let mixed = HsmKeyCertificate {
        statements: vec![one.sign(&boots[0].0, &boots[0].1), other.sign(&boots[1].0, &boots[1].1)],
    };
    assert!(mixed.open(&roster).is_err());
    let elsewhere = HsmKeyRecord { cluster: ClusterId::parse("prod").unwrap(), ..one.clone() };
    assert!(certificate(&elsewhere, &boots).open(&roster).is_err());
    let no_such_home = HsmKeyRecord { home: name(9), ..one.clone() };
    assert!(certificate(&no_such_home, &boots).open(&roster).is_err());
    let as_vote = Statement::sign(vote::VOTE_TYPE, one.to_bytes(), &boots[0].0, &boots[0].1);
    assert_eq!(HsmKeyRecord::open(&as_vote, &roster), Err(BadStatement::Signature));
    let by_another = one.sign(&boots[0].0, &boots[1].1);
    assert!(HsmKeyRecord::open(&by_another, &roster).is_err());
}
