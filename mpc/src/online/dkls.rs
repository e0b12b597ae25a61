//! The online round of DKLs23 with a re-randomised presignature (ePrint 2021/1330): `R' = R + delta*G`, `u' = u + delta*phi`,
//! `v' = v + tweak*phi`, `w' = m*phi + x(R')*v'`, and `s = sum(w') / sum(u')`.
//!
//! Without delta, presignatures with additive derivation admit a cube-root attack (RUSTSEC-2025-0127), and one with a chosen
//! digest a forgery. Re-randomising does not make a second use safe: nothing does.

use super::Task;
use crate::fault::{Disagreement, Fault, Misuse};
use crate::offline::dkls::Material;
use crate::signature::Signature;
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::group::GroupEncoding as _;
use k256::elliptic_curve::ops::Reduce as _;
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::elliptic_curve::scalar::IsHigh as _;
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::digest::TaggedHash;
use tally_domain::{Digest, PartyIndex};
use zeroize::Zeroizing;

/// Shares of numerator and denominator of s, and the point that they are for.
#[derive(Serialize, Deserialize)]
pub(super) struct Partial {
    context: [u8; 32],
    big_r: AffinePoint,
    w: Scalar,
    u: Scalar,
}

pub(super) fn partial(material: &Material, task: &Task, binding: &Digest) -> Result<Vec<u8>, Fault> {
    let delta = delta(material, task, binding);
    let big_r = (ProjectivePoint::from(material.big_r) + ProjectivePoint::GENERATOR * delta).to_affine();
    let r = Scalar::reduce(&big_r.x());
    // Each has probability 2^-256, and each would spoil the signature.
    if bool::from(delta.is_zero()) || bool::from(r.is_zero()) || big_r == AffinePoint::IDENTITY {
        return Err(task.mismatch(Disagreement::Input));
    }
    let tweak = Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(task.derived.tweak)))
        .ok_or(Fault::Bug { what: "tweak not below the order" })?;
    let v = Zeroizing::new(material.v + tweak * material.phi);
    let w = digest_scalar(task)? * material.phi + r * *v;
    let u = material.u + delta * material.phi;
    task.seal(&crate::wire::encode(&Partial { context: task.context.0, big_r, w, u })?)
}

pub(super) fn combine(task: &Task, partials: &BTreeMap<PartyIndex, Vec<u8>>) -> Result<Signature, Fault> {
    let partials = partials.iter().map(|(from, bytes)| Ok((*from, task.read(*from, bytes)?)));
    let partials: BTreeMap<PartyIndex, Partial> = partials.collect::<Result<_, Fault>>()?;
    let big_r = partials.values().next().ok_or(Fault::caller(Misuse::NotAllOfS))?.big_r;
    if partials.values().any(|p| p.context != task.context.0 || p.big_r != big_r) {
        return Err(task.mismatch(Disagreement::Input));
    }
    let numerator = partials.values().fold(Scalar::ZERO, |sum, p| sum + p.w);
    let denominator = partials.values().fold(Scalar::ZERO, |sum, p| sum + p.u);
    let inverse = Option::<Scalar>::from(denominator.invert()).ok_or(task.mismatch(Disagreement::Signature))?;
    let s = numerator * inverse;
    let x = big_r.x();
    let r = Scalar::reduce(&x).to_repr();
    // Taking -s for s turns R into -R, whose y has the other parity.
    let flipped = bool::from(s.is_high());
    let odd = bool::from(big_r.y_is_odd()) != flipped;
    let recovery_id = u8::from(odd) | u8::from(r != x) << 1;
    let s = if flipped { -s } else { s };
    Ok(Signature::Ecdsa { r: r.into(), s: s.to_repr().into(), recovery_id })
}

/// The shift of R: fixed by everything that the signature is about, and by entropy that came after it (S-3.11). Every
/// signer computes it itself.
fn delta(material: &Material, task: &Task, binding: &Digest) -> Scalar {
    let hash = TaggedHash::new("tally/v1/rerandomise")
        .field(binding.as_bytes())
        .field(&material.big_r.to_bytes())
        .field(&task.derived.public_key)
        .field(&task.derived.tweak)
        .field(&task.input.message)
        .field(&task.signers.to_bytes())
        .field(task.input.entropy.as_bytes())
        .finish();
    // The order is within 2^-127 of 2^256, so reducing is uniform enough.
    Scalar::reduce(&FieldBytes::from(hash.0))
}

fn digest_scalar(task: &Task) -> Result<Scalar, Fault> {
    let digest: [u8; 32] = task.input.message.as_slice().try_into().map_err(|_| Fault::caller(Misuse::DigestLength))?;
    Ok(Scalar::reduce(&FieldBytes::from(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::online::SignInput;
    use crate::share::KeyPublic;
    use tally_domain::{DerivationPath, Scheme, SignerSet, Threshold};

    fn task(members: [u8; 2], message: u8, path: &str, entropy: u8) -> Task {
        let threshold = Threshold::new(2, 3).unwrap();
        let public_key = AffinePoint::GENERATOR.to_bytes().to_vec();
        let key = KeyPublic { scheme: Scheme::EcdsaSecp256k1, threshold, public_key, public_shares: Vec::new() };
        let signers = SignerSet::new(threshold, &members.map(|i| PartyIndex::new(i).unwrap())).unwrap();
        let path = DerivationPath::parse(path).unwrap();
        let input = SignInput { message: vec![message; 32], path, merkle_root: None, entropy: Digest([entropy; 32]) };
        Task::new(key, Digest([7; 32]), signers, input).unwrap()
    }

    #[test]
    fn s_3_11_everything_the_signature_is_about_moves_r() {
        let material = |point: ProjectivePoint| Material {
            big_r: point.to_affine(),
            phi: Scalar::ONE,
            u: Scalar::ONE,
            v: Scalar::ONE,
        };
        let (one, two) = (material(ProjectivePoint::GENERATOR), material(ProjectivePoint::GENERATOR.double()));
        let (bound, other) = (Digest([1; 32]), Digest([2; 32]));
        let base = || task([1, 2], 1, "m", 1);
        let deltas = [
            delta(&one, &base(), &bound),
            delta(&two, &base(), &bound),
            delta(&one, &base(), &other),
            delta(&one, &task([1, 3], 1, "m", 1), &bound),
            delta(&one, &task([1, 2], 2, "m", 1), &bound),
            delta(&one, &task([1, 2], 1, "m/0", 1), &bound),
            delta(&one, &task([1, 2], 1, "m", 2), &bound),
        ];
        let distinct: std::collections::BTreeSet<_> = deltas.iter().map(|d| d.to_repr()).collect();
        assert_eq!(distinct.len(), deltas.len());
        assert_eq!(delta(&one, &base(), &bound), deltas[0]);
    }
}
