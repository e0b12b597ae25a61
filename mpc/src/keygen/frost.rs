//! FROST key generation (ePrint 2020/852, figure 1) with an echo of everything that was broadcast, because the protocol is
//! insecure without a real broadcast channel.
//!
//! Round 1: commitment to the polynomial with a proof of knowledge, and entropy for the chain code; the same to all.
//! Round 2: echo of round 1, and the receiver's secret share.

use super::{KeygenOutput, echo, output};
use crate::fault::{BadMessage, Disagreement, Fault};
use crate::frost::{self, OldRng, Suite};
use crate::machine::{Bodies, Messages, Seat};
use crate::share::{KeyPublic, KeyShare};
use crate::wire;
use frost_core::Identifier;
use frost_core::keys::dkg::{self, round1, round2};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, PartyIndex, Threshold};

/// Waits for round 1.
pub(super) struct Commitments<C: Suite> {
    threshold: Threshold,
    secret: round1::SecretPackage<C>,
    mine: Commitment<C>,
}

/// Waits for round 2.
pub(super) struct Shares<C: Suite> {
    threshold: Threshold,
    secret: round2::SecretPackage<C>,
    packages: BTreeMap<Identifier<C>, round1::Package<C>>,
    chain_code: Digest,
    echo: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Suite")]
struct Commitment<C: Suite> {
    package: round1::Package<C>,
    entropy: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Suite")]
struct Share<C: Suite> {
    echo: [u8; 32],
    package: round2::Package<C>,
}

pub(super) fn start<C: Suite, R: CryptoRng + ?Sized>(
    seat: &Seat,
    threshold: Threshold,
    rng: &mut R,
) -> Result<(Commitments<C>, Messages), Fault> {
    let (t, n) = (u16::from(threshold.t()), u16::from(threshold.n()));
    let mut entropy = [0; 32];
    rng.fill_bytes(&mut entropy);
    let (secret, package) = dkg::part1(frost::identifier(seat.me)?, n, t, OldRng(rng))
        .map_err(|e| frost::fault(&e, 1, Disagreement::PublicKey))?;
    let mine = Commitment { package, entropy };
    let messages = Messages::each(seat.peers.iter().copied(), |_| Ok(&mine))?;
    Ok((Commitments { threshold, secret, mine }, messages))
}

impl<C: Suite> Commitments<C> {
    pub(super) fn step(self, seat: &Seat, bodies: &Bodies) -> Result<(Shares<C>, Messages), Fault> {
        let t = usize::from(self.threshold.t());
        let received = bodies.decode(|_, c: &Commitment<C>| {
            // A longer polynomial would raise the threshold of everyone's key (TOB-SILA-1).
            let degree = c.package.commitment().serialize().map_err(|_| BadMessage::Malformed)?.len();
            if degree == t { Ok(()) } else { Err(BadMessage::Malformed) }
        })?;
        let my_bytes = wire::encode(&self.mine)?;
        let by_party: BTreeMap<_, _> = bodies.raw().chain([(seat.me, my_bytes.as_slice())]).collect();
        let echo = echo(seat, 1, by_party);
        let chain_code = chain_code(seat, &received, &self.mine);
        let packages: BTreeMap<_, _> = received
            .into_iter()
            .map(|(from, c)| Ok((frost::identifier(from)?, c.package)))
            .collect::<Result<_, Fault>>()?;
        let (secret, outgoing) =
            dkg::part2(self.secret, &packages).map_err(|e| frost::fault(&e, 1, Disagreement::PublicKey))?;
        let messages = Messages::each(seat.peers.iter().copied(), |to| {
            let package = outgoing.get(&frost::identifier(to)?).ok_or(Fault::Bug { what: "no package for a peer" })?;
            Ok(Share { echo: echo.0, package: package.clone() })
        })?;
        Ok((Shares { threshold: self.threshold, secret, packages, chain_code, echo }, messages))
    }
}

impl<C: Suite> Shares<C> {
    pub(super) fn finish(self, seat: &Seat, bodies: &Bodies) -> Result<KeygenOutput, Fault> {
        let received = bodies.decode(|_, _: &Share<C>| Ok(()))?;
        if received.values().any(|share| share.echo != self.echo.0) {
            return Err(Fault::Mismatch { round: 2, what: Disagreement::Broadcast });
        }
        let shares: BTreeMap<_, _> = received
            .into_iter()
            .map(|(from, share)| Ok((frost::identifier(from)?, share.package)))
            .collect::<Result<_, Fault>>()?;
        let mismatch = |e| frost::fault(&e, 2, Disagreement::PublicKey);
        let (key, group) = dkg::part3(&self.secret, &self.packages, &shares).map_err(mismatch)?;
        let public_share = |party: PartyIndex| {
            let share = group.verifying_shares().get(&frost::identifier(party)?);
            share.ok_or(Fault::Bug { what: "no public share of a party" })?.serialize().map_err(mismatch)
        };
        let public = KeyPublic {
            scheme: C::SCHEME,
            threshold: self.threshold,
            public_key: group.verifying_key().serialize().map_err(mismatch)?,
            public_shares: self.threshold.parties().map(public_share).collect::<Result<_, _>>()?,
        };
        let share = KeyShare::new(seat.me, public, C::secret(key))?;
        Ok(output(seat, &[self.echo], share, self.chain_code))
    }
}

/// The chain code: a hash over the entropy of all. The last to speak could search for one it likes, which gains nothing:
/// a chain code is no secret, it only must not be another key's.
fn chain_code<C: Suite>(seat: &Seat, received: &BTreeMap<PartyIndex, Commitment<C>>, mine: &Commitment<C>) -> Digest {
    let all: BTreeMap<_, _> = received.iter().map(|(from, c)| (*from, c)).chain([(seat.me, mine)]).collect();
    let start = TaggedHash::new("tally/v1/chain-code").field(seat.session.as_bytes());
    all.into_iter().fold(start, |hash, (from, c)| hash.number(u64::from(from.get())).field(&c.entropy)).finish()
}
