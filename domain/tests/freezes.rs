//! Freezes and the majority that lifts them, as words and as statements.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use prost::Message as _;
use std::collections::BTreeSet;
use tally_domain::boot::{self, BadStatement, Believed, BootCert, Statement};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::freeze::{
    FREEZE_TYPE, FreezeSpec, LIFTS_MAX, UNFREEZE_TYPE, Unfreeze, UnfreezeCertificate, UnfreezeSpec,
};
use tally_domain::intent::BadIntent;
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterNode};
use tally_domain::*;

fn name(i: u8) -> NodeName {
    NodeName::parse(&format!("node-{i}")).unwrap()
}

fn hot() -> Scope {
    Scope::Key(KeyName::parse("hot").unwrap())
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
    let nodes: Vec<_> = nodes.collect();
    let tolerance = Tolerance::usual(nodes.len(), nodes.len());
    (Roster { cluster, nodes, clients: vec![], tolerance, boots: Believed::default() }, boots)
}

fn freeze(scope: Scope) -> Freeze {
    Freeze {
        cluster: ClusterId::parse("test").unwrap(),
        scope,
        id: FreezeId([7; 16]),
        intent: Digest::of(b"intent"),
        time: UnixMillis(1_000),
    }
}

fn unfreeze(ids: &[u8]) -> Unfreeze {
    Unfreeze {
        cluster: ClusterId::parse("test").unwrap(),
        intent: Digest::of(b"intent"),
        lifts: ids.iter().map(|i| FreezeName { by: name(1), id: FreezeId([*i; 16]) }).collect(),
    }
}

fn certificate(said: &Unfreeze, boots: &[(SigningKey, Envelope)]) -> UnfreezeCertificate {
    UnfreezeCertificate { statements: boots.iter().map(|(key, cert)| said.sign(key, cert)).collect() }
}

#[test]
fn everything_covers_every_key_and_a_key_only_itself() {
    let (one, other) = (KeyName::parse("hot").unwrap(), KeyName::parse("all").unwrap());
    assert!(Scope::All.covers(&one) && Scope::All.covers(&other));
    assert!(hot().covers(&one) && !hot().covers(&other));
    // A key may be called what intents call everything; the scope is another.
    let named_all = Scope::Key(other.clone());
    assert!(named_all.covers(&other) && !named_all.covers(&one));
    assert_eq!(named_all.intent_key(), Scope::All.intent_key());
    for scope in [Scope::All, hot(), named_all] {
        assert_eq!(Scope::from_text(&scope.to_text()), Some(scope));
    }
    assert_eq!(Scope::from_text("a b"), None);
}

#[test]
fn s_2_0_every_flipped_byte_of_a_freeze_is_refused() {
    let (roster, boots) = cluster(3);
    for scope in [Scope::All, hot()] {
        let freeze = freeze(scope);
        let good = freeze.sign(&boots[1].0, &boots[1].1);
        assert_eq!(Freeze::open(&good, &roster), Ok((name(2), freeze.clone())));
        let bytes = good.encode_to_vec();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                let Ok(statement) = Statement::decode(bad.as_slice()) else { continue };
                // Key ids are hints outside the signatures; what is said and by whom is the same.
                if let Ok(read) = Freeze::open(&statement, &roster) {
                    assert_eq!(read, (name(2), freeze.clone()), "byte {i} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn statements_of_strangers_other_clusters_and_other_types_are_refused() {
    let (roster, boots) = cluster(3);
    let (_, larger) = cluster(4);
    let by_stranger = freeze(Scope::All).sign(&larger[3].0, &larger[3].1);
    assert_eq!(Freeze::open(&by_stranger, &roster), Err(BadStatement::UnknownNode));
    let borrowed = freeze(Scope::All).sign(&boots[0].0, &boots[1].1);
    assert_eq!(Freeze::open(&borrowed, &roster), Err(BadStatement::Signature));
    let elsewhere = Freeze { cluster: ClusterId::parse("prod").unwrap(), ..freeze(Scope::All) };
    assert_eq!(Freeze::open(&elsewhere.sign(&boots[0].0, &boots[0].1), &roster), Err(BadStatement::UnknownNode));
    let wrong_type = Statement::sign(UNFREEZE_TYPE, freeze(Scope::All).to_bytes(), &boots[0].0, &boots[0].1);
    assert!(Freeze::open(&wrong_type, &roster).is_err() && Unfreeze::open(&wrong_type, &roster).is_err());
    let short = [freeze(hot()).to_bytes(), vec![0x98, 0x06, 1]].concat();
    let unknown_field = Statement::sign(FREEZE_TYPE, short, &boots[0].0, &boots[0].1);
    assert_eq!(Freeze::open(&unknown_field, &roster), Err(BadStatement::Malformed));
    assert_eq!(Freeze::open(&Statement::default(), &roster), Err(BadStatement::Malformed));
}

#[test]
fn a_majority_of_all_nodes_lifts_and_nobody_less() {
    for (n, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (16, 9)] {
        let (roster, boots) = cluster(n);
        assert_eq!(roster.majority(), needed);
        let said = unfreeze(&[1, 2]);
        for signers in 0..=boots.len() {
            let certificate = certificate(&said, &boots[..signers]);
            let expected = if signers >= needed { Ok(said.clone()) } else { Err(BadStatement::Malformed) };
            assert_eq!(certificate.open(&roster), expected, "{signers} of {n}");
        }
    }
}

#[test]
fn the_same_node_twice_and_different_words_are_no_majority() {
    let (roster, boots) = cluster(5);
    let said = unfreeze(&[1]);
    let mut twice = certificate(&said, &boots[..2]);
    twice.statements.push(twice.statements[0].clone());
    assert_eq!(twice.open(&roster), Err(BadStatement::Malformed));
    let mut mixed = certificate(&said, &boots[..2]);
    mixed.statements.push(unfreeze(&[1, 2]).sign(&boots[2].0, &boots[2].1));
    assert_eq!(mixed.open(&roster), Err(BadStatement::Malformed));
    let mut frozen = certificate(&said, &boots[..2]);
    frozen.statements.push(freeze(hot()).sign(&boots[2].0, &boots[2].1));
    assert_eq!(frozen.open(&roster), Err(BadStatement::Signature));
}

#[test]
fn names_are_one_set_of_a_bounded_size_in_one_order() {
    let (roster, boots) = cluster(1);
    let lifts: BTreeSet<FreezeName> =
        (0..=u8::try_from(LIFTS_MAX).unwrap()).map(|i| FreezeName { by: name(1), id: FreezeId([i; 16]) }).collect();
    let open = |said: &Unfreeze| Unfreeze::open(&said.sign(&boots[0].0, &boots[0].1), &roster);
    let mut said = Unfreeze { lifts, ..unfreeze(&[]) };
    assert_eq!(open(&said), Err(BadStatement::Malformed));
    said.lifts.pop_last();
    assert_eq!(open(&said), Ok((name(1), said.clone())));
    assert_eq!(open(&unfreeze(&[])), Err(BadStatement::Malformed));

    // The same two names the other way round are not an encoding.
    let (one, two) = (unfreeze(&[1]).to_bytes(), unfreeze(&[1, 2]).to_bytes());
    let (head, names) = two.split_at(two.len() - 2 * (two.len() - one.len()));
    let (first, second) = names.split_at(names.len() / 2);
    for order in [[first, second], [second, first], [first, first]] {
        let bytes = [head, order[0], order[1]].concat();
        let opened = Unfreeze::open(&Statement::sign(UNFREEZE_TYPE, bytes.clone(), &boots[0].0, &boots[0].1), &roster);
        assert_eq!(opened.is_ok(), bytes == two);
    }
}

#[test]
fn specifications_read_back_and_refuse_what_does_not_fit() {
    for scope in [Scope::All, hot()] {
        let spec = FreezeSpec { scope: scope.clone() };
        assert_eq!(FreezeSpec::from_bytes(&spec.to_bytes()), Ok(spec.clone()));
        let lifts = unfreeze(&[1, 2]).lifts;
        let lift = UnfreezeSpec { scope, lifts };
        assert_eq!(UnfreezeSpec::from_bytes(&lift.to_bytes()), Ok(lift.clone()));
        assert_eq!(FreezeSpec::from_bytes(&lift.to_bytes()), Err(BadIntent::Field { field: "lifts" }));
        assert_eq!(UnfreezeSpec::from_bytes(&spec.to_bytes()), Err(BadIntent::Field { field: "lifts" }));
    }
    let scope = BadIntent::Field { field: "scope" };
    // Nothing at all, everything with a key, a key without one, a scope that does not exist.
    for bytes in [&[][..], &[8, 1, 18, 1, b'k'], &[8, 2], &[8, 3], &[18, 1, b'k']] {
        assert_eq!(FreezeSpec::from_bytes(bytes), Err(scope.clone()), "{bytes:?}");
    }
    assert_eq!(FreezeSpec::from_bytes(&[8, 1, 24, 1]), Err(BadIntent::NotCanonical));
}
