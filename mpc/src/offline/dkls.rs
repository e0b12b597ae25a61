//! DKLs23 signing (ePrint 2023/765, protocol 3.6) up to the point where the message enters. The digest is used in phase 3
//! only, as `w = H(m)*phi + r*v`; run with the digest zero it gives `r*v`, and so v. The library's own check that all sign
//! the same message is void then; the certificate, which binds the presignature to one digest, takes its place (S-3.4).
//!
//! Round 1: commitment to the instance point, and the OT extension. Round 2: its opening and the products' shares. All of it
//! is pairwise. A party that shows different instance points to different peers passes each pair's checks, but leaves them
//! with different R and so with different bindings: they never certify a digest together.

use super::Material as AnyMaterial;
use crate::dkls;
use crate::fault::{BadMessage, Disagreement, Fault};
use crate::machine::{Bodies, Messages, Seat};
use dkls23_core::protocols::Party;
use dkls23_core::protocols::signing::{
    KeepPhase1to2, KeepPhase2to3, SignData, TransmitPhase1to2, TransmitPhase2to3, UniqueKeep1to2, UniqueKeep2to3,
};
use dkls23_core::utilities::multiplication::{L, MulDataToReceiver, OT_WIDTH};
use dkls23_core::utilities::ot::extension::{BATCH_SIZE, KAPPA};
use k256::elliptic_curve::group::GroupEncoding as _;
use k256::elliptic_curve::ops::Reduce as _;
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::{AffinePoint, ProjectivePoint, Scalar, Secp256k1};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Salts of the library's commitments.
const SALT_BYTES: usize = 64;

/// Waits for round 1.
pub(crate) struct Commitments {
    data: SignData,
    unique: UniqueKeep1to2<Secp256k1>,
    kept: BTreeMap<dkls23_core::protocols::PartyIndex, KeepPhase1to2<Secp256k1>>,
}

/// Waits for round 2.
pub(crate) struct Products {
    data: SignData,
    unique: UniqueKeep2to3<Secp256k1>,
    kept: BTreeMap<dkls23_core::protocols::PartyIndex, KeepPhase2to3<Secp256k1>>,
}

/// Our share of a presignature. Over all signers, the sum of v is phi times the secret key and the sum of u is phi times
/// the discrete logarithm of R, where phi is the sum of all phi.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Material {
    #[zeroize(skip)]
    pub(crate) big_r: AffinePoint,
    pub(crate) phi: Scalar,
    pub(crate) u: Scalar,
    pub(crate) v: Scalar,
}

pub(crate) fn start(seat: &Seat, party: &Party<Secp256k1>) -> Result<(Commitments, Messages), Fault> {
    let data = SignData {
        sign_id: seat.session.as_bytes().to_vec(),
        counterparties: seat.peers.iter().map(|p| dkls::index(*p)).collect::<Result<_, _>>()?,
        message_hash: [0; 32],
    };
    let (unique, kept, transmit) = party.sign_phase1(&data).map_err(|abort| dkls::fault(&abort, seat.me, 1))?;
    let messages = Messages::each(seat.peers.iter().copied(), |to| {
        let message = transmit.iter().find(|m| m.parties.receiver.as_u8() == to.get());
        message.ok_or(Fault::Bug { what: "no message for a peer" })
    })?;
    Ok((Commitments { data, unique, kept }, messages))
}

impl Commitments {
    pub(crate) fn step(
        self,
        seat: &Seat,
        party: &Party<Secp256k1>,
        bodies: &Bodies,
    ) -> Result<(Products, Messages), Fault> {
        let received = bodies.decode(|from, m: &TransmitPhase1to2| {
            dkls::check_parties(&m.parties, from, seat.me)?;
            let whole = [m.mul_transmit.u.len(), m.mul_transmit.verify_t.len()] == [usize::from(KAPPA); 2];
            if whole { Ok(()) } else { Err(BadMessage::Malformed) }
        })?;
        let received: Vec<_> = received.into_values().collect();
        let (unique, kept, transmit) = party
            .sign_phase2(&self.data, self.unique, self.kept, &received)
            .map_err(|abort| dkls::fault(&abort, seat.me, 1))?;
        let messages = Messages::each(seat.peers.iter().copied(), |to| {
            let message = transmit.iter().find(|m| m.parties.receiver.as_u8() == to.get());
            message.ok_or(Fault::Bug { what: "no message for a peer" })
        })?;
        Ok((Products { data: self.data, unique, kept }, messages))
    }
}

impl Products {
    pub(crate) fn finish(
        self,
        seat: &Seat,
        party: &Party<Secp256k1>,
        bodies: &Bodies,
    ) -> Result<(AnyMaterial, Vec<u8>), Fault> {
        let received = bodies.decode(|from, m: &TransmitPhase2to3<Secp256k1>| check_products(m, from, seat.me))?;
        let received: Vec<_> = received.into_values().collect();
        let phi = self.unique.inversion_mask;
        let mine = ProjectivePoint::from(self.unique.instance_point);
        let big_r = received.iter().fold(mine, |sum, m| sum + m.instance_point).to_affine();
        let (_, share) = party
            .sign_phase3(&self.data, self.unique, self.kept, &received)
            .map_err(|abort| dkls::fault(&abort, seat.me, 2))?;
        // With the digest zero, w = x(R)*v. That x(R) is zero modulo the order has probability 2^-256.
        let x_inverse = Option::<Scalar>::from(Scalar::reduce(&big_r.x()).invert())
            .ok_or(Fault::Mismatch { round: 2, what: Disagreement::Input })?;
        let material = Material { big_r, phi, u: share.u, v: share.w * x_inverse };
        let public = big_r.to_bytes().to_vec();
        Ok((AnyMaterial::Dkls(Box::new(material)), public))
    }
}

/// Lengths and indices, before the library sees them (S-3.21): a wrong length is noticed without any secret and bans nobody.
fn check_products(m: &TransmitPhase2to3<Secp256k1>, from: PartyIndex, me: PartyIndex) -> Result<(), BadMessage> {
    dkls::check_parties(&m.parties, from, me)?;
    let MulDataToReceiver { vector_of_tau, verify_u, gamma_sender, .. } = &m.mul_transmit;
    let tau = vector_of_tau.len() == usize::from(OT_WIDTH)
        && vector_of_tau.iter().all(|row| row.len() == usize::from(BATCH_SIZE));
    let rest = [verify_u.len(), gamma_sender.len()] == [usize::from(L); 2] && m.salt.len() == SALT_BYTES;
    if tau && rest { Ok(()) } else { Err(BadMessage::Malformed) }
}
