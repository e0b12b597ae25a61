//! RFC 9591, appendix E.1, through our own API: the shares are read as stored shares, and the RFC's nonce randomness is
//! what the generator that we are given yields.

use crate::harness::{Signer, context, node, party, post, run};
use curve25519_dalek::{EdwardsPoint, Scalar};
use frost_ed25519::Identifier;
use frost_ed25519::keys::{KeyPackage, SigningShare, VerifyingShare};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha512};
use std::collections::BTreeMap;
use std::convert::Infallible;
use tally_domain::key::KeyRecord;
use tally_domain::{
    ClusterId, DerivationPath, Digest, Epoch, KeyName, PartyIndex, Purpose, RequestId, Scheme, SecretBytes, SignerSet,
    Tenant, Threshold,
};
use tally_mpc::{KeyShare, Offline, Protocol, SignInput, combine, partial};

const PUBLIC_KEY: &str = "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673";
const SHARES: [&str; 3] = [
    "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
    "a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d",
    "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
];
/// Hiding, then binding nonce randomness of signers 1 and 3.
const RANDOMNESS: [(u8, &str); 2] = [
    (
        1,
        "06894e04ee4aceec8619d5f6a0a180e2f47194d2ac306cba586b555e7c48d76540d6f879ff22e22409f7d808fed81f37118e7d3e4af71c0f44c60207553bcbce",
    ),
    (
        3,
        "fa5d950626782aade9e33fa781376d4888c2d1de7c37518bc248eb818ed0cdde7459a4d14ded0e365b085271be8dc6600d5b88f3978a2174297ffa32001a5afc",
    ),
];
const SIGNATURE_SHARES: [(u8, &str); 2] = [
    (1, "60997f0142e43e8005027fe5ab7447dac00d22c2d7ddd9571a02613ba7d81c08"),
    (3, "79390e78bc59699c7af831f8f5fb478ec871a85f561a8641b5670ac4443f720f"),
];
const SIGNATURE: &str = "154fb694ee7fcb37bf2381d94488c2a84b03b3352ad085feca81ad26d45852b7ecfe971ce4da95c4a95db93ac376b053897fca212ef85f99cf696bffeb178f07";

/// Yields exactly these bytes.
struct Script(std::vec::IntoIter<u8>);

impl TryRng for Script {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("nonces are drawn as bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("nonces are drawn as bytes")
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.0.next().expect("the RFC has no more randomness"));
        Ok(())
    }
}

impl TryCryptoRng for Script {}

fn share(index: u8, public_shares: &[Vec<u8>]) -> KeyShare {
    let secret = SigningShare::deserialize(&hex::decode(SHARES[usize::from(index) - 1]).unwrap()).unwrap();
    let public_key = hex::decode(PUBLIC_KEY).unwrap();
    let key = frost_ed25519::VerifyingKey::deserialize(&public_key).unwrap();
    let identifier = Identifier::try_from(u16::from(index)).unwrap();
    let package = KeyPackage::new(identifier, secret, secret.into(), key, 2);
    let stored = (1_u8, 2_u32, (index, 2_u8, 3_u8, public_key, public_shares), package);
    KeyShare::from_bytes(&SecretBytes::new(postcard::to_stdvec(&stored).unwrap())).unwrap()
}

fn record(public_shares: Vec<Vec<u8>>) -> KeyRecord {
    let threshold = Threshold::new(2, 3).unwrap();
    KeyRecord {
        cluster: ClusterId::parse("test").unwrap(),
        name: KeyName::parse("rfc").unwrap(),
        tenant: Tenant::parse("ietf").unwrap(),
        request_id: RequestId([1; 16]),
        scheme: Scheme::Ed25519,
        purpose: Purpose::Message,
        threshold,
        epoch: Epoch(1),
        participants: threshold.parties().map(node).collect(),
        public_key: hex::decode(PUBLIC_KEY).unwrap(),
        public_shares,
        chain_code: Digest([0; 32]),
        transcript: Digest([0; 32]),
    }
}

#[test]
fn rfc_9591_vector() {
    let public = |s: &&str| {
        let secret = SigningShare::deserialize(&hex::decode(s).unwrap()).unwrap();
        VerifyingShare::from(secret).serialize().unwrap()
    };
    let record = record(SHARES.iter().map(public).collect());
    let shares: BTreeMap<_, _> = [1, 3].map(|i| (party(i), share(i, &record.public_shares))).into();
    let signers = SignerSet::new(record.threshold, &[party(1), party(3)]).unwrap();
    let session = context(Protocol::Sign, Scheme::Ed25519, record.threshold, &[party(1), party(3)], 1).id();
    let mut machines = BTreeMap::new();
    let mut queue = Vec::new();
    for (i, randomness) in RANDOMNESS {
        let share = &shares[&party(i)];
        assert!(share.matches(&record, party(i)));
        let mut script = Script(hex::decode(randomness).unwrap().into_iter());
        let (machine, first) = Offline::start(share, &signers, session, &mut script).unwrap();
        queue.extend(post(party(i), first));
        machines.insert(party(i), Signer(machine, share));
    }
    let (path, entropy) = (DerivationPath::default(), Digest([0; 32]));
    let input = SignInput { message: b"test".to_vec(), path, merkle_root: None, entropy };
    let mut partials = BTreeMap::new();
    let mut sent = Vec::new();
    for (p, presignature) in run(machines, queue, 1, |letter| sent.push((letter.from, letter.bytes.clone()))) {
        let (_, bytes) = partial(presignature.unwrap(), &shares[&p], &record.chain_code, &input).unwrap();
        partials.insert(p, bytes);
    }
    for (i, expected) in SIGNATURE_SHARES {
        assert!(partials[&party(i)].ends_with(&hex::decode(expected).unwrap()), "share of signer {i}");
    }
    let signature = combine(&partials, &record, &signers, &input).unwrap();
    assert_eq!(hex::encode(signature.to_bytes()), SIGNATURE);
    let mut said: Vec<Vec<u8>> =
        sent.iter().map(|(_, bytes)| bytes.clone()).chain(partials.values().cloned()).collect();
    for p in [1, 3].map(party) {
        // With the other one's partial, and with half of the own: what is said of it.
        for wrong in [partials[&party(4 - p.get())].clone(), partials[&p][..40].to_vec()] {
            let mut altered = partials.clone();
            altered.insert(p, wrong);
            let fault = combine(&altered, &record, &signers, &input).unwrap_err();
            said.push(format!("{fault} {fault:?}").into_bytes());
        }
    }
    s_3_1_neither_nonces_nor_shares_leave(&sent, &said);
}

/// Nonces of section 4.1, whose commitments are what was sent: they, and the shares, are in nothing that leaves a signer.
fn s_3_1_neither_nonces_nor_shares_leave(sent: &[(PartyIndex, Vec<u8>)], said: &[Vec<u8>]) {
    let holds = |place: &[u8], bytes: &[u8]| place.windows(bytes.len()).any(|w| w == bytes);
    for (i, randomness) in RANDOMNESS {
        let secret = hex::decode(SHARES[usize::from(i) - 1]).unwrap();
        let mut secrets = vec![secret.clone()];
        for drawn in hex::decode(randomness).unwrap().chunks(32) {
            let prefix = b"FROST-ED25519-SHA512-v1nonce".as_slice();
            let hash = Sha512::digest([prefix, drawn, &secret].concat());
            let nonce = Scalar::from_bytes_mod_order_wide(&hash.into());
            let commitment = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
            let mine = sent.iter().filter(|(from, _)| *from == party(i));
            assert!(mine.clone().all(|(_, bytes)| holds(bytes, &commitment)) && mine.count() > 0, "this is the nonce");
            secrets.extend([nonce.to_bytes().to_vec(), drawn.to_vec()]);
        }
        for secret in secrets {
            let reversed: Vec<u8> = secret.iter().rev().copied().collect();
            for bytes in [&secret, &reversed] {
                let forms = [bytes.clone(), hex::encode(bytes).into(), format!("{bytes:?}").into()];
                assert!(!said.iter().any(|place| forms.iter().any(|form| holds(place, form))), "signer {i}");
            }
        }
    }
}
