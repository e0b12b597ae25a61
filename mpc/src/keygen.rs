//! Key generation by all n share-holders. Succeeds only as a proposal: the key exists when all n have signed its record
//! (S-3.24), which is what makes the transcript and every public share agreed.

mod dkls;
mod frost;

use crate::fault::{Fault, Misuse};
use crate::frost::{Ed25519, Taproot};
use crate::machine::{Bodies, Machine, Messages, Outgoing, Progress, Seat, Step};
use crate::session::SessionId;
use crate::share::KeyShare;
use crate::wire::Kind;
use rand_core::CryptoRng;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, PartyIndex, Scheme, Threshold};

/// One node's part in making a key.
pub struct Keygen(Machine<Round>);

/// What a node has when key generation is over.
pub struct KeygenOutput {
    /// This node's share: to be sealed and made durable before the record is signed.
    pub share: KeyShare,
    /// The root of the tree of keys. secp256k1: 33 bytes compressed, for Taproot too. Ed25519: 32 bytes.
    pub public_key: Vec<u8>,
    /// Each party's public share, in the order of the index.
    pub public_shares: Vec<Vec<u8>>,
    /// BIP-32 chain code, made by all.
    pub chain_code: Digest,
    /// Hash over all that was broadcast, and the result.
    pub transcript: Digest,
}

/// The messages that a node waits for.
enum Round {
    DklsFragments(dkls::Fragments),
    DklsCommitments(dkls::Commitments),
    DklsReveals(dkls::Reveals),
    Ed25519Commitments(frost::Commitments<Ed25519>),
    Ed25519Shares(frost::Shares<Ed25519>),
    TaprootCommitments(frost::Commitments<Taproot>),
    TaprootShares(frost::Shares<Taproot>),
}

impl Keygen {
    /// Begins as party `me` of the 1 to n of `threshold`; gives the messages of round 1.
    ///
    /// # Errors
    /// [`Misuse::NotASigner`] when `me` is above n.
    pub fn start<R: CryptoRng + ?Sized>(
        scheme: Scheme,
        threshold: Threshold,
        me: PartyIndex,
        session: SessionId,
        rng: &mut R,
    ) -> Result<(Self, Vec<Outgoing>), Fault> {
        if me.get() > threshold.n() {
            return Err(Fault::caller(Misuse::NotASigner));
        }
        let peers = threshold.parties().filter(|p| *p != me).collect();
        let seat = |kind| Seat { kind, session, me, peers };
        let (seat, round, messages) = match scheme {
            Scheme::EcdsaSecp256k1 => {
                let seat = seat(Kind::KeygenDkls);
                let (round, messages) = dkls::start(&seat, threshold)?;
                (seat, Round::DklsFragments(round), messages)
            }
            Scheme::Ed25519 => {
                let seat = seat(Kind::KeygenFrost);
                let (round, messages) = frost::start(&seat, threshold, rng)?;
                (seat, Round::Ed25519Commitments(round), messages)
            }
            Scheme::Taproot => {
                let seat = seat(Kind::KeygenFrost);
                let (round, messages) = frost::start(&seat, threshold, rng)?;
                (seat, Round::TaprootCommitments(round), messages)
            }
        };
        let (machine, outgoing) = Machine::start(seat, round, messages);
        Ok((Self(machine), outgoing))
    }

    /// Takes a message that the channel says is from `from`. Neither protocol draws randomness after its first round from
    /// `_rng`; it is asked for so that one that does can take this place.
    ///
    /// # Errors
    /// [`Fault`]. All but [`Fault::Caller`] end the machine.
    pub fn message<R: CryptoRng + ?Sized>(
        &mut self,
        from: PartyIndex,
        bytes: &[u8],
        _rng: &mut R,
    ) -> Result<Progress<KeygenOutput>, Fault> {
        self.0.message(from, bytes, |seat, round, bodies| round.step(seat, &bodies))
    }

    /// The round whose messages this node waits for, from 1.
    pub fn round(&self) -> u8 {
        self.0.round()
    }

    /// Whose message of this round is missing. Empty when the machine is done or has failed.
    pub fn missing(&self) -> Vec<PartyIndex> {
        self.0.missing()
    }
}

impl Round {
    fn step(self, seat: &Seat, bodies: &Bodies) -> Result<Step<Self, KeygenOutput>, Fault> {
        fn next<S>(round: fn(S) -> Round, (state, messages): (S, Messages)) -> Step<Round, KeygenOutput> {
            Step::Next(round(state), messages)
        }
        Ok(match self {
            Self::DklsFragments(state) => next(Self::DklsCommitments, state.step(seat, bodies)?),
            Self::DklsCommitments(state) => next(Self::DklsReveals, state.step(seat, bodies)?),
            Self::DklsReveals(state) => Step::Done(state.finish(seat, bodies)?),
            Self::Ed25519Commitments(state) => next(Self::Ed25519Shares, state.step(seat, bodies)?),
            Self::Ed25519Shares(state) => Step::Done(state.finish(seat, bodies)?),
            Self::TaprootCommitments(state) => next(Self::TaprootShares, state.step(seat, bodies)?),
            Self::TaprootShares(state) => Step::Done(state.finish(seat, bodies)?),
        })
    }
}

/// Hash over what every party broadcast in a round, as received. Each party sends its own to all others in the next round;
/// two that differ mean that someone sent two versions (S-3.17, S-3.24).
fn echo<'a>(seat: &Seat, round: u8, broadcasts: impl IntoIterator<Item = (PartyIndex, &'a [u8])>) -> Digest {
    let start = TaggedHash::new("tally/v1/echo").field(seat.session.as_bytes()).number(u64::from(round));
    let add = |hash: TaggedHash, (from, bytes): (PartyIndex, &[u8])| hash.number(u64::from(from.get())).field(bytes);
    broadcasts.into_iter().fold(start, add).finish()
}

/// Hash over the whole of key generation: what was broadcast, and what came of it.
fn transcript(seat: &Seat, broadcasts: &[Digest], share: &KeyShare, chain_code: &Digest) -> Digest {
    let public = share.public();
    let mut hash = TaggedHash::new("tally/v1/keygen-transcript")
        .field(seat.session.as_bytes())
        .number(u64::from(public.scheme.number()))
        .number(u64::from(public.threshold.t()))
        .number(u64::from(public.threshold.n()))
        .number(broadcasts.len() as u64);
    for broadcast in broadcasts {
        hash = hash.field(broadcast.as_bytes());
    }
    hash = hash.field(&public.public_key).field(chain_code.as_bytes());
    public.public_shares.iter().fold(hash, |hash, share| hash.field(share)).finish()
}

fn output(seat: &Seat, broadcasts: &[Digest], share: KeyShare, chain_code: Digest) -> KeygenOutput {
    KeygenOutput {
        public_key: share.public().public_key.clone(),
        public_shares: share.public().public_shares.clone(),
        transcript: transcript(seat, broadcasts, &share, &chain_code),
        chain_code,
        share,
    }
}
