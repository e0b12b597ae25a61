//! FROST round 1 (RFC 9591, section 5.1): one pair of hedged nonces for one session, made when asked for and never ahead
//! (S-3.10).

use super::Material as AnyMaterial;
use crate::fault::{BadMessage, Disagreement, Fault};
use crate::frost::{self, OldRng};
use crate::machine::{Bodies, Messages, Seat};
use frost_ed25519::keys::KeyPackage;
use frost_ed25519::round1::{self, NonceCommitment, SigningCommitments, SigningNonces};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;

/// Waits for round 1.
pub(crate) struct Commitments {
    nonces: SigningNonces,
    mine: Commitment,
}

/// Nonces that nobody has used, and the commitments of exactly S, our own as it left us among them.
pub(crate) struct Material {
    /// Zeroed when dropped.
    pub(crate) nonces: SigningNonces,
    pub(crate) list: CommitmentList,
}

/// One signer's commitments, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commitment {
    hiding: [u8; 32],
    binding: [u8; 32],
}

/// B of RFC 9591: the commitments of all signers, in the order of the index.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitmentList(pub(crate) BTreeMap<PartyIndex, Commitment>);

pub(crate) fn start<R: CryptoRng + ?Sized>(
    seat: &Seat,
    package: &KeyPackage,
    rng: &mut R,
) -> Result<(Commitments, Messages), Fault> {
    let (nonces, commitments) = round1::commit(package.signing_share(), &mut OldRng(rng));
    let mine = Commitment::write(&commitments)?;
    let messages = Messages::each(seat.peers.iter().copied(), |_| Ok(mine))?;
    Ok((Commitments { nonces, mine }, messages))
}

impl Commitments {
    pub(crate) fn finish(self, seat: &Seat, bodies: &Bodies) -> Result<(AnyMaterial, Vec<u8>), Fault> {
        let received = bodies.decode(|_, c: &Commitment| c.read().map(drop).ok_or(BadMessage::Malformed))?;
        let list = CommitmentList(received.into_iter().chain([(seat.me, self.mine)]).collect());
        let public = list.to_bytes();
        Ok((AnyMaterial::Frost(Box::new(Material { nonces: self.nonces, list })), public))
    }
}

impl Commitment {
    /// Fails when a nonce is zero, because the identity has no encoding.
    fn write(commitments: &SigningCommitments) -> Result<Self, Fault> {
        let bytes = |c: &NonceCommitment| {
            let bytes = c.serialize().map_err(|e| frost::fault(&e, 1, Disagreement::Input))?;
            bytes.try_into().map_err(|_| Fault::Bug { what: "length of a point" })
        };
        Ok(Self { hiding: bytes(commitments.hiding())?, binding: bytes(commitments.binding())? })
    }

    /// Refuses the identity, points with torsion and non-canonical encodings.
    fn read(&self) -> Option<SigningCommitments> {
        let point = |bytes: &[u8; 32]| NonceCommitment::deserialize(bytes).ok();
        Some(SigningCommitments::new(point(&self.hiding)?, point(&self.binding)?))
    }
}

impl CommitmentList {
    /// Index and two points for each signer: what the binding hashes.
    fn to_bytes(&self) -> Vec<u8> {
        let entry = |(party, c): (&PartyIndex, &Commitment)| [&[party.get()][..], &c.hiding, &c.binding].concat();
        self.0.iter().flat_map(entry).collect()
    }

    /// The library's form, if every commitment is a good point.
    pub(crate) fn read(&self) -> Option<BTreeMap<frost_ed25519::Identifier, SigningCommitments>> {
        self.0.iter().map(|(party, c)| Some((frost::identifier(*party).ok()?, c.read()?))).collect()
    }
}
