//! DKLs23 key generation (ePrint 2023/602, protocol 9.1) with the OT set-up of every pair.
//!
//! Round 1: the receiver's fragment of the polynomial. Round 2: commitments to the proof of the public share and to the
//! chain code, the same to all, and to the pair's zero-share seed. Round 3: echo of round 2, what was committed to, and the
//! pair's OT set-up. The library keeps commitment and proof in one struct; the proof leaves only in round 3.
//!
//! What round 3 reveals is not echoed: round 2's commitments, which are, leave each party one thing to reveal, and all n
//! sign the transcript.

use super::{KeygenOutput, echo, output};
use crate::derive;
use crate::dkls;
use crate::fault::{BadMessage, Disagreement, Fault};
use crate::machine::{Bodies, Messages, Seat};
use crate::share::{KeyPublic, KeyShare, Secret};
use crate::wire;
use dkls23_core::DkgSession;
use dkls23_core::protocols::Parameters;
use dkls23_core::protocols::dkg::{
    BroadcastDerivationPhase2to4, BroadcastDerivationPhase3to4, ProofCommitment, TransmitInitMulPhase3to4,
    TransmitInitZeroSharePhase2to4, TransmitInitZeroSharePhase3to4,
};
use dkls23_core::utilities::ot::extension::KAPPA;
use dkls23_core::utilities::proofs::{DLogProof, R as PROOF_REPETITIONS, T as CHALLENGE_BITS};
use k256::elliptic_curve::PrimeField as _;
use k256::{AffinePoint, FieldBytes, PublicKey, Scalar, Secp256k1};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::{Digest, PartyIndex, Scheme, Threshold};
use zeroize::Zeroizing;

/// Salts of the library's commitments.
const SALT_BYTES: usize = 64;

/// Waits for round 1.
pub(super) struct Fragments {
    threshold: Threshold,
    session: DkgSession<Secp256k1>,
    mine: Zeroizing<[u8; 32]>,
}

/// Waits for round 2.
pub(super) struct Commitments {
    threshold: Threshold,
    session: DkgSession<Secp256k1>,
    proof: ProofCommitment<Secp256k1>,
    chain_code: BroadcastDerivationPhase2to4,
}

/// Waits for round 3.
pub(super) struct Reveals {
    threshold: Threshold,
    session: DkgSession<Secp256k1>,
    proof: ProofCommitment<Secp256k1>,
    committed: BTreeMap<PartyIndex, Committed>,
    zero: Vec<TransmitInitZeroSharePhase2to4>,
    mine: BroadcastDerivationPhase3to4,
    echo: Digest,
}

/// What every party broadcasts in round 2.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Committed {
    proof: [u8; 32],
    chain_code: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Commitment {
    all: Committed,
    zero: TransmitInitZeroSharePhase2to4,
}

#[derive(Serialize, Deserialize)]
struct Reveal {
    echo: [u8; 32],
    proof: DLogProof<Secp256k1>,
    chain_code: [u8; 32],
    chain_code_salt: Vec<u8>,
    zero: TransmitInitZeroSharePhase3to4,
    mul: TransmitInitMulPhase3to4<Secp256k1>,
}

pub(super) fn start(seat: &Seat, threshold: Threshold) -> Result<(Fragments, Messages), Fault> {
    let parameters = Parameters::new(threshold.t(), threshold.n()).map_err(|_| Fault::Bug { what: "threshold" })?;
    let session = DkgSession::new(parameters, dkls::index(seat.me)?, seat.session.as_bytes().to_vec());
    let all: Zeroizing<Vec<Scalar>> = Zeroizing::new(session.phase1());
    let fragment = |to: PartyIndex| {
        let scalar = all.get(usize::from(to.get()) - 1).ok_or(Fault::Bug { what: "no fragment for a party" })?;
        Ok(Zeroizing::new(<[u8; 32]>::from(scalar.to_repr())))
    };
    let messages = Messages::each(seat.peers.iter().copied(), |to| Ok(*fragment(to)?))?;
    Ok((Fragments { threshold, mine: fragment(seat.me)?, session }, messages))
}

impl Fragments {
    pub(super) fn step(mut self, seat: &Seat, bodies: &Bodies) -> Result<(Commitments, Messages), Fault> {
        let scalar = |bytes: &[u8; 32]| Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(*bytes)));
        let received = bodies.decode(|_, bytes: &[u8; 32]| scalar(bytes).map(drop).ok_or(BadMessage::Malformed))?;
        let fragments: Option<Vec<Scalar>> = received.values().chain([&*self.mine]).map(scalar).collect();
        let fragments = Zeroizing::new(fragments.ok_or(Fault::Bug { what: "own fragment" })?);
        let (proof, zero, chain_code) =
            self.session.phase2(&fragments).map_err(|abort| dkls::fault(&abort, seat.me, 1))?;
        let all = Committed { proof: proof.commitment, chain_code: chain_code.cc_commitment };
        let messages = Messages::each(seat.peers.iter().copied(), |to| {
            let zero = zero.iter().find(|z| z.parties.receiver.as_u8() == to.get());
            Ok(Commitment { all, zero: zero.ok_or(Fault::Bug { what: "no commitment for a peer" })?.clone() })
        })?;
        Ok((Commitments { threshold: self.threshold, session: self.session, proof, chain_code }, messages))
    }
}

impl Commitments {
    pub(super) fn step(mut self, seat: &Seat, bodies: &Bodies) -> Result<(Reveals, Messages), Fault> {
        let received = bodies.decode(|from, c: &Commitment| dkls::check_parties(&c.zero.parties, from, seat.me))?;
        let mine = Committed { proof: self.proof.commitment, chain_code: self.chain_code.cc_commitment };
        let committed: BTreeMap<_, _> = received.iter().map(|(p, c)| (*p, c.all)).chain([(seat.me, mine)]).collect();
        let echo = echo_of(seat, 2, &committed)?;
        let (zero, mul, chain_code) = self.session.phase3().map_err(|abort| dkls::fault(&abort, seat.me, 2))?;
        let messages = Messages::each(seat.peers.iter().copied(), |to| {
            let zero = zero.iter().find(|z| z.parties.receiver.as_u8() == to.get());
            let mul = mul.iter().find(|m| m.parties.receiver.as_u8() == to.get());
            let (zero, mul) = zero.zip(mul).ok_or(Fault::Bug { what: "no set-up for a peer" })?;
            Ok(Reveal {
                echo: echo.0,
                proof: self.proof.proof.clone(),
                chain_code: chain_code.aux_chain_code,
                chain_code_salt: chain_code.cc_salt.clone(),
                zero: zero.clone(),
                mul: mul.clone(),
            })
        })?;
        let zero = received.into_values().map(|c| c.zero).collect();
        let Self { threshold, session, proof, .. } = self;
        Ok((Reveals { threshold, session, proof, committed, zero, mine: chain_code, echo }, messages))
    }
}

impl Reveals {
    pub(super) fn finish(self, seat: &Seat, bodies: &Bodies) -> Result<KeygenOutput, Fault> {
        let received = bodies.decode(|from, reveal: &Reveal| reveal.check(from, seat.me))?;
        // Before any check that could fail for another reason: an equivocator must not make honest parties blame each other.
        if received.values().any(|reveal| reveal.echo != self.echo.0) {
            return Err(Fault::Mismatch { round: 3, what: Disagreement::Broadcast });
        }
        let revealed = self.revealed(seat, &received)?;
        let mut committed = BTreeMap::new();
        let mut opened = BTreeMap::new();
        for (party, c) in &self.committed {
            let sender_index = dkls::index(*party)?;
            committed.insert(sender_index, BroadcastDerivationPhase2to4 { sender_index, cc_commitment: c.chain_code });
        }
        opened.insert(dkls::index(seat.me)?, self.mine);
        let mut proofs = vec![self.proof];
        let (mut zero, mut mul) = (Vec::new(), Vec::new());
        for (from, reveal) in received {
            let index = dkls::index(from)?;
            let commitment = self.committed.get(&from).ok_or(Fault::Bug { what: "no commitment of a peer" })?.proof;
            proofs.push(ProofCommitment { index, proof: reveal.proof, commitment });
            let (aux_chain_code, cc_salt) = (reveal.chain_code, reveal.chain_code_salt);
            opened.insert(index, BroadcastDerivationPhase3to4 { sender_index: index, aux_chain_code, cc_salt });
            zero.push(reveal.zero);
            mul.push(reveal.mul);
        }
        let (party, group) = self
            .session
            .phase4(&proofs, &self.zero, &zero, &mul, &committed, &opened, |_| String::new())
            .map_err(|abort| dkls::fault(&abort, seat.me, 3))?;
        let public_share = |p| group.verifying_share(dkls::index(p)?).map_or_else(no_share, point_bytes);
        let public = KeyPublic {
            scheme: Scheme::EcdsaSecp256k1,
            threshold: self.threshold,
            public_key: point_bytes(&party.pk)?,
            public_shares: self.threshold.parties().map(public_share).collect::<Result<_, _>>()?,
        };
        let chain_code = Digest(*party.chain_code());
        let share = KeyShare::new(seat.me, public, Secret::Dkls(Box::new(party)))?;
        Ok(output(seat, &[self.echo, revealed], share, chain_code))
    }

    /// Hash over what all have revealed to all.
    fn revealed(&self, seat: &Seat, received: &BTreeMap<PartyIndex, Reveal>) -> Result<Digest, Fault> {
        let (chain_code, salt) = (&self.mine.aux_chain_code, &self.mine.cc_salt);
        let mine = (&self.proof.proof, chain_code, salt);
        let others = received.iter().map(|(p, r)| (*p, (&r.proof, &r.chain_code, &r.chain_code_salt)));
        echo_of(seat, 3, &others.chain([(seat.me, mine)]).collect())
    }
}

impl Reveal {
    /// Lengths and indices, before the library sees them (S-3.21).
    fn check(&self, from: PartyIndex, me: PartyIndex) -> Result<(), BadMessage> {
        dkls::check_parties(&self.zero.parties, from, me)?;
        dkls::check_parties(&self.mul.parties, from, me)?;
        let salts = [&self.chain_code_salt, &self.zero.salt];
        let whole = is_whole(&self.proof)
            && is_whole(&self.mul.dlog_proof)
            && self.mul.enc_proofs.len() == usize::from(KAPPA)
            && salts.iter().all(|salt| salt.len() == SALT_BYTES);
        if whole { Ok(()) } else { Err(BadMessage::Malformed) }
    }
}

fn is_whole(proof: &DLogProof<Secp256k1>) -> bool {
    let repetitions = usize::from(PROOF_REPETITIONS);
    proof.rand_commitments.len() == repetitions
        && proof.proofs.len() == repetitions
        && proof.proofs.iter().all(|p| p.challenge.len() == usize::from(CHALLENGE_BITS / 8))
}

fn echo_of<T: Serialize>(seat: &Seat, round: u8, broadcasts: &BTreeMap<PartyIndex, T>) -> Result<Digest, Fault> {
    let encode = |(party, value): (&PartyIndex, &T)| Ok((*party, wire::encode(value)?));
    let encoded = broadcasts.iter().map(encode).collect::<Result<Vec<_>, Fault>>()?;
    Ok(echo(seat, round, encoded.iter().map(|(party, bytes)| (*party, bytes.as_slice()))))
}

/// A party at infinity would have share zero; the whole set is refused.
fn point_bytes(point: &AffinePoint) -> Result<Vec<u8>, Fault> {
    let key = PublicKey::from_affine(*point);
    key.map(|key| derive::encode(&key)).map_err(|_| Fault::Mismatch { round: 3, what: Disagreement::PublicKey })
}

fn no_share() -> Result<Vec<u8>, Fault> {
    Err(Fault::Bug { what: "no public share of a party" })
}
