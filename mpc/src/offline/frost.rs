//! FROST round 1 (RFC 9591, section 5.1): one pair of hedged nonces for one session, made when asked for and never ahead
//! (S-3.10).

use super::Material as AnyMaterial;
use crate::fault::{Disagreement, Fault};
use crate::frost::{self, OldRng, Suite};
use crate::machine::{Bodies, Messages, Seat};
use frost_core::Identifier;
use frost_core::keys::KeyPackage;
use frost_core::round1::{self, NonceCommitment, SigningCommitments, SigningNonces};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;

/// Waits for round 1.
pub(crate) struct Commitments<C: Suite> {
    nonces: SigningNonces<C>,
}

/// Nonces that nobody has used, and the commitments of exactly S, our own as it left us among them.
pub(crate) struct Material<C: Suite> {
    /// Zeroed when dropped.
    pub(crate) nonces: SigningNonces<C>,
    pub(crate) list: CommitmentList<C>,
}

/// One signer's commitments, as on the wire: two points. Reading one refuses the identity, points with torsion and
/// non-canonical encodings.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "C: Suite")]
pub(crate) struct Commitment<C: Suite> {
    hiding: NonceCommitment<C>,
    binding: NonceCommitment<C>,
}

/// B of RFC 9591: the commitments of all signers, in the order of the index.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "C: Suite")]
pub(crate) struct CommitmentList<C: Suite>(pub(crate) BTreeMap<PartyIndex, Commitment<C>>);

pub(crate) fn start<C: Suite, R: CryptoRng + ?Sized>(
    seat: &Seat,
    package: &KeyPackage<C>,
    rng: &mut R,
) -> Result<(Commitments<C>, Messages), Fault> {
    let (nonces, _) = round1::commit(package.signing_share(), &mut OldRng(rng));
    let mine = Commitment::of(&nonces);
    // Fails when a nonce is zero, because the identity has no encoding.
    mine.to_bytes()?;
    let messages = Messages::each(seat.peers.iter().copied(), |_| Ok(mine))?;
    Ok((Commitments { nonces }, messages))
}

impl<C: Suite> Commitments<C> {
    pub(crate) fn finish(self, seat: &Seat, bodies: &Bodies) -> Result<(AnyMaterial, Vec<u8>), Fault> {
        let received = bodies.decode(|_, _: &Commitment<C>| Ok(()))?;
        let list = CommitmentList(received.into_iter().chain([(seat.me, Commitment::of(&self.nonces))]).collect());
        let public = list.to_bytes()?;
        Ok((C::material(Material { nonces: self.nonces, list }), public))
    }
}

impl<C: Suite> Commitment<C> {
    fn of(nonces: &SigningNonces<C>) -> Self {
        let commitments = nonces.commitments();
        Self { hiding: *commitments.hiding(), binding: *commitments.binding() }
    }

    fn to_bytes(self) -> Result<Vec<u8>, Fault> {
        let bytes = |c: NonceCommitment<C>| c.serialize().map_err(|e| frost::fault(&e, 1, Disagreement::Input));
        Ok([bytes(self.hiding)?, bytes(self.binding)?].concat())
    }
}

impl<C: Suite> CommitmentList<C> {
    /// Index and two points for each signer: what the binding hashes.
    fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        self.0.iter().try_fold(Vec::new(), |mut bytes, (party, commitment)| {
            bytes.push(party.get());
            bytes.extend(commitment.to_bytes()?);
            Ok(bytes)
        })
    }

    /// The library's form.
    pub(crate) fn read(&self) -> Result<BTreeMap<Identifier<C>, SigningCommitments<C>>, Fault> {
        let entry = |(party, c): (&PartyIndex, &Commitment<C>)| {
            Ok((frost::identifier(*party)?, SigningCommitments::new(c.hiding, c.binding)))
        };
        self.0.iter().map(entry).collect()
    }
}
