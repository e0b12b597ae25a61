//! A leader that lies about limits, with a real peer's certificate: each node that it asks says no, by name of the reason.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use std::collections::HashMap;
use tally_client::SealedIntent;
use tally_domain::dsse::{Envelope, Signature};
use tally_domain::key::{KeyCertificate, KeyState};
use tally_domain::vote::VoteBody;
use tally_domain::{
    Attempt, Charge, Claims, Digest, Interval, LimitId, LineClaim, LineId, NodeName, Reason, RequestId, UnixMillis,
};
use tally_policy::Bundle;
use tally_proto::v1;
use tally_proto::v1::peer_service_client::PeerServiceClient;
use tally_signer::admit::{self, Subject};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Three messages an hour.
const LIMITS: &str = "[[limit]]\nid = \"three\"\nkey = \"fast\"\ncount = 3\nper = \"1h\"\n";

/// Three signers and a witness that hold a limit, with the key `fast`.
async fn limited() -> Cluster {
    let mut cluster = Cluster::prepare(4);
    let policy = cluster.dir.path().join("policy");
    std::fs::write(policy.join("limits.toml"), LIMITS).unwrap();
    let roster = std::fs::read_to_string(policy.join("roster.toml")).unwrap();
    let (signers, last) = roster.split_at(roster.rfind("role = \"signer\"").unwrap());
    let witness = last.replacen("signer", "witness", 1);
    std::fs::write(policy.join("roster.toml"), format!("{signers}{witness}")).unwrap();
    for i in 0..4 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    create_fast(&cluster.client("payouts-1")).await;
    cluster
}

fn bundle(cluster: &Cluster) -> Bundle {
    tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap()
}

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(since.as_millis()).unwrap())
}

fn charge() -> Charge {
    let limit = LimitId::parse("three").unwrap();
    Charge { line: LineId::of(&limit, &[]), limit, max: 3, window_ms: 3_600_000, amount: 1 }
}

/// A claim on so many units from `from` on.
fn claims(charge: &Charge, from: u128, issued_at: UnixMillis) -> Claims {
    let piece = Interval::new(from, from + charge.amount).unwrap();
    Claims::new(issued_at, vec![LineClaim::new(charge, vec![piece]).unwrap()]).unwrap()
}

/// Node 1, in person, at another node.
struct Leader {
    peer: PeerServiceClient<Channel>,
    bundle: Bundle,
    certificate: KeyCertificate,
}

impl Leader {
    async fn at(cluster: &Cluster, node: usize) -> Self {
        let mut own = PeerServiceClient::new(raw::as_node(cluster, 1, 0).await);
        let answer = own.fetch_key(v1::FetchKeyRequest { name: "fast".into() }).await.unwrap().into_inner();
        let envelope = |e: v1::Envelope| Envelope {
            payload: e.payload,
            payload_type: e.payload_type,
            signatures: (e.signatures.into_iter())
                .map(|s| Signature { key_id: s.key_id, signature: s.signature })
                .collect(),
        };
        let statements = answer.certificate.into_iter().map(|s| tally_domain::boot::Statement {
            signed: s.signed.map(envelope),
            boot_cert: s.boot_cert.map(envelope),
        });
        Self {
            peer: PeerServiceClient::new(raw::as_node(cluster, 0, node).await),
            bundle: bundle(cluster),
            certificate: KeyCertificate { statements: statements.collect() },
        }
    }

    fn subject(&self, intent: &SealedIntent) -> Subject {
        let record = self.certificate.open(self.bundle.roster()).unwrap();
        let opened = admit::open(&self.bundle, intent.envelope().clone()).unwrap();
        admit::subject(opened, Some((&record, KeyState::Active))).unwrap()
    }

    /// The vote of nodes 1 and 2 for a request with these claims.
    fn body(&self, intent: &SealedIntent, claims: Claims) -> VoteBody {
        let subject = self.subject(intent);
        VoteBody {
            tenant: subject.intent().tenant.clone(),
            request_id: subject.intent().request_id,
            intent_digest: subject.opened().digest(),
            attempt: Attempt(1),
            signers: ["node-1", "node-2"].map(|n| NodeName::parse(n).unwrap()).to_vec(),
            digest: subject.digest_to_sign(),
            nonce_binding: Digest::of(b"material"),
            session: Digest::of(b"session"),
            bundle: self.bundle.digest(),
            rule: "messages".into(),
            claims: Some(claims),
            approvals: Vec::new(),
        }
    }

    async fn ask(
        &mut self,
        cluster: &Cluster,
        intent: &SealedIntent,
        vote: Vec<u8>,
    ) -> Result<v1::VoteResponse, Status> {
        let bundle_digest = self.bundle.digest().0.to_vec();
        let intent = Some(raw::signed(cluster, intent.intent()));
        self.peer
            .vote(v1::VoteRequest { intent, vote, bundle_digest, told: None, approvals: Vec::new() })
            .await
            .map(tonic::Response::into_inner)
    }

    fn proposal(&self, cluster: &Cluster, intent: &SealedIntent, claims: Vec<u8>) -> v1::ProposeSignRequest {
        v1::ProposeSignRequest {
            session: vec![9; 16],
            intent: Some(raw::signed(cluster, intent.intent())),
            attempt: 1,
            signers: vec![1, 2],
            bundle_digest: self.bundle.digest().0.to_vec(),
            abandonments: Vec::new(),
            claims,
            approvals: Vec::new(),
        }
    }
}

/// The code, the reason and the facts of a refusal, whose text is the reason's.
fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, Reason, HashMap<String, String>) {
    let facts = outcome.as_ref().err().and_then(StatusExt::get_details_error_info).map(|info| info.metadata);
    let (code, reason) = raw::typed(outcome);
    (code, reason, facts.unwrap_or_default())
}

fn order(cluster: &Cluster, id: u8) -> SealedIntent {
    cluster.client("payouts-1").seal(say(&format!("message {id}")).request_id(RequestId([id; 16]))).unwrap()
}

/// Bytes of claims with another piece than the type allows: outside the line.
fn outside(claims: &Claims) -> Vec<u8> {
    let good = [0u128.to_be_bytes(), 1u128.to_be_bytes()].concat();
    let bad = [3u128.to_be_bytes(), 4u128.to_be_bytes()].concat();
    let mut bytes = claims.to_bytes();
    let at = bytes.windows(32).position(|w| w == good).unwrap();
    bytes[at..at + 32].copy_from_slice(&bad);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_1_a_voter_says_no_to_each_lie_of_a_leader_and_yes_to_what_it_charges_itself() {
    let cluster = limited().await;
    let mut witness = Leader::at(&cluster, 3).await;
    let (first, second) = (order(&cluster, 1), order(&cluster, 2));
    let good = witness.body(&first, claims(&charge(), 0, now()));

    let violation = (Code::InvalidArgument, Reason::ProtocolViolation);
    let lies = [
        (VoteBody { claims: None, ..good.clone() }, "limit three applies and is not claimed"),
        (
            VoteBody { claims: Some(claims(&Charge { max: 30, ..charge() }, 0, now())), ..good.clone() },
            "the claim on limit three is not for what this node charges",
        ),
        (
            VoteBody { claims: Some(claims(&Charge { window_ms: 1_000, ..charge() }, 0, now())), ..good.clone() },
            "the claim on limit three is not for what this node charges",
        ),
        (witness.body(&second, claims(&charge(), 0, now())), "the vote is for something else than this node admits"),
        (
            VoteBody { bundle: Digest::of(b"an older one"), ..good.clone() },
            "the vote is for something else than this node admits",
        ),
    ];
    for (lie, says) in lies {
        let (code, reason, facts) = refused(witness.ask(&cluster, &first, lie.to_bytes()).await);
        assert_eq!(((code, reason), facts["detail"].as_str()), (violation, says));
    }
    let old = VoteBody { claims: Some(claims(&charge(), 0, now().minus(86_400_000))), ..good.clone() };
    let (code, reason, facts) = refused(witness.ask(&cluster, &first, old.to_bytes()).await);
    assert_eq!((code, reason), (Code::Unavailable, Reason::ClockSkew));
    assert!(facts["detail"].starts_with("the claims were issued 1 day"), "{facts:?}");

    // After all these lies the honest question is answered, again with the same vote; who comes second is told what is taken.
    let good = witness.body(&first, claims(&charge(), 0, now()));
    let vote = witness.ask(&cluster, &first, good.to_bytes()).await.unwrap();
    assert!(vote.vote.is_some() && vote.in_the_way.is_empty());
    assert_eq!(witness.ask(&cluster, &first, good.to_bytes()).await.unwrap(), vote);
    let over = witness.body(&second, claims(&charge(), 0, now()));
    let met = witness.ask(&cluster, &second, over.to_bytes()).await.unwrap();
    assert!(met.vote.is_none());
    assert_eq!(met.in_the_way[0].taken, [[0u128.to_be_bytes(), 1u128.to_be_bytes()].concat()]);

    // A witness has no share: it joins no session.
    let session = witness.proposal(&cluster, &second, claims(&charge(), 1, now()).to_bytes());
    let (code, reason, facts) = refused(witness.peer.propose_sign(session).await);
    assert_eq!((code, reason, facts["node"].as_str()), (Code::Unavailable, Reason::NotASigner, "node-4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_2_1_a_signer_says_no_to_each_lie_of_a_leader_and_signs_the_request_after_all() {
    let cluster = limited().await;
    let mut signer = Leader::at(&cluster, 1).await;
    let intent = order(&cluster, 1);
    let good = claims(&charge(), 0, now());

    let outside = signer.proposal(&cluster, &intent, outside(&good));
    let (code, reason, facts) = refused(signer.peer.propose_sign(outside).await);
    assert_eq!((code, reason, facts["field"].as_str()), (Code::InvalidArgument, Reason::Malformed, "claims"));

    let longer = claims(&Charge { max: 30, ..charge() }, 29, now());
    for (bytes, says) in [
        (Vec::new(), "limit three applies and is not claimed"),
        (longer.to_bytes(), "the claim on limit three is not for what this node charges"),
    ] {
        let lie = signer.proposal(&cluster, &intent, bytes);
        let (code, reason, facts) = refused(signer.peer.propose_sign(lie).await);
        let expected = (Code::InvalidArgument, Reason::ProtocolViolation);
        assert_eq!(((code, reason), facts["detail"].as_str()), (expected, says));
    }

    let (stale, ours) = (Digest::of(b"an older one"), signer.bundle.digest());
    let mut lie = signer.proposal(&cluster, &intent, good.to_bytes());
    lie.bundle_digest = stale.0.to_vec();
    let (code, reason, facts) = refused(signer.peer.propose_sign(lie).await);
    assert_eq!((code, reason), (Code::FailedPrecondition, Reason::BundleMismatch));
    assert_eq!((facts["ours"].clone(), facts["theirs"].clone()), (ours.to_string(), stale.to_string()));

    // Asked without a session it would vote twice for one attempt, and be called a liar for it.
    let body = signer.body(&intent, good);
    let (code, reason, facts) = refused(signer.ask(&cluster, &intent, body.to_bytes()).await);
    assert_eq!((code, reason), (Code::InvalidArgument, Reason::ProtocolViolation));
    assert_eq!(facts["detail"], "a signer votes in the session");

    assert!(!cluster.client("payouts-1").sign(&intent).await.unwrap().signature.is_empty());
}
