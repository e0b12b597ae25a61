//! FROST round 2 and aggregation (RFC 9591, sections 5.2 and 5.3), under the child key.

use super::{Known as AnyKnown, Task};
use crate::fault::{BadMessage, Disagreement, Fault, Misuse};
use crate::frost::{self, Suite};
use crate::offline::frost::{CommitmentList, Material};
use crate::share::FrostShare;
use crate::signature::Signature;
use crate::wire;
use frost_core::SigningPackage;
use frost_core::keys::PublicKeyPackage;
use frost_core::round2::{self, SignatureShare};
use std::collections::BTreeMap;
use tally_domain::PartyIndex;

/// A signature share and the commitment list that it was made with: `context ‖ list ‖ share`. The list stays as it came,
/// because those of all partials are the same bytes.
struct Partial<'a> {
    context: &'a [u8; 32],
    list: &'a [u8],
    share: &'a [u8; 32],
}

/// The commitment list that this member signed with, and the key: what others' partials should be made with.
pub(crate) struct Known<C: Suite> {
    list: CommitmentList<C>,
    encoded: Vec<u8>,
    keys: PublicKeyPackage<C>,
}

impl<'a> Partial<'a> {
    fn read(task: &Task, from: PartyIndex, bytes: &'a [u8]) -> Result<Self, Fault> {
        let parts = |body: &'a [u8]| {
            let (context, rest) = body.split_first_chunk()?;
            let (list, share) = rest.split_last_chunk()?;
            Some(Self { context, list, share })
        };
        parts(task.open(from, bytes)?).ok_or(task.violation(from, BadMessage::Malformed))
    }

    fn read_list<C: Suite>(&self, task: &Task, from: PartyIndex) -> Result<CommitmentList<C>, Fault> {
        wire::decode(self.list).ok_or(task.violation(from, BadMessage::Malformed))
    }
}

pub(super) fn partial<C: Suite>(
    material: &Material<C>,
    secret: &FrostShare<C>,
    task: &Task,
) -> Result<(Vec<u8>, AnyKnown), Fault> {
    let package = frost::signing_share(secret.package(), &task.derived)?;
    // The library checks that our own commitments are in the list as they left us.
    let signing = SigningPackage::new(material.list.read()?, &task.input.message);
    let share = round2::sign(&signing, &material.nonces, &package)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Input))?;
    let encoded = wire::encode(&material.list)?.to_vec();
    let bytes = task.seal(&[&task.context.0, encoded.as_slice(), &share.serialize()].concat())?;
    let keys = secret.public(&task.key)?.clone();
    Ok((bytes, C::known(Known { list: material.list.clone(), encoded, keys })))
}

pub(super) fn check_form<C: Suite>(
    task: &Task,
    from: PartyIndex,
    bytes: &[u8],
    known: Option<&Known<C>>,
) -> Result<(), Fault> {
    let partial = Partial::read(task, from, bytes)?;
    match known {
        Some(known) if known.encoded == partial.list => Ok(()),
        _ => partial.read_list::<C>(task, from).map(drop),
    }
}

pub(super) fn combine<C: Suite>(
    task: &Task,
    partials: &BTreeMap<PartyIndex, Vec<u8>>,
    known: Option<&Known<C>>,
) -> Result<Signature, Fault> {
    let partials = partials.iter().map(|(from, bytes)| Ok((*from, Partial::read(task, *from, bytes)?)));
    let partials: BTreeMap<_, _> = partials.collect::<Result<_, Fault>>()?;
    let (from, first) = partials.iter().next().ok_or(Fault::caller(Misuse::NotAllOfS))?;
    let same = |p: &Partial<'_>| *p.context == task.context.0 && p.list == first.list;
    if !partials.values().all(same) {
        // Whoever made a partial for another input or list lies, but so may whoever made this one: nobody is blamed.
        return Err(task.mismatch(Disagreement::Input));
    }
    let (list, keys) = match known {
        Some(known) if known.encoded == first.list => (known.list.clone(), known.keys.clone()),
        _ => (first.read_list(task, *from)?, frost::public_keys(&task.key)?),
    };
    if !list.0.keys().copied().eq(task.signers.iter()) {
        return Err(task.mismatch(Disagreement::Input));
    }
    let mut shares = BTreeMap::new();
    for (party, partial) in &partials {
        let share = SignatureShare::deserialize(partial.share);
        let share = share.map_err(|_| task.violation(*party, BadMessage::Malformed))?;
        shares.insert(frost::identifier(*party)?, share);
    }
    let signing = SigningPackage::new(list.read()?, &task.input.message);
    let keys = frost::signing_public::<C>(keys, &task.derived)?;
    let signature = frost_core::aggregate(&signing, &shares, &keys)
        .map_err(|e| frost::fault(&e, task.round(), Disagreement::Signature))?;
    let bytes = signature.serialize().map_err(|_| task.mismatch(Disagreement::Signature))?;
    Ok(C::signature(bytes.try_into().map_err(|_| Fault::Bug { what: "length of a signature" })?))
}
