//! Certificates: statements of several nodes. Whatever becomes of their bytes, none opens but what all of them signed.

use crate::target::Verdict;
use crate::{bodies, world};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tally_domain::activation::BundleCertificate;
use tally_domain::boot::Statement;
use tally_domain::evidence::prove;
use tally_domain::freeze::UnfreezeCertificate;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::key::KeyCertificate;
use tally_domain::roster::Roster;
use tally_domain::vote::Certificate;
use tally_domain::{Digest, RequestId};

static ROSTER: LazyLock<Roster> = LazyLock::new(world::roster);

/// Bodies that both nodes have signed.
static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let limited = bodies::limited_vote();
    BTreeSet::from([
        bodies::vote(&[1, 2]).to_bytes(),
        limited.to_bytes(),
        bodies::record().to_bytes(),
        bodies::hsm_record().to_bytes(),
        bodies::unfreeze().to_bytes(),
        bodies::bundle_vote().to_bytes(),
    ])
});

/// Of what is read its body.
type Reader = fn(&[u8]) -> Option<Result<Vec<u8>, String>>;

const READERS: [(&str, Reader); 6] = [
    ("votes", |b| of(b, |c: Certificate| c.open(&ROSTER).map(|vote| vote.to_bytes()))),
    ("signers", |b| of(b, |c: Certificate| c.open_signers(&ROSTER).map(|vote| vote.to_bytes()))),
    ("key", |b| of(b, |c: KeyCertificate| c.open(&ROSTER).map(|record| record.to_bytes()))),
    ("hsm key", |b| of(b, |c: HsmKeyCertificate| c.open(&ROSTER).map(|record| record.to_bytes()))),
    ("unfreeze", |b| of(b, |c: UnfreezeCertificate| c.open(&ROSTER).map(|lift| lift.to_bytes()))),
    ("bundle", |b| of(b, |c: BundleCertificate| c.open(&ROSTER).map(|vote| vote.to_bytes()))),
];

fn of<C: Message + Default, E: ToString>(
    bytes: &[u8],
    open: impl FnOnce(C) -> Result<Vec<u8>, E>,
) -> Option<Result<Vec<u8>, String>> {
    Some(open(C::decode(bytes).ok()?).map_err(|e| e.to_string()))
}

/// The first byte says as what the rest is read: a certificate, or, beyond them, the proof that a node has voted twice.
pub fn certificate(bytes: &[u8]) -> Verdict {
    let Some((which, bytes)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some((name, read)) = READERS.get(usize::from(*which)) else { return evidence(bytes) };
    match read(bytes) {
        None => Verdict::said("not protobuf"),
        Some(Ok(body)) => {
            assert!(SIGNED.contains(&body), "{name}: not all have signed this");
            Verdict::Read((*name).into())
        }
        Some(Err(why)) => Verdict::Refused(format!("{name} {why}")),
    }
}

/// Two votes in one certificate. Node 1 has voted twice; of node 2 nobody proves that.
fn evidence(bytes: &[u8]) -> Verdict {
    let Ok(Certificate { votes }) = Certificate::decode(bytes) else { return Verdict::said("not protobuf") };
    let [first, second] = votes.as_slice() else { return Verdict::said("not two") };
    let proved = prove(first, second, &ROSTER);
    if let Ok((culprit, how)) = &proved {
        assert_eq!(*culprit, world::node(1), "an honest voter is proved a liar");
        let again = prove(second, first, &ROSTER);
        assert_eq!(again.as_ref().map(|(culprit, _)| culprit), Ok(culprit), "one order only: {how:?}");
    }
    Verdict::of(proved, |(_, how)| format!("{how:?}"))
}

/// One of each, by both nodes; and two votes of one, which contradict each other.
pub fn certificates() -> Vec<Vec<u8>> {
    let boots = [1, 2].map(world::boot_of);
    let votes = |vote: tally_domain::vote::VoteBody| {
        Certificate { votes: boots.iter().map(|(key, cert)| vote.sign(key, cert)).collect() }.encode_to_vec()
    };
    let all = |sign: &dyn Fn(usize) -> Statement| (0..2).map(sign).collect::<Vec<_>>();
    let record = all(&|i| bodies::record().sign(&boots[i].0, &boots[i].1));
    let hsm_record = all(&|i| bodies::hsm_record().sign(&boots[i].0, &boots[i].1));
    let unfreeze = all(&|i| bodies::unfreeze().sign(&boots[i].0, &boots[i].1));
    let bundle = all(&|i| bodies::bundle_vote().sign(&boots[i].0, &boots[i].1));
    let other = tally_domain::vote::VoteBody { digest: Digest([0x22; 32]), ..bodies::vote(&[1, 2]) };
    let elsewhere = tally_domain::vote::VoteBody { request_id: RequestId([8; 16]), ..bodies::vote(&[1, 2]) };
    let by_one = [bodies::vote(&[1, 2]), other].map(|vote| vote.sign(&boots[0].0, &boots[0].1));
    // Not a contradiction: it is another request.
    let honest = [bodies::vote(&[1, 2]), elsewhere].map(|vote| vote.sign(&boots[1].0, &boots[1].1));
    assert!(prove(&honest[0], &honest[1], &ROSTER).is_err());
    let examples = [
        (0, votes(bodies::vote(&[1, 2]))),
        (0, votes(bodies::limited_vote())),
        (1, votes(bodies::vote(&[1, 2]))),
        (2, KeyCertificate { statements: record }.encode_to_vec()),
        (3, HsmKeyCertificate { statements: hsm_record }.encode_to_vec()),
        (4, UnfreezeCertificate { statements: unfreeze }.encode_to_vec()),
        (5, BundleCertificate { votes: bundle }.encode_to_vec()),
        (6, Certificate { votes: by_one.to_vec() }.encode_to_vec()),
    ];
    examples.into_iter().map(|(which, bytes)| [&[which], bytes.as_slice()].concat()).collect()
}
