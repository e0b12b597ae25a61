//! The message-independent part of a signature: phases 1 to 3 of DKLs23 with the digest left at zero, or FROST's round of
//! nonce commitments. All checks of DKLs23 happen here; what follows cannot lead to a ban.

pub(crate) mod dkls;
pub(crate) mod frost;

use crate::fault::{Fault, Misuse};
use crate::frost::{Ed25519, Taproot};
use crate::machine::{Machine, Outgoing, Progress, Seat, Step};
use crate::session::SessionId;
use crate::share::{KeyShare, Secret};
use crate::wire::Kind;
use rand_core::CryptoRng;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, PartyIndex, Scheme, SignerSet};
use zeroize::ZeroizeOnDrop;

/// One signer's part in making a presignature with exactly the members of S.
pub struct Offline {
    machine: Machine<Round>,
    signers: SignerSet,
    key: Vec<u8>,
    me: PartyIndex,
}

/// One-time material for one signature by exactly S. It is used by value and then gone: no `Clone`, `Debug` or
/// `Serialize`, zeroed when dropped, in memory only (S-3.1). A second signature from it would give the key away.
pub struct Presignature {
    pub(crate) me: PartyIndex,
    pub(crate) key: Vec<u8>,
    pub(crate) signers: SignerSet,
    pub(crate) binding: Digest,
    pub(crate) material: Material,
}

// Both kinds of material are; all else in it is public. They are boxed, so that moving leaves no copies on the stack.
impl ZeroizeOnDrop for Presignature {}

pub(crate) enum Material {
    Dkls(Box<dkls::Material>),
    Ed25519(Box<frost::Material<Ed25519>>),
    Taproot(Box<frost::Material<Taproot>>),
}

/// The messages that a signer waits for.
enum Round {
    DklsCommitments(dkls::Commitments),
    DklsProducts(dkls::Products),
    Ed25519Commitments(frost::Commitments<Ed25519>),
    TaprootCommitments(frost::Commitments<Taproot>),
}

impl Offline {
    /// Begins with the other members of `signers`; gives the messages of round 1.
    ///
    /// # Errors
    /// [`Misuse::NotASigner`] when the share's party is not in `signers`; [`Misuse::OtherKey`] when the set does not fit the key.
    pub fn start<R: CryptoRng + ?Sized>(
        share: &KeyShare,
        signers: &SignerSet,
        session: SessionId,
        rng: &mut R,
    ) -> Result<(Self, Vec<Outgoing>), Fault> {
        let me = share.party();
        let members: Vec<_> = signers.iter().collect();
        if !signers.contains(me) {
            return Err(Fault::caller(Misuse::NotASigner));
        }
        if SignerSet::new(share.threshold(), &members).is_err() {
            return Err(Fault::caller(Misuse::OtherKey));
        }
        let seat = |kind| Seat { kind, session, me, peers: signers.others(me).collect() };
        let (seat, round, messages) = match share.secret() {
            Secret::Dkls(party) => {
                let seat = seat(Kind::OfflineDkls);
                let (round, messages) = dkls::start(&seat, party)?;
                (seat, Round::DklsCommitments(round), messages)
            }
            Secret::Ed25519(secret) => {
                let seat = seat(Kind::OfflineFrost);
                let (round, messages) = frost::start(&seat, secret.package(), rng)?;
                (seat, Round::Ed25519Commitments(round), messages)
            }
            Secret::Taproot(secret) => {
                let seat = seat(Kind::OfflineFrost);
                let (round, messages) = frost::start(&seat, secret.package(), rng)?;
                (seat, Round::TaprootCommitments(round), messages)
            }
        };
        let (machine, outgoing) = Machine::start(seat, round, messages);
        Ok((Self { machine, signers: signers.clone(), key: share.public_key().to_vec(), me }, outgoing))
    }

    /// Takes a message that the channel says is from `from`; `share` is the one that the session began with. Neither
    /// protocol draws randomness after its first round from `_rng`; it is asked for so that one that does can take this place.
    ///
    /// A DKLs23 message can complete a round and so run a check whose failure, crash included, tells the sender something:
    /// the caller notes durably that a check is pending before this call, and catches panics (S-3.16).
    ///
    /// # Errors
    /// [`Fault`]. All but [`Fault::Caller`] end the machine.
    pub fn message<R: CryptoRng + ?Sized>(
        &mut self,
        share: &KeyShare,
        from: PartyIndex,
        bytes: &[u8],
        _rng: &mut R,
    ) -> Result<Progress<Presignature>, Fault> {
        if share.party() != self.me || share.public_key() != self.key {
            return Err(Fault::caller(Misuse::OtherKey));
        }
        let Self { machine, signers, key, me } = self;
        machine.message(from, bytes, |seat, round, bodies| {
            let (material, public) = match (round, share.secret()) {
                (Round::DklsCommitments(state), Secret::Dkls(party)) => {
                    let (state, messages) = state.step(seat, party, &bodies)?;
                    return Ok(Step::Next(Round::DklsProducts(state), messages));
                }
                (Round::DklsProducts(state), Secret::Dkls(party)) => state.finish(seat, party, &bodies)?,
                (Round::Ed25519Commitments(state), Secret::Ed25519(_)) => state.finish(seat, &bodies)?,
                (Round::TaprootCommitments(state), Secret::Taproot(_)) => state.finish(seat, &bodies)?,
                (Round::DklsCommitments(_) | Round::DklsProducts(_), Secret::Ed25519(_) | Secret::Taproot(_))
                | (Round::Ed25519Commitments(_), Secret::Dkls(_) | Secret::Taproot(_))
                | (Round::TaprootCommitments(_), Secret::Dkls(_) | Secret::Ed25519(_)) => {
                    return Err(Fault::Bug { what: "scheme of the share" });
                }
            };
            let binding = binding(share.scheme(), seat, signers, &public);
            let (me, key, signers) = (*me, key.clone(), signers.clone());
            Ok(Step::Done(Presignature { me, key, signers, binding, material }))
        })
    }

    /// The round whose messages this node waits for, from 1.
    pub fn round(&self) -> u8 {
        self.machine.round()
    }

    /// Whose message of this round is missing. Empty when the machine is done or has failed.
    pub fn missing(&self) -> Vec<PartyIndex> {
        self.machine.missing()
    }
}

impl Presignature {
    /// What votes bind to a digest (S-3.4): hash of R or of the commitment list, with S and the session id. Every signer
    /// computes it from its own state; members whose presignatures do not belong together have different ones.
    pub fn binding(&self) -> Digest {
        self.binding
    }

    /// Who signs with it.
    pub fn signers(&self) -> &SignerSet {
        &self.signers
    }
}

fn binding(scheme: Scheme, seat: &Seat, signers: &SignerSet, public: &[u8]) -> Digest {
    TaggedHash::new("tally/v1/presignature")
        .number(u64::from(scheme.number()))
        .field(seat.session.as_bytes())
        .field(&signers.to_bytes())
        .field(public)
        .finish()
}
