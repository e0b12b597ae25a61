//! FROST round 2 and aggregation (RFC 9591, sections 5.2 and 5.3).

use super::Task;
use crate::fault::{BadMessage, Disagreement, Fault, Misuse};
use crate::frost;
use crate::offline::frost::{CommitmentList, Material};
use crate::signature::Signature;
use frost_ed25519::keys::{KeyPackage, PublicKeyPackage, VerifyingShare};
use frost_ed25519::round2::{self, SignatureShare};
use frost_ed25519::{SigningPackage, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;

/// A signature share and the commitment list that it was made with.
#[derive(Serialize, Deserialize)]
pub(super) struct Partial {
    context: [u8; 32],
    list: CommitmentList,
    share: [u8; 32],
}

pub(super) fn partial(material: &Material, package: &KeyPackage, task: &Task) -> Result<Vec<u8>, Fault> {
    let commitments = material.list.read().ok_or(Fault::Bug { what: "own commitment list" })?;
    // The library checks that our own commitments are in the list as they left us.
    let signing = SigningPackage::new(commitments, &task.input.message);
    let share = round2::sign(&signing, &material.nonces, package)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Input))?;
    let share = share.serialize().try_into().map_err(|_| Fault::Bug { what: "length of a scalar" })?;
    task.write(&Partial { context: task.context.0, list: material.list.clone(), share })
}

pub(super) fn combine(task: &Task, partials: &BTreeMap<PartyIndex, Partial>) -> Result<Signature, Fault> {
    let first = partials.values().next().ok_or(Fault::caller(Misuse::NotAllOfS))?;
    let same = |p: &Partial| p.context == task.context.0 && p.list == first.list;
    if !partials.values().all(same) || !first.list.0.keys().copied().eq(task.signers.iter()) {
        // Whoever made a partial for another input or list lies, but so may whoever made this one: nobody is blamed.
        return Err(task.mismatch(Disagreement::Input));
    }
    let commitments = first.list.read().ok_or(task.mismatch(Disagreement::Input))?;
    let mut shares = BTreeMap::new();
    for (party, partial) in partials {
        let share = SignatureShare::deserialize(&partial.share);
        let share = share.map_err(|_| task.violation(*party, BadMessage::Malformed))?;
        shares.insert(frost::identifier(*party)?, share);
    }
    let signing = SigningPackage::new(commitments, &task.input.message);
    let signature = frost_ed25519::aggregate(&signing, &shares, &public_key_package(task)?)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Signature))?;
    let bytes = signature.serialize().map_err(|_| task.mismatch(Disagreement::Signature))?;
    Ok(Signature::Ed25519(bytes.try_into().map_err(|_| Fault::Bug { what: "length of a signature" })?))
}

fn public_key_package(task: &Task) -> Result<PublicKeyPackage, Fault> {
    let bad = |_| Fault::caller(Misuse::BadPublicKey);
    let mut shares = BTreeMap::new();
    for party in task.key.threshold.parties() {
        let bytes = task.key.share_of(party).ok_or(Fault::caller(Misuse::BadPublicKey))?;
        shares.insert(frost::identifier(party)?, VerifyingShare::deserialize(bytes).map_err(bad)?);
    }
    let key = VerifyingKey::deserialize(&task.key.public_key).map_err(bad)?;
    Ok(PublicKeyPackage::new(shares, key, Some(u16::from(task.key.threshold.t()))))
}
