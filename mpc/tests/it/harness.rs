//! A cluster in one thread: machines, a queue, and a seeded scheduler that delivers in any order.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use tally_domain::key::KeyRecord;
use tally_domain::{
    Attempt, ClusterId, DerivationPath, Digest, Epoch, KeyName, NodeName, PartyIndex, Purpose, RequestId, Scheme,
    SecretBytes, SignerSet, Tenant, Threshold,
};
use tally_mpc::{
    Fault, KeyShare, Keygen, KeygenOutput, Offline, Outgoing, Presignature, Progress, Protocol, SessionContext,
    SessionId, SignInput, Signature,
};

pub fn party(i: u8) -> PartyIndex {
    PartyIndex::new(i).unwrap()
}

pub fn node(p: PartyIndex) -> NodeName {
    NodeName::parse(&format!("node-{p}")).unwrap()
}

pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub fn context(
    protocol: Protocol,
    scheme: Scheme,
    threshold: Threshold,
    parties: &[PartyIndex],
    seed: u64,
) -> SessionContext {
    let mut rng = rng(seed);
    SessionContext {
        protocol,
        scheme,
        cluster: ClusterId::parse("test").unwrap(),
        key: KeyName::parse("hot").unwrap(),
        epoch: Epoch(1),
        threshold,
        parties: parties.iter().map(|p| (*p, node(*p))).collect(),
        tenant: Tenant::parse("acme").unwrap(),
        request: RequestId([7; 16]),
        attempt: Attempt(1),
        digest: Digest([9; 32]),
        path: DerivationPath::default(),
        bundle: Digest([3; 32]),
        nonces: parties.iter().map(|p| (*p, rng.random())).collect(),
    }
}

/// A message under way.
pub struct Letter {
    pub from: PartyIndex,
    pub to: PartyIndex,
    pub bytes: Vec<u8>,
}

impl Letter {
    /// The round it says it is of.
    pub fn round(&self) -> u8 {
        self.bytes[1]
    }

    /// Flips the lowest bit of a byte of the body.
    pub fn flip(&mut self, at: usize) {
        self.bytes[tally_mpc::HEADER_BYTES + at] ^= 1;
    }

    /// Flips the lowest bit of a byte counted from the end.
    pub fn flip_back(&mut self, at: usize) {
        let len = self.bytes.len();
        self.bytes[len - at] ^= 1;
    }
}

/// A machine of either kind.
pub trait Machine {
    type Output;
    fn message(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<Progress<Self::Output>, Fault>;
}

impl Machine for Keygen {
    type Output = KeygenOutput;
    fn message(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<Progress<KeygenOutput>, Fault> {
        Keygen::message(self, from, bytes, &mut rng(1))
    }
}

/// A signer in the offline part, with the share it signs with.
pub struct Signer<'a>(pub Offline, pub &'a KeyShare);

impl Machine for Signer<'_> {
    type Output = Presignature;
    fn message(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<Progress<Presignature>, Fault> {
        self.0.message(self.1, from, bytes, &mut rng(1))
    }
}

pub fn post(from: PartyIndex, outgoing: Vec<Outgoing>) -> impl Iterator<Item = Letter> {
    outgoing.into_iter().map(move |o| Letter { from, to: o.to, bytes: o.bytes })
}

/// Delivers everything in an order drawn from `seed`, after `tamper` has seen it. A party with a fault falls silent.
pub fn run<M: Machine>(
    mut machines: BTreeMap<PartyIndex, M>,
    mut queue: Vec<Letter>,
    seed: u64,
    mut tamper: impl FnMut(&mut Letter),
) -> BTreeMap<PartyIndex, Result<M::Output, Fault>> {
    let mut order = rng(seed);
    let mut results = BTreeMap::new();
    while !queue.is_empty() {
        let mut letter = queue.swap_remove(order.random_range(0..queue.len()));
        tamper(&mut letter);
        let Some(machine) = machines.get_mut(&letter.to) else { continue };
        match machine.message(letter.from, &letter.bytes) {
            Ok(Progress::Wait(outgoing)) => queue.extend(post(letter.to, outgoing)),
            Ok(Progress::Done(outgoing, output)) => {
                queue.extend(post(letter.to, outgoing));
                machines.remove(&letter.to);
                results.insert(letter.to, Ok(output));
            }
            Err(fault) => {
                machines.remove(&letter.to);
                results.insert(letter.to, Err(fault));
            }
        }
    }
    results
}

pub fn start_keygen(scheme: Scheme, threshold: Threshold, seed: u64) -> (BTreeMap<PartyIndex, Keygen>, Vec<Letter>) {
    let parties: Vec<_> = threshold.parties().collect();
    let session = context(Protocol::Keygen, scheme, threshold, &parties, seed).id();
    let mut machines = BTreeMap::new();
    let mut queue = Vec::new();
    for p in parties {
        let (machine, first) =
            Keygen::start(scheme, threshold, p, session, &mut rng(seed * 100 + u64::from(p.get()))).unwrap();
        queue.extend(post(p, first));
        machines.insert(p, machine);
    }
    (machines, queue)
}

/// A key as its n nodes hold it.
pub struct Key {
    pub record: KeyRecord,
    pub shares: BTreeMap<PartyIndex, KeyShare>,
}

pub fn make_key(scheme: Scheme, t: u32, n: u32, seed: u64) -> Key {
    let threshold = Threshold::new(t, n).unwrap();
    let (machines, queue) = start_keygen(scheme, threshold, seed);
    let outputs = run(machines, queue, seed, |_| {});
    assert_eq!(outputs.len(), n as usize);
    let mut record: Option<KeyRecord> = None;
    let mut shares = BTreeMap::new();
    for (p, output) in outputs {
        let output = output.unwrap();
        let mine = KeyRecord {
            cluster: ClusterId::parse("test").unwrap(),
            name: KeyName::parse("hot").unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([7; 16]),
            scheme,
            purpose: Purpose::Transaction,
            threshold,
            epoch: Epoch(1),
            participants: threshold.parties().map(node).collect(),
            public_key: output.public_key,
            public_shares: output.public_shares,
            chain_code: output.chain_code,
            transcript: output.transcript,
        };
        assert_eq!(*record.get_or_insert_with(|| mine.clone()), mine, "party {p} has another record");
        shares.insert(p, output.share);
    }
    Key { record: record.unwrap(), shares }
}

/// One 2-of-3 key of each scheme for all tests; each call has its own copy of the shares, read from bytes.
pub fn key_2_of_3(scheme: Scheme) -> Key {
    static ECDSA: OnceLock<(KeyRecord, BTreeMap<PartyIndex, SecretBytes>)> = OnceLock::new();
    static ED25519: OnceLock<(KeyRecord, BTreeMap<PartyIndex, SecretBytes>)> = OnceLock::new();
    static TAPROOT: OnceLock<(KeyRecord, BTreeMap<PartyIndex, SecretBytes>)> = OnceLock::new();
    let slot = match scheme {
        Scheme::EcdsaSecp256k1 => &ECDSA,
        Scheme::Ed25519 => &ED25519,
        Scheme::Taproot => &TAPROOT,
    };
    let (record, shares) = slot.get_or_init(|| {
        let key = make_key(scheme, 2, 3, 11);
        (key.record, key.shares.into_iter().map(|(p, share)| (p, share.to_bytes().unwrap())).collect())
    });
    let shares = shares.iter().map(|(p, bytes)| (*p, KeyShare::from_bytes(bytes).unwrap())).collect();
    Key { record: record.clone(), shares }
}

impl Key {
    /// The key that signs at a path.
    pub fn child(&self, path: &DerivationPath) -> Vec<u8> {
        let KeyRecord { scheme, public_key, chain_code, .. } = &self.record;
        tally_mpc::derive(*scheme, public_key, chain_code, path).unwrap().public_key
    }

    pub fn signers(&self, members: &[u8]) -> SignerSet {
        let members: Vec<_> = members.iter().map(|i| party(*i)).collect();
        SignerSet::new(self.record.threshold, &members).unwrap()
    }

    pub fn session(&self, signers: &SignerSet, seed: u64) -> SessionId {
        let members: Vec<_> = signers.iter().collect();
        context(Protocol::Sign, self.record.scheme, self.record.threshold, &members, seed).id()
    }

    pub fn start_offline(&self, signers: &SignerSet, seed: u64) -> (BTreeMap<PartyIndex, Signer<'_>>, Vec<Letter>) {
        let session = self.session(signers, seed);
        let mut machines = BTreeMap::new();
        let mut queue = Vec::new();
        for p in signers.iter() {
            let share = &self.shares[&p];
            let mut rng = rng(seed * 1000 + u64::from(p.get()));
            let (machine, first) = Offline::start(share, signers, session, &mut rng).unwrap();
            queue.extend(post(p, first));
            machines.insert(p, Signer(machine, share));
        }
        (machines, queue)
    }

    pub fn presignatures(&self, signers: &SignerSet, seed: u64) -> BTreeMap<PartyIndex, Presignature> {
        let (machines, queue) = self.start_offline(signers, seed);
        let results = run(machines, queue, seed, |_| {});
        assert_eq!(results.len(), signers.len());
        let all: BTreeMap<_, _> = results.into_iter().map(|(p, r)| (p, r.unwrap())).collect();
        let first = all.values().next().unwrap().binding();
        assert!(all.values().all(|x| x.binding() == first && x.signers() == signers));
        all
    }

    /// Every member's partial, and the signature that each member's combiner comes to: they must be the same.
    pub fn sign(&self, members: &[u8], input: &SignInput, seed: u64) -> (Signature, BTreeMap<PartyIndex, Vec<u8>>) {
        let signers = self.signers(members);
        let mut combiners = BTreeMap::new();
        let mut partials = BTreeMap::new();
        for (p, presignature) in self.presignatures(&signers, seed) {
            let (combiner, bytes) =
                tally_mpc::partial(presignature, &self.shares[&p], &self.record.chain_code, input).unwrap();
            combiners.insert(p, combiner);
            partials.insert(p, bytes);
        }
        let mut signatures = Vec::new();
        for (p, mut combiner) in combiners {
            assert_eq!(combiner.missing(), signers.others(p).collect::<Vec<_>>());
            for other in signers.others(p) {
                signatures.extend(combiner.add(other, &partials[&other]).unwrap());
            }
        }
        assert_eq!(signatures.len(), signers.len());
        assert!(signatures.iter().all(|s| *s == signatures[0]));
        (signatures[0], partials)
    }
}

pub fn input(message: &[u8], path: &str) -> SignInput {
    let path = DerivationPath::parse(path).unwrap();
    SignInput { message: message.to_vec(), path, merkle_root: None, entropy: Digest([0x55; 32]) }
}
