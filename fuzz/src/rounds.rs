//! Messages of the threshold protocols, as an honest party of two reads what the other one sends it.

use crate::target::Verdict;
use crate::world;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;
use tally_domain::{
    Attempt, DerivationPath, Digest, Epoch, PartyIndex, RequestId, Scheme, SecretBytes, SignerSet, Threshold,
};
use tally_mpc::{
    Fault, KeyShare, Keygen, KeygenOutput, Offline, Outgoing, Presignature, Progress, Protocol, SessionContext,
    SessionId,
};

/// Protocols are numbered by them: keys of each are made first, then presignatures.
pub const SCHEMES: [Scheme; 3] = [Scheme::Ed25519, Scheme::Taproot, Scheme::EcdsaSecp256k1];

/// Most messages that are given to one machine: one more than any protocol has rounds.
const MESSAGES_MAX: usize = 5;

/// The honest party.
pub fn me() -> PartyIndex {
    PartyIndex::new(1).unwrap()
}

/// The other one.
pub fn other() -> PartyIndex {
    PartyIndex::new(2).unwrap()
}

fn threshold() -> Threshold {
    Threshold::new(2, 2).unwrap()
}

fn session(protocol: Protocol, scheme: Scheme) -> SessionId {
    SessionContext {
        protocol,
        scheme,
        cluster: world::cluster(),
        key: world::key_name(),
        epoch: Epoch(1),
        threshold: threshold(),
        parties: vec![(me(), world::node(1)), (other(), world::node(2))],
        tenant: world::tenant(),
        request: RequestId([7; 16]),
        attempt: Attempt(1),
        digest: Digest([9; 32]),
        path: DerivationPath::default(),
        bundle: Digest([3; 32]),
        nonces: BTreeMap::from([(me(), [1; 32]), (other(), [2; 32])]),
    }
    .id()
}

/// A key that two have made together.
pub struct Key {
    /// Of which scheme.
    pub scheme: Scheme,
    /// With it children of the key are computed.
    pub chain_code: Digest,
    shares: BTreeMap<PartyIndex, SecretBytes>,
    /// What the other party sent while it was made.
    sent: Vec<Vec<u8>>,
}

impl Key {
    /// The honest party's share.
    pub fn share(&self) -> KeyShare {
        self.share_of(me())
    }

    /// A party's share.
    pub fn share_of(&self, party: PartyIndex) -> KeyShare {
        KeyShare::from_bytes(&self.shares[&party]).unwrap()
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| SCHEMES.map(made).into());

/// One key of each scheme.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

/// A machine of either kind, at the honest party or the other one.
enum Party {
    Making(Box<Keygen>),
    Preparing(Box<Offline>, KeyShare),
}

/// What a machine has made.
pub enum Made {
    /// A key.
    Key(Box<KeygenOutput>),
    /// What one signature is made with.
    Presignature(Box<Presignature>),
}

/// What a message has led to.
enum After {
    Wait(Vec<Outgoing>),
    Done(Vec<Outgoing>, Made),
}

impl Party {
    /// From fixed randomness. What DKLs23 draws by itself is another each time.
    fn start(which: usize, at: PartyIndex) -> (Self, Vec<Outgoing>) {
        let mut rng = StdRng::seed_from_u64(u64::from(at.get()));
        let scheme = SCHEMES[which % SCHEMES.len()];
        if which < SCHEMES.len() {
            let session = session(Protocol::Keygen, scheme);
            let (machine, first) = Keygen::start(scheme, threshold(), at, session, &mut rng).unwrap();
            return (Self::Making(Box::new(machine)), first);
        }
        let share = keys().find(|key| key.scheme == scheme).unwrap().share_of(at);
        let (machine, first) = Offline::start(&share, &signers(), session(Protocol::Sign, scheme), &mut rng).unwrap();
        (Self::Preparing(Box::new(machine), share), first)
    }

    fn message(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<After, Fault> {
        let mut rng = StdRng::seed_from_u64(5);
        match self {
            Self::Making(machine) => Ok(match machine.message(from, bytes, &mut rng)? {
                Progress::Wait(out) => After::Wait(out),
                Progress::Done(out, made) => After::Done(out, Made::Key(Box::new(made))),
            }),
            Self::Preparing(machine, share) => Ok(match machine.message(share, from, bytes, &mut rng)? {
                Progress::Wait(out) => After::Wait(out),
                Progress::Done(out, made) => After::Done(out, Made::Presignature(Box::new(made))),
            }),
        }
    }
}

fn signers() -> SignerSet {
    SignerSet::new(threshold(), &[me(), other()]).unwrap()
}

/// What two parties have come to.
#[derive(Default)]
pub struct Run {
    /// What the second one has sent.
    pub sent: Vec<Vec<u8>>,
    /// What each has made.
    pub made: BTreeMap<PartyIndex, Made>,
}

/// Both parties to the end. What the second one sends arrives as `arrives` makes of it, which sees what came before.
///
/// # Errors
/// What the first one finds. What the second one finds ends nothing: it may find that answers to what it never sent are wrong.
pub fn run(which: usize, arrives: impl Fn(&[Vec<u8>], &[u8]) -> Vec<u8>) -> Result<Run, Fault> {
    let (mut parties, mut letters, mut run) = (BTreeMap::new(), VecDeque::new(), Run::default());
    for at in [me(), other()] {
        let (party, first) = Party::start(which, at);
        parties.insert(at, party);
        letters.extend(first.into_iter().map(|out| (at, out)));
    }
    while let Some((from, Outgoing { to, bytes })) = letters.pop_front() {
        let bytes = if from == other() {
            let arrived = arrives(&run.sent, &bytes);
            run.sent.push(bytes);
            arrived
        } else {
            bytes
        };
        let Some(party) = parties.get_mut(&to) else { continue };
        let more = match party.message(from, &bytes) {
            Ok(After::Wait(out)) => out,
            Ok(After::Done(out, made)) => {
                parties.remove(&to);
                run.made.insert(to, made);
                out
            }
            Err(fault) if to == me() => return Err(fault),
            Err(_) => {
                parties.remove(&to);
                continue;
            }
        };
        letters.extend(more.into_iter().map(|out| (to, out)));
    }
    Ok(run)
}

fn honest(which: usize) -> Run {
    run(which, |_, bytes| bytes.to_vec()).unwrap()
}

fn made(scheme: Scheme) -> Key {
    let which = SCHEMES.iter().position(|s| *s == scheme).unwrap();
    let Run { sent, made } = honest(which);
    let mut chain_code = None;
    let share = |(at, made)| {
        let Made::Key(key) = made else { panic!("a key") };
        chain_code = Some(key.chain_code);
        (at, key.share.to_bytes().unwrap())
    };
    let shares = made.into_iter().map(share).collect();
    Key { scheme, chain_code: chain_code.unwrap(), shares, sent }
}

/// The first byte says which protocol; behind it messages, each behind its length in three bytes. The honest party reads them
/// until it is done, has no more, or refuses one; then it blames nobody or the sender, never itself.
pub fn round(bytes: &[u8]) -> Verdict {
    let Some((which, mut rest)) = bytes.split_first() else { return Verdict::said("nothing") };
    let which = usize::from(*which);
    if which >= 2 * SCHEMES.len() {
        return Verdict::said("none of them");
    }
    let (mut party, _) = Party::start(which, me());
    for taken in 0..MESSAGES_MAX {
        let Some(([high, middle, low], behind)) = rest.split_first_chunk::<3>() else {
            return Verdict::Read(format!("{which} waits after {taken}"));
        };
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        let length = length.min(behind.len());
        let (message, behind) = behind.split_at(length);
        rest = behind;
        match party.message(other(), message) {
            Ok(After::Wait(_)) => {}
            Ok(After::Done(..)) => return Verdict::Read(format!("{which} done")),
            Err(fault) => {
                assert!(!matches!(fault, Fault::Bug { .. }), "{fault:?}");
                assert!(fault.culprit().is_none_or(|culprit| culprit == other()), "{fault:?}");
                return Verdict::refused(&format_args!("{} {} {fault:?}", letter(which), letter(taken)));
            }
        }
    }
    panic!("{which} takes more messages than it has rounds")
}

/// For words, which leave digits out.
fn letter(n: usize) -> char {
    char::from(b'a' + (n % 26) as u8)
}

/// All that an honest peer sends, of each protocol.
pub fn messages() -> Vec<Vec<u8>> {
    let making = keys().map(|key| key.sent.clone());
    let preparing = (SCHEMES.len()..2 * SCHEMES.len()).map(|which| honest(which).sent);
    let framed = |(which, sent): (usize, Vec<Vec<u8>>)| {
        let mut bytes = vec![which as u8];
        for message in sent {
            bytes.extend(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes()[1..]);
            bytes.extend(message);
        }
        bytes
    };
    let all = making.chain(preparing).enumerate().map(|(which, mut sent)| {
        // What DKLs23 sends in later rounds answers randomness of another run: those are for `late-round`.
        if SCHEMES[which % SCHEMES.len()] == Scheme::EcdsaSecp256k1 {
            sent.truncate(1);
        }
        (which, sent)
    });
    all.map(framed).collect()
}
