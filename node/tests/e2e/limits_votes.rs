//! What a voter is asked by another node, in person: everything but what it would itself charge is refused by name.

use crate::harness::cluster::{Cluster, TENANT};
use crate::harness::orders::*;
use crate::harness::raw::{self, typed};
use std::time::{SystemTime, UNIX_EPOCH};
use tally_client::{Client, SealedIntent};
use tally_domain::key::{KeyCertificate, KeyRecord, KeyState};
use tally_domain::vote::VoteBody;
use tally_domain::{
    Attempt, Charge, Claims, Digest, Interval, LimitId, LineClaim, LineId, NodeName, Reason, RequestId, Tenant,
    UnixMillis,
};
use tally_policy::Bundle;
use tally_proto::v1;
use tally_proto::v1::peer_service_client::PeerServiceClient;
use tally_signer::admit::{Subject, open, subject};
use tonic::transport::Channel;
use tonic::{Code, Status};

const LIMIT: &str = "fast-hour";
const COUNT: u128 = 3;
const HOUR_MS: u64 = 3_600_000;

/// What a node asks another one to vote for, made by hand.
pub struct Asker<'a> {
    cluster: &'a Cluster,
    pub peer: PeerServiceClient<Channel>,
    pub bundle: Bundle,
    record: KeyRecord,
}

impl<'a> Asker<'a> {
    /// Node `from` asks node `to` about the key `fast`.
    pub async fn new(cluster: &'a Cluster, from: usize, to: usize) -> Self {
        let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
        let mut signer = PeerServiceClient::new(raw::as_node(cluster, 1, 0).await);
        let answer = signer.fetch_key(v1::FetchKeyRequest { name: "fast".into() }).await.unwrap().into_inner();
        // The wire's statements have the very form of those that are kept.
        let statements = answer.certificate.iter().map(prost::Message::encode_to_vec);
        let statements = statements.map(|bytes| prost::Message::decode(bytes.as_slice()).unwrap()).collect();
        let record = KeyCertificate { statements }.open(bundle.roster()).unwrap();
        let peer = PeerServiceClient::new(raw::as_node(cluster, from, to).await);
        Self { cluster, peer, bundle, record }
    }

    /// An intent of its own for each id.
    pub fn intent(&self, client: &Client, id: u8) -> SealedIntent {
        client.seal(say(&format!("request {id}")).request_id(RequestId([id; 16]))).unwrap()
    }

    /// What all of S would vote for, if the claims were right.
    pub fn body(&self, intent: &SealedIntent, claims: Option<Claims>) -> VoteBody {
        let subject = self.subject(intent);
        VoteBody {
            tenant: Tenant::parse(TENANT).unwrap(),
            request_id: intent.request_id(),
            intent_digest: subject.opened().digest(),
            attempt: Attempt(1),
            signers: [1, 2].map(|i| NodeName::parse(&format!("node-{i}")).unwrap()).to_vec(),
            digest: subject.digest_to_sign(),
            nonce_binding: Digest::of(b"nonce"),
            session: Digest::of(b"session"),
            bundle: self.bundle.digest(),
            rule: "messages".into(),
            claims,
            approvals: Vec::new(),
        }
    }

    /// The request as a node reads it.
    pub fn subject(&self, intent: &SealedIntent) -> Subject {
        let sealed = self.cluster.clients["payouts-1"]
            .intent_key()
            .seal(tally_domain::intent::PAYLOAD_TYPE, intent.intent().to_bytes());
        subject(open(&self.bundle, sealed).unwrap(), Some((&self.record, KeyState::Active))).unwrap()
    }

    pub fn request(&self, intent: &SealedIntent, vote: Vec<u8>) -> v1::VoteRequest {
        v1::VoteRequest {
            intent: Some(raw::signed(self.cluster, intent.intent())),
            vote,
            bundle_digest: self.bundle.digest().0.to_vec(),
            ..Default::default()
        }
    }

    pub async fn ask(&self, request: v1::VoteRequest) -> Result<v1::VoteResponse, Status> {
        self.peer.clone().vote(request).await.map(tonic::Response::into_inner)
    }

    /// Asks for one unit.
    pub async fn ask_unit(&self, intent: &SealedIntent, unit: u128) -> Result<v1::VoteResponse, Status> {
        let body = self.body(intent, Some(claims(&charge(), unit)));
        self.ask(self.request(intent, body.to_bytes())).await
    }

    async fn refused(&self, intent: &SealedIntent, claims: Option<Claims>) -> (Code, Reason) {
        typed(self.ask(self.request(intent, self.body(intent, claims).to_bytes())).await)
    }
}

pub fn charge() -> Charge {
    let limit = LimitId::parse(LIMIT).unwrap();
    Charge { line: LineId::of(&limit, &[]), limit, max: COUNT, window_ms: HOUR_MS, amount: 1 }
}

pub fn now() -> UnixMillis {
    UnixMillis(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

/// As many units as are charged, from `from` on.
pub fn claims(charge: &Charge, from: u128) -> Claims {
    claims_at(charge, from, now())
}

fn claims_at(charge: &Charge, from: u128, at: UnixMillis) -> Claims {
    let piece = Interval::new(from, from + charge.amount).unwrap();
    Claims::new(at, vec![LineClaim::new(charge, vec![piece]).unwrap()]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_is_for_what_the_voter_itself_charges_within_the_line_and_beside_others() {
    let cluster = Cluster::limited(&format!(
        "[[limit]]\nid = \"{LIMIT}\"\nkey = \"fast\"\naction = \"sign_message\"\ncount = {COUNT}\nper = \"1h\"\n"
    ))
    .await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let asker = Asker::new(&cluster, 0, 3).await;
    let right = charge();

    // Outside the line: beyond its end no claim can be written down at all, and a longer line is another one.
    let intent = asker.intent(&client, 1);
    let mut bytes = asker.body(&intent, Some(claims(&right, COUNT - 1))).to_bytes();
    let last_unit = [(COUNT - 1).to_be_bytes(), COUNT.to_be_bytes()].concat();
    let at = bytes.windows(32).position(|w| w == last_unit).unwrap();
    bytes[at..at + 32].copy_from_slice(&[COUNT.to_be_bytes(), (COUNT + 1).to_be_bytes()].concat());
    assert_eq!(typed(asker.ask(asker.request(&intent, bytes)).await), (Code::InvalidArgument, Reason::Malformed));
    let violation = (Code::InvalidArgument, Reason::ProtocolViolation);
    for wrong in [
        claims(&Charge { max: COUNT + 1, ..right.clone() }, COUNT),
        claims(&Charge { window_ms: HOUR_MS / 2, ..right.clone() }, 0),
        claims(&Charge { amount: 2, ..right.clone() }, 0),
        claims(&Charge { line: LineId(Digest::of(b"another line")), ..right.clone() }, 0),
    ] {
        assert_eq!(asker.refused(&intent, Some(wrong)).await, violation);
    }
    assert_eq!(asker.refused(&intent, None).await, violation);

    // Issued at another time than the voter's.
    for at in [now().minus(30_000), now().plus(30_000)] {
        let skew = asker.refused(&intent, Some(claims_at(&right, 0, at))).await;
        assert_eq!(skew, (Code::Unavailable, Reason::ClockSkew));
    }

    // By somebody who is no node.
    let outsider = Asker { peer: PeerServiceClient::new(raw::as_client(&cluster, 3).await), ..asker };
    assert_eq!(typed(outsider.ask_unit(&intent, 0).await), (Code::Unauthenticated, Reason::UnknownNode));
    let asker = Asker { peer: PeerServiceClient::new(raw::as_node(&cluster, 0, 3).await), ..outsider };

    // In its place it is voted for, and then in the way of others; the very same again is the same vote.
    let first = asker.ask_unit(&intent, 0).await.unwrap();
    assert!(first.vote.is_some());
    let second = asker.intent(&client, 2);
    let over_it = asker.ask_unit(&second, 0).await.unwrap();
    let unit = [0u128.to_be_bytes(), 1u128.to_be_bytes()].concat();
    assert!(over_it.vote.is_none());
    assert_eq!(over_it.in_the_way[0].line, right.line.0.0);
    assert_eq!(over_it.in_the_way[0].taken, [unit]);
    assert!(asker.ask_unit(&second, 1).await.unwrap().vote.is_some());

    // A request may move elsewhere, and come back.
    for unit in [2, 0] {
        assert!(asker.ask_unit(&intent, unit).await.unwrap().vote.is_some());
    }
    // Another intent under the same id.
    let other = client.seal(say("something else").request_id(RequestId([2; 16]))).unwrap();
    assert_eq!(asker.refused(&other, Some(claims(&right, 2))).await.1, Reason::RequestIdConflict);
    // A node whose operator has other rules.
    let mut request = v1::VoteRequest { bundle_digest: vec![0; 32], ..Default::default() };
    assert_eq!(typed(asker.peer.clone().vote(request.clone()).await).1, Reason::BundleMismatch);
    request.bundle_digest = asker.bundle.digest().0.to_vec();
    assert_eq!(typed(asker.peer.clone().vote(request).await).1, Reason::Malformed);
}
