//! What nodes and persons sign, without the signatures: each has one encoding.

use crate::target::Verdict;
use crate::world::{self, NOW};
use std::collections::BTreeSet;
use tally_domain::activation::{BundleName, BundleVeto, BundleVote};
use tally_domain::approval::{self, Approval};
use tally_domain::cancel::Cancellation;
use tally_domain::dsse::{Envelope, VerifyingKey};
use tally_domain::freeze::{Freeze, Unfreeze};
use tally_domain::key::KeyRecord;
use tally_domain::limit::{Charge, LineId};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::vote::VoteBody;
use tally_domain::{
    Action, Attempt, Claims, ClientId, Digest, Epoch, FreezeId, FreezeName, HsmKeyRecord, HsmScheme, Interval, LimitId,
    LineClaim, Material, PersonName, PublicKey, Purpose, RequestId, Scheme, Scope, Threshold,
};

pub const WORDS: &[&str] = &["node-1", "node-2", "acme", "test", "*", "\u{0}\u{0}\u{0}\u{0}"];

type Reader = fn(&[u8]) -> Option<Vec<u8>>;

const READERS: [(&str, Reader); 7] = [
    ("vote", |b| VoteBody::from_bytes(b).ok().map(|vote| vote.to_bytes())),
    ("claims", |b| Claims::from_bytes(b).ok().map(|claims| checked(&claims))),
    ("record", |b| KeyRecord::from_bytes(b).ok().map(|record| record.to_bytes())),
    ("hsm-record", |b| HsmKeyRecord::from_bytes(b).ok().map(|record| record.to_bytes())),
    ("freeze", |b| Freeze::from_bytes(b).ok().map(|freeze| freeze.to_bytes())),
    ("approval", |b| {
        let envelope = Envelope { payload: b.to_vec(), payload_type: String::new(), signatures: vec![] };
        Approval::read_checked(&envelope).ok().map(|approval| approval.to_bytes())
    }),
    ("cancellation", |b| {
        let envelope = Envelope { payload: b.to_vec(), payload_type: String::new(), signatures: vec![] };
        Cancellation::read_checked(&envelope).ok().map(|cancellation| cancellation.to_bytes())
    }),
];

/// Whatever is read as claims has disjoint pieces within their lines, and sums that do not overflow.
fn checked(claims: &Claims) -> Vec<u8> {
    for line in claims.lines() {
        assert!(line.amount() <= line.max(), "more than the line has");
        let pieces = line.intervals();
        assert!(pieces.iter().all(|i| i.from() < i.to() && i.to() <= line.max()));
        assert!(pieces.windows(2).all(|w| !w[0].overlaps(w[1])), "pieces that overlap");
    }
    claims.to_bytes()
}

/// The first byte says as what the rest is read.
pub fn body(bytes: &[u8]) -> Verdict {
    let Some((which, bytes)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some((name, read)) = READERS.get(usize::from(*which)) else { return Verdict::said("none of them") };
    match read(bytes) {
        Some(again) => {
            assert_eq!(again, bytes, "{name}: another encoding");
            Verdict::Read((*name).into())
        }
        None => Verdict::Refused((*name).into()),
    }
}

fn claims() -> Claims {
    let line = |n: u8, pieces: &[(u128, u128)]| {
        let pieces: Vec<_> = pieces.iter().map(|(from, to)| Interval::new(*from, *to).unwrap()).collect();
        let amount = pieces.iter().map(|i| i.units()).sum();
        let limit = LimitId::parse("a-day").unwrap();
        let charge = Charge { limit, line: LineId(Digest([n; 32])), max: 1_000, window_ms: 60_000, amount };
        LineClaim::new(&charge, pieces).unwrap()
    };
    Claims::new(NOW, vec![line(1, &[(0, 5), (7, 9)]), line(2, &[(999, 1_000)])]).unwrap()
}

/// A vote of a session of these nodes.
pub fn vote(signers: &[u8]) -> VoteBody {
    VoteBody {
        tenant: world::tenant(),
        request_id: RequestId([7; 16]),
        intent_digest: Digest([1; 32]),
        attempt: Attempt(1),
        signers: signers.iter().map(|i| world::node(*i)).collect(),
        digest: Digest([2; 32]),
        nonce_binding: Digest([3; 32]),
        session: Digest([4; 32]),
        bundle: Digest([5; 32]),
        rule: "payouts".into(),
        claims: None,
        approvals: vec![Digest([6; 32])],
    }
}

pub fn freeze() -> Freeze {
    Freeze {
        cluster: world::cluster(),
        scope: Scope::Key(world::key_name()),
        id: FreezeId([5; 16]),
        intent: Digest([1; 32]),
        time: NOW,
    }
}

pub fn unfreeze() -> Unfreeze {
    let lifts = BTreeSet::from([1, 2].map(|i| FreezeName { by: world::node(i), id: FreezeId([5; 16]) }));
    Unfreeze { cluster: world::cluster(), intent: Digest([1; 32]), lifts }
}

fn bundle_name() -> BundleName {
    BundleName { version: 2, digest: Digest([8; 32]) }
}

pub fn bundle_vote() -> BundleVote {
    BundleVote { cluster: world::cluster(), previous: Digest([7; 32]), bundle: bundle_name() }
}

pub fn bundle_veto() -> BundleVeto {
    BundleVeto { cluster: world::cluster(), bundle: bundle_name(), intent: Digest([1; 32]), time: NOW }
}

pub fn record() -> KeyRecord {
    KeyRecord {
        cluster: world::cluster(),
        name: world::key_name(),
        tenant: world::tenant(),
        request_id: RequestId([7; 16]),
        scheme: Scheme::Ed25519,
        purpose: Purpose::Message,
        threshold: Threshold::new(2, 2).unwrap(),
        epoch: Epoch(1),
        participants: vec![world::node(1), world::node(2)],
        public_key: vec![2; 32],
        public_shares: vec![vec![3; 32]; 2],
        chain_code: Digest([4; 32]),
        transcript: Digest([5; 32]),
    }
}

/// The record of an HSM key.
pub fn hsm_record() -> HsmKeyRecord {
    kek_record()
}

/// A vote with claims.
pub fn limited_vote() -> VoteBody {
    VoteBody { claims: Some(claims()), ..vote(&[1, 2]) }
}

fn cancellation() -> Cancellation {
    Cancellation {
        cluster: world::cluster(),
        tenant: world::tenant(),
        client: ClientId::parse("payouts").unwrap(),
        request_id: RequestId([7; 16]),
        intent_digest: Digest([1; 32]),
        key: world::key_name(),
        action: Action::Sign,
    }
}

fn kek_record() -> HsmKeyRecord {
    HsmKeyRecord {
        cluster: world::cluster(),
        name: world::key_name(),
        tenant: world::tenant(),
        request_id: RequestId([7; 16]),
        purpose: Purpose::Wrap,
        home: world::node(1),
        material: Material::Kek { id: KekId([1; 16]), check_value: KeyCheckValue([1, 2, 3]) },
    }
}

fn public_key() -> PublicKey {
    let VerifyingKey::Ed25519(key) = world::client().verifying_key() else { panic!("an Ed25519 key") };
    PublicKey::from_key(HsmScheme::Ed25519, key.as_bytes()).unwrap()
}

fn approval() -> Approval {
    Approval {
        cluster: world::cluster(),
        tenant: world::tenant(),
        request_id: RequestId([7; 16]),
        intent_digest: Digest([1; 32]),
        summary_digest: Digest([2; 32]),
        bundle: Digest([3; 32]),
        verdict: approval::Verdict::Approve,
        person: PersonName::parse("alice").unwrap(),
        expires_at: NOW,
    }
}

/// One of each, behind the number of its reader.
pub fn examples() -> Vec<Vec<u8>> {
    let signing = HsmKeyRecord { purpose: Purpose::Message, material: Material::Signing(public_key()), ..kek_record() };
    let all = [
        (0, vote(&[1, 2]).to_bytes()),
        (0, limited_vote().to_bytes()),
        (1, claims().to_bytes()),
        (2, record().to_bytes()),
        (3, kek_record().to_bytes()),
        (3, signing.to_bytes()),
        (4, freeze().to_bytes()),
        (4, Freeze { scope: Scope::All, ..freeze() }.to_bytes()),
        (5, approval().to_bytes()),
        (6, cancellation().to_bytes()),
    ];
    all.into_iter().map(|(which, bytes)| [&[which], bytes.as_slice()].concat()).collect()
}
