//! FROST round 2 and aggregation (RFC 9591, sections 5.2 and 5.3), under the child key.

use super::Task;
use crate::fault::{BadMessage, Disagreement, Fault, Misuse};
use crate::frost::{self, Suite};
use crate::offline::frost::{CommitmentList, Material};
use crate::signature::Signature;
use frost_core::SigningPackage;
use frost_core::keys::KeyPackage;
use frost_core::round2::{self, SignatureShare};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;

/// A signature share and the commitment list that it was made with.
#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Suite")]
pub(super) struct Partial<C: Suite> {
    context: [u8; 32],
    list: CommitmentList<C>,
    share: [u8; 32],
}

pub(super) fn partial<C: Suite>(
    material: &Material<C>,
    package: &KeyPackage<C>,
    task: &Task,
) -> Result<Vec<u8>, Fault> {
    let package = frost::signing_share(package, &task.derived)?;
    // The library checks that our own commitments are in the list as they left us.
    let signing = SigningPackage::new(material.list.read()?, &task.input.message);
    let share = round2::sign(&signing, &material.nonces, &package)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Input))?;
    let share = share.serialize().try_into().map_err(|_| Fault::Bug { what: "length of a scalar" })?;
    task.write(&Partial { context: task.context.0, list: material.list.clone(), share })
}

pub(super) fn combine<C: Suite>(task: &Task, partials: &BTreeMap<PartyIndex, Partial<C>>) -> Result<Signature, Fault> {
    let first = partials.values().next().ok_or(Fault::caller(Misuse::NotAllOfS))?;
    let same = |p: &Partial<C>| p.context == task.context.0 && p.list == first.list;
    if !partials.values().all(same) || !first.list.0.keys().copied().eq(task.signers.iter()) {
        // Whoever made a partial for another input or list lies, but so may whoever made this one: nobody is blamed.
        return Err(task.mismatch(Disagreement::Input));
    }
    let mut shares = BTreeMap::new();
    for (party, partial) in partials {
        let share = SignatureShare::deserialize(&partial.share);
        let share = share.map_err(|_| task.violation(*party, BadMessage::Malformed))?;
        shares.insert(frost::identifier(*party)?, share);
    }
    let signing = SigningPackage::new(first.list.read()?, &task.input.message);
    let keys = frost::signing_public::<C>(frost::public_keys(&task.key)?, &task.derived)?;
    let signature = frost_core::aggregate(&signing, &shares, &keys)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Signature))?;
    let bytes = signature.serialize().map_err(|_| task.mismatch(Disagreement::Signature))?;
    Ok(C::signature(bytes.try_into().map_err(|_| Fault::Bug { what: "length of a signature" })?))
}
