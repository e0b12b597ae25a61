//! What is kept of a log and exported: leaves, files of them, frontiers and checkpoints.

use crate::target::Verdict;
use crate::{bodies, world};
use tally_audit::event::{Event, Origin, Verdict as Decided, What};
use tally_audit::export::{encode_entries, parse_entries};
use tally_audit::{Checkpoint, Frontier, checkpoint as checkpoints_of, merkle};
use tally_domain::boot::Statement;
use tally_domain::dsse::content_digest;
use tally_domain::intent::{Action, ContentKind, PAYLOAD_TYPE};
use tally_domain::key::KeyCertificate;
use tally_domain::vote::Certificate;
use tally_domain::{Attempt, ClientId, DerivationPath, Digest, Epoch, Incarnation, RequestId};

/// Reads a leaf.
pub fn leaf(bytes: &[u8]) -> Verdict {
    let read = Event::from_leaf(bytes);
    if let Ok(event) = &read {
        assert_eq!(event.to_leaf(), bytes, "another encoding");
    }
    Verdict::of(read, |event| event.kind().to_owned())
}

/// Leaves of most kinds; `corpus/leaf` has the others.
pub fn leaves() -> Vec<Vec<u8>> {
    let (key, cert) = world::boot_of(1);
    let vote = bodies::vote(&[1, 2]).sign(&key, &cert);
    let certificate = || Certificate { votes: vec![vote.clone()] };
    let intent = world::intent(Action::Sign, ContentKind::Message, b"hello".to_vec());
    let envelope = world::client().seal(PAYLOAD_TYPE, intent.to_bytes());
    let (tenant, request_id, digest) = (world::tenant(), RequestId([7; 16]), Digest([1; 32]));
    let failed: Statement = bodies::freeze().sign(&key, &cert);
    let all = [
        What::Boot { boot_cert: cert.clone(), bundle: digest, version: "0.1.0".into() },
        What::IntentReceived {
            from: Origin::Client(ClientId::parse("payouts").unwrap()),
            digest: content_digest(&envelope),
            envelope,
        },
        What::Decided {
            tenant: tenant.clone(),
            request_id,
            intent_digest: digest,
            verdict: Decided::Permitted { rule: "r".into() },
            bundle: digest,
            summary: "1 USDC".into(),
            limits: Vec::new(),
        },
        What::Voted { vote: vote.clone() },
        What::Released {
            tenant: tenant.clone(),
            request_id,
            attempt: Attempt(1),
            certificate: certificate(),
            partial_digest: digest,
        },
        What::Certified { certificate: certificate() },
        What::Completed {
            tenant,
            request_id,
            intent_digest: digest,
            key: world::key_name(),
            path: DerivationPath::parse("m/0/7").unwrap(),
            signature: vec![1; 64],
            public_key: vec![2; 32],
            to_sign: vec![3; 32],
        },
        What::KeyPending { record: bodies::record().to_bytes() },
        What::KeyActive { certificate: KeyCertificate { statements: vec![bodies::record().sign(&key, &cert)] } },
        What::Frozen { statement: failed },
        What::Banned { key: world::key_name(), epoch: Epoch(1), peer: world::node(2), what: "a check failed".into() },
        What::SessionFailed {
            request_id: Some(request_id),
            what: "DEADLINE".into(),
            culprit: Some(world::node(2)),
            missing: vec![world::node(1)],
        },
    ];
    let event = |what| Event { node: world::node(1), incarnation: Incarnation(1), time: world::NOW, what };
    all.into_iter().map(|what| event(what).to_leaf()).collect()
}

/// Reads a file of leaves, and the frontier over them.
pub fn export(bytes: &[u8]) -> Verdict {
    let frontier = Frontier::from_bytes(bytes);
    if let Ok(frontier) = &frontier {
        assert_eq!(frontier.to_bytes(), bytes, "another encoding of a frontier");
        let mut grown = frontier.clone();
        grown.append(Digest([1; 32]));
        assert!(grown.size() == frontier.size() + 1 && grown.root() != frontier.root());
        return Verdict::Read("frontier".into());
    }
    let read = parse_entries(bytes);
    if let Ok(leaves) = &read {
        assert_eq!(encode_entries(leaves.iter().map(Vec::as_slice)).unwrap(), bytes, "another encoding");
    }
    Verdict::of(read, |leaves| format!("{} leaves", leaves.len().min(4)))
}

pub fn exports() -> Vec<Vec<u8>> {
    let mut frontier = Frontier::new();
    leaves().iter().for_each(|leaf| frontier.append(merkle::leaf_hash(leaf)));
    vec![encode_entries(leaves().iter().map(Vec::as_slice)).unwrap(), frontier.to_bytes(), Vec::new()]
}

/// Reads a checkpoint: only the note that the node has signed is one.
pub fn checkpoint(bytes: &[u8]) -> Verdict {
    let Ok(note) = std::str::from_utf8(bytes) else { return Verdict::said("no text") };
    let name = checkpoints_of::origin(&world::cluster(), &world::node(1));
    let read = Checkpoint::open(note, &name, &name, &world::identity(1).verifying_key());
    if read.is_ok() {
        assert_eq!(bytes, checkpoints()[0], "a note that nobody signed");
    }
    Verdict::of(read, |_| "checkpoint".into())
}

/// Node 1's.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let mut frontier = Frontier::new();
    frontier.append(Digest([1; 32]));
    let (cluster, key) = (world::cluster(), world::identity(1));
    let checkpoint = Checkpoint::of(&cluster, &world::node(1), &frontier);
    let signature = key.sign(&checkpoint.unsigned_note());
    let name = checkpoints_of::origin(&cluster, &world::node(1));
    vec![checkpoint.with_signature(&name, &key.verifying_key(), &signature).into_bytes()]
}
