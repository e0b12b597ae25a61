//! Envelopes, and statements of nodes: whatever becomes of their bytes, nothing verifies that nobody signed.

use crate::target::Verdict;
use crate::{bodies, world};
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tally_domain::activation::{BundleVeto, BundleVote};
use tally_domain::boot::{BootCert, Statement};
use tally_domain::dsse::{Envelope, Signature, SigningKey, VerifyingKey};
use tally_domain::freeze::{Freeze, Unfreeze, UnfreezeCertificate};
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::intent::PAYLOAD_TYPE;
use tally_domain::key::{KEY_TYPE, KeyCertificate};
use tally_domain::roster::Roster;
use tally_domain::vote::{ABANDON_TYPE, Abandonment, Certificate, VOTE_TYPE};
use tally_domain::{Attempt, RequestId};
use tally_proto::v1;

pub const WORDS: &[&str] =
    &[PAYLOAD_TYPE, VOTE_TYPE, ABANDON_TYPE, KEY_TYPE, "node-1", "node-2", "\n\u{0}", "\u{12}\u{0}", "\u{1a}\u{0}"];

static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| vec![world::client(), SigningKey::p256(&[4; 32]).unwrap()]);
static ROSTER: LazyLock<Roster> = LazyLock::new(world::roster);
/// Type and payload of whatever was signed, once.
static SIGNED: LazyLock<BTreeSet<(String, Vec<u8>)>> = LazyLock::new(|| {
    let examples = envelopes().into_iter().map(|bytes| Envelope::decode(bytes.as_slice()).unwrap());
    examples.map(|e| (e.payload_type, e.payload)).collect()
});

/// Reads an envelope by our own type and by the contract's, which must agree, and checks it under every key.
pub fn envelope(bytes: &[u8]) -> Verdict {
    let (ours, wire) = (Envelope::decode(bytes), v1::Envelope::decode(bytes));
    assert_eq!(ours.is_ok(), wire.is_ok(), "two readers");
    let Ok((ours, wire)) = ours.and_then(|ours| wire.map(|wire| (ours, wire))) else {
        return Verdict::said("not protobuf");
    };
    assert_eq!((&ours.payload, &ours.payload_type), (&wire.payload, &wire.payload_type));
    let signatures =
        wire.signatures.iter().map(|s| Signature { key_id: s.key_id.clone(), signature: s.signature.clone() });
    assert_eq!(ours.signatures, signatures.collect::<Vec<_>>());
    let verifies = |key: &VerifyingKey| key.verify_envelope(&ours, &ours.payload_type).is_ok();
    let verified = KEYS.iter().any(|key| verifies(&key.verifying_key()));
    if verified {
        let signed = (ours.payload_type.clone(), ours.payload.clone());
        assert!(SIGNED.contains(&signed), "a signature verifies over what nobody signed");
    }
    Verdict::Read(format!("{} signatures, verified: {verified}", ours.signatures.len().min(3)))
}

/// Signed by either key.
pub fn envelopes() -> Vec<Vec<u8>> {
    let seal = |key: &SigningKey| [PAYLOAD_TYPE, "t", ""].map(|kind| key.seal(kind, b"what was signed".to_vec()));
    KEYS.iter().flat_map(seal).map(|envelope| envelope.encode_to_vec()).collect()
}

/// Bodies that nodes have signed.
static BODIES: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let of = |statement: &Statement| statement.signed.as_ref().map(|signed| signed.payload.clone());
    said().iter().filter_map(of).collect()
});

/// Reads a statement as every kind there is, and certificates of it alone.
pub fn statement(bytes: &[u8]) -> Verdict {
    let Ok(statement) = Statement::decode(bytes) else { return Verdict::said("not protobuf") };
    let roster = &*ROSTER;
    let cert = statement.boot_cert.as_ref().map(|cert| BootCert::open(cert, roster));
    if let Some(Ok(cert)) = &cert {
        let honest = [1, 2].map(|i| world::boot_of(i).0.verifying_key());
        assert!(honest.contains(&cert.boot_key), "a boot certificate that no token signed");
    }
    let one = vec![statement.clone()];
    let read = [
        ("vote", Certificate { votes: one.clone() }.open_signers(roster).map(|vote| vote.to_bytes()).ok()),
        ("abandonment", Abandonment::open(&statement, roster).ok().and_then(|_| payload(&statement))),
        ("freeze", Freeze::open(&statement, roster).map(|(_, freeze)| freeze.to_bytes()).ok()),
        ("unfreeze", Unfreeze::open(&statement, roster).map(|(_, lift)| lift.to_bytes()).ok()),
        ("bundle", BundleVote::open(&statement, roster).map(|(_, vote)| vote.to_bytes()).ok()),
        ("veto", BundleVeto::open(&statement, roster).map(|(_, veto)| veto.to_bytes()).ok()),
        ("record", statement.open(KEY_TYPE, roster).ok().and_then(|_| payload(&statement))),
    ];
    // Of one node they are too few, whatever it says.
    assert!(KeyCertificate { statements: one.clone() }.open(roster).is_err());
    assert!(HsmKeyCertificate { statements: one.clone() }.open(roster).is_err());
    assert!(UnfreezeCertificate { statements: one }.open(roster).is_err());
    let kinds: Vec<_> = read.iter().filter_map(|(kind, body)| body.as_ref().map(|body| (*kind, body))).collect();
    assert!(kinds.len() < 2, "one statement, two meanings: {kinds:?}");
    match kinds.first() {
        Some((kind, body)) => {
            assert_eq!(Some(*body), payload(&statement).as_ref(), "{kind}: another encoding");
            assert!(BODIES.contains(*body), "{kind}: nobody signed this");
            Verdict::Read((*kind).into())
        }
        None => Verdict::refused(&cert.map(|cert| cert.map(|_| ()))),
    }
}

fn payload(statement: &Statement) -> Option<Vec<u8>> {
    statement.signed.as_ref().map(|signed| signed.payload.clone())
}

fn said() -> Vec<Statement> {
    let (key, cert) = world::boot_of(1);
    let abandoned =
        Abandonment { tenant: world::tenant(), request_id: RequestId([7; 16]), attempt: Attempt(1) }.sign(&key, &cert);
    let alone = bodies::vote(&[1]);
    vec![
        alone.sign(&key, &cert),
        abandoned,
        bodies::freeze().sign(&key, &cert),
        bodies::unfreeze().sign(&key, &cert),
        bodies::bundle_vote().sign(&key, &cert),
        bodies::bundle_veto().sign(&key, &cert),
        bodies::record().sign(&key, &cert),
    ]
}

/// What node 1 has said, and a vote of node 2.
pub fn statements() -> Vec<Vec<u8>> {
    said().iter().map(|statement| statement.encode_to_vec()).collect()
}
