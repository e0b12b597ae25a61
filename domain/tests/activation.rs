//! Votes, vetoes and certificates of policy bundles, as words and as statements.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

use prost::Message as _;
use tally_domain::activation::{
    BUNDLE_VETO_TYPE, BUNDLE_VOTE_TYPE, BundleCertificate, BundleName, BundleVeto, BundleVote, VetoSpec,
};
use tally_domain::boot::{self, BadStatement, Believed, BootCert, Statement};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterNode};
use tally_domain::*;

fn name(i: u8) -> NodeName {
    NodeName::parse(&format!("node-{i}")).unwrap()
}

/// A roster of three signers and so many witnesses, and each one's boot key with its certificate.
fn cluster(witnesses: u8) -> (Roster, Vec<(SigningKey, Envelope)>) {
    let identity = |i: u8| SigningKey::ed25519(&[i; 32]);
    let (cluster, n) = (ClusterId::parse("test").unwrap(), 3 + witnesses);
    let node = |i: u8| RosterNode {
        name: name(i),
        role: if i <= 3 { NodeRole::Signer } else { NodeRole::Witness },
        address: String::new(),
        identity: identity(i).verifying_key(),
        tls_spki_sha256: String::new(),
    };
    let boot = |i: u8| {
        let key = SigningKey::ed25519(&[100 + i; 32]);
        let boot_key = key.verifying_key();
        let cert = BootCert { cluster: cluster.clone(), node: name(i), incarnation: Incarnation(1), boot_key };
        (key, identity(i).seal(boot::PAYLOAD_TYPE, cert.to_bytes()))
    };
    let boots = (1..=n).map(boot).collect();
    let tolerance = Tolerance::usual(3, n.into());
    (
        Roster {
            cluster: cluster.clone(),
            nodes: (1..=n).map(node).collect(),
            clients: vec![],
            tolerance,
            boots: Believed::default(),
        },
        boots,
    )
}

fn bundle(version: u64) -> BundleName {
    BundleName { version, digest: Digest::of(&version.to_be_bytes()) }
}

fn vote(version: u64) -> BundleVote {
    let cluster = ClusterId::parse("test").unwrap();
    BundleVote { cluster, previous: bundle(1).digest, bundle: bundle(version) }
}

fn votes(boots: &[(SigningKey, Envelope)], which: &[usize], vote: &BundleVote) -> Vec<Statement> {
    which.iter().map(|i| vote.sign(&boots[*i].0, &boots[*i].1)).collect()
}

#[test]
fn a_vote_and_a_veto_are_their_nodes_own_and_have_one_reading() {
    let (roster, boots) = cluster(0);
    let (key, cert) = &boots[1];
    let statement = vote(2).sign(key, cert);
    assert_eq!(BundleVote::open(&statement, &roster), Ok((name(2), vote(2))));
    let veto = BundleVeto {
        cluster: roster.cluster.clone(),
        bundle: bundle(2),
        intent: Digest::of(b"intent"),
        time: UnixMillis(5),
    };
    let said = veto.sign(key, cert);
    assert_eq!(BundleVeto::open(&said, &roster), Ok((name(2), veto.clone())));
    // One is never the other.
    assert!(BundleVeto::open(&statement, &roster).is_err());
    assert!(BundleVote::open(&said, &roster).is_err());
    let other = Roster { cluster: ClusterId::parse("other").unwrap(), ..roster.clone() };
    assert!(BundleVote::open(&statement, &other).is_err());
    // Each byte that is changed breaks the signature; what is signed with unknown fields is no statement.
    let longer = [vote(2).to_bytes(), vec![0xf8, 1, 1]].concat();
    let unknown = Statement::sign(BUNDLE_VOTE_TYPE, longer, key, cert);
    assert_eq!(BundleVote::open(&unknown, &roster), Err(BadStatement::Malformed));
    let short = Statement::sign(BUNDLE_VETO_TYPE, vec![8, 1], key, cert);
    assert_eq!(BundleVeto::open(&short, &roster), Err(BadStatement::Malformed));
    let bytes = statement.encode_to_vec();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let read = Statement::decode(flipped.as_slice()).ok();
        let believed = read.and_then(|s| BundleVote::open(&s, &roster).ok());
        assert!(believed.is_none_or(|said| said == (name(2), vote(2))), "byte {at}");
    }
}

#[test]
fn s_2_3_a_certificate_is_the_same_vote_of_a_quorum_of_nodes() {
    for (witnesses, enough, few) in [(0, &[0, 1, 2][..], &[0, 1][..]), (2, &[0, 2, 3, 4], &[0, 1, 2])] {
        let (roster, boots) = cluster(witnesses);
        let certificate = |votes| BundleCertificate { votes };
        assert_eq!(certificate(votes(&boots, enough, &vote(2))).open(&roster), Ok(vote(2)));
        let refused = |votes| certificate(votes).open(&roster).unwrap_err();
        assert_eq!(refused(votes(&boots, few, &vote(2))), BadStatement::Malformed);
        assert_eq!(refused(Vec::new()), BadStatement::Malformed);
        // One of them twice, and one for something else.
        let twice = [votes(&boots, few, &vote(2)), votes(&boots, &[0], &vote(2))].concat();
        assert_eq!(refused(twice), BadStatement::Malformed);
        let mixed = [votes(&boots, few, &vote(2)), votes(&boots, &enough[few.len()..], &vote(3))].concat();
        assert_eq!(refused(mixed), BadStatement::Malformed);
    }
}

#[test]
fn what_is_to_be_vetoed_is_read_strictly() {
    let spec = VetoSpec { bundle: bundle(7) };
    assert_eq!(VetoSpec::from_bytes(&spec.to_bytes()), Ok(spec));
    assert_eq!(VetoSpec::intent_key().unwrap().as_str(), "policy");
    for bad in [Vec::new(), vec![8, 7], [spec.to_bytes(), vec![0x18, 1]].concat()] {
        assert!(VetoSpec::from_bytes(&bad).is_err());
    }
}
