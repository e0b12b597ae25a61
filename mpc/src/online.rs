//! The one online message: partial signatures, and putting them together. A partial says all that combining needs, so any
//! node can combine stored ones after a crash.

mod dkls;
pub(crate) mod frost;

use crate::derive::{Derived, derive_output};
use crate::fault::{BadMessage, Disagreement, Fault, Misuse};
use crate::frost::{Ed25519, Taproot};
use crate::offline::{Material, Presignature};
use crate::share::{KeyPublic, KeyShare, Secret};
use crate::signature::{Signature, verify};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use tally_domain::digest::TaggedHash;
use tally_domain::key::KeyRecord;
use tally_domain::{DerivationPath, Digest, PartyIndex, Scheme, SignerSet};

/// Longest partial: FROST's list of 16 signers' commitments takes 1.1 KiB.
pub const PARTIAL_MAX_BYTES: usize = 2 * 1024;

/// First byte of a partial.
const VERSION: u8 = 1;

/// What is signed, fixed by the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInput {
    /// Ed25519: the message. ECDSA and Taproot: its 32-byte digest.
    pub message: Vec<u8>,
    /// Path of the signing key below the root.
    pub path: DerivationPath,
    /// Taproot: the scripts that the output commits to, if any.
    pub merkle_root: Option<Digest>,
    /// Public, and not known to anyone before the digest was fixed: hash of the votes' signatures, say (S-3.11). Whoever
    /// could choose it knowing R could forge.
    pub entropy: Digest,
}

/// Computes this node's partial signature. The presignature is gone afterwards, whatever comes of it.
///
/// # Security
/// The caller has a certificate that binds [`Presignature::binding`] to this input, and writes the bytes down, durably,
/// before they leave (S-3.3).
///
/// # Errors
/// [`Fault::Caller`] when share, presignature and input do not belong together.
pub fn partial(
    presignature: Presignature,
    share: &KeyShare,
    chain_code: &Digest,
    input: &SignInput,
) -> Result<(Combiner, Vec<u8>), Fault> {
    if share.party() != presignature.me || share.public_key() != presignature.key {
        return Err(Fault::caller(Misuse::OtherKey));
    }
    let task = Task::new(share.public().clone(), *chain_code, presignature.signers.clone(), input.clone())?;
    let (bytes, known) = match (&presignature.material, share.secret()) {
        (Material::Dkls(material), Secret::Dkls(_)) => {
            dkls::partial(material, &task, &presignature.binding).map(|bytes| (bytes, Known::Nothing))
        }
        (Material::Ed25519(material), Secret::Ed25519(secret)) => frost::partial(material, secret, &task),
        (Material::Taproot(material), Secret::Taproot(secret)) => frost::partial(material, secret, &task),
        (Material::Dkls(_), Secret::Ed25519(_) | Secret::Taproot(_))
        | (Material::Ed25519(_), Secret::Dkls(_) | Secret::Taproot(_))
        | (Material::Taproot(_), Secret::Dkls(_) | Secret::Ed25519(_)) => {
            Err(Fault::Bug { what: "scheme of the share" })
        }
    }?;
    let partials = BTreeMap::from([(share.party(), bytes.clone())]);
    Ok((Combiner { task, known, partials }, bytes))
}

/// Collects the partials of one signature. Public data only.
pub struct Combiner {
    task: Task,
    known: Known,
    partials: BTreeMap<PartyIndex, Vec<u8>>,
}

impl Combiner {
    /// Takes a partial that the channel says is from `from`; gives the signature when it was the last one missing.
    ///
    /// # Errors
    /// [`Fault`], as [`combine`]; a partial that cannot be read or came before is refused and the others stay.
    pub fn add(&mut self, from: PartyIndex, bytes: &[u8]) -> Result<Option<Signature>, Fault> {
        if !self.task.signers.contains(from) {
            return Err(Fault::caller(Misuse::NotAMember(from)));
        }
        self.task.check_form(from, bytes, &self.known)?;
        if self.partials.contains_key(&from) {
            return Err(self.task.violation(from, BadMessage::Duplicate));
        }
        self.partials.insert(from, bytes.to_vec());
        if self.partials.len() < self.task.signers.len() {
            Ok(None)
        } else {
            self.task.combine(&self.partials, &self.known).map(Some)
        }
    }

    /// Whose partial is missing.
    pub fn missing(&self) -> Vec<PartyIndex> {
        self.task.signers.iter().filter(|p| !self.partials.contains_key(p)).collect()
    }
}

/// Puts partials together from public data, and verifies the result under the derived key.
///
/// Each partial must be known to come from its party (over the channel, or with that party's statement): FROST names the
/// party whose partial does not verify, and the caller bans it.
///
/// # Errors
/// [`Misuse::NotAllOfS`] when partials are missing or too many; [`Fault::Violation`] for one that cannot be read;
/// [`Fault::Malicious`] for a FROST partial that does not verify; [`Fault::Mismatch`] where nobody can be blamed.
pub fn combine(
    partials: &BTreeMap<PartyIndex, Vec<u8>>,
    record: &KeyRecord,
    signers: &SignerSet,
    input: &SignInput,
) -> Result<Signature, Fault> {
    let task = Task::new(KeyPublic::of_record(record), record.chain_code, signers.clone(), input.clone())?;
    for (from, bytes) in partials {
        task.check_form(*from, bytes, &Known::Nothing)?;
    }
    task.combine(partials, &Known::Nothing)
}

/// What a member has read already of what is in every partial: a point costs a multiplication to read.
pub(crate) enum Known {
    Nothing,
    Ed25519(Box<frost::Known<Ed25519>>),
    Taproot(Box<frost::Known<Taproot>>),
}

/// What is to be signed, by whom, with which key: all public.
pub(crate) struct Task {
    key: KeyPublic,
    signers: SignerSet,
    input: SignInput,
    derived: Derived,
    /// Hash of all that; in every partial, so that one made for something else is told from a bad one.
    context: Digest,
}

impl Task {
    fn new(key: KeyPublic, chain_code: Digest, signers: SignerSet, input: SignInput) -> Result<Self, Fault> {
        let members: Vec<_> = signers.iter().collect();
        if SignerSet::new(key.threshold, &members).is_err() {
            return Err(Fault::caller(Misuse::OtherKey));
        }
        if key.scheme != Scheme::Ed25519 && input.message.len() != 32 {
            return Err(Fault::caller(Misuse::DigestLength));
        }
        let derived = derive_output(key.scheme, &key.public_key, &chain_code, &input.path, input.merkle_root)?;
        let context = TaggedHash::new("tally/v1/partial")
            .number(u64::from(key.scheme.number()))
            .field(&key.public_key)
            .field(chain_code.as_bytes())
            .field(&signers.to_bytes())
            .field(&input.message)
            .field(&input.path.to_bytes())
            .field(input.entropy.as_bytes());
        let context = input.merkle_root.iter().fold(context, |hash, root| hash.field(root.as_bytes())).finish();
        Ok(Self { key, signers, input, derived, context })
    }

    /// The online round follows the offline ones; for faults only.
    fn round(&self) -> u8 {
        match self.key.scheme {
            Scheme::EcdsaSecp256k1 => 3,
            Scheme::Ed25519 | Scheme::Taproot => 2,
        }
    }

    fn violation(&self, culprit: PartyIndex, what: BadMessage) -> Fault {
        Fault::Violation { culprit, round: self.round(), what }
    }

    fn mismatch(&self, what: Disagreement) -> Fault {
        Fault::Mismatch { round: self.round(), what }
    }

    /// Whether a partial can be read at all.
    fn check_form(&self, from: PartyIndex, bytes: &[u8], known: &Known) -> Result<(), Fault> {
        match (self.key.scheme, known) {
            (Scheme::EcdsaSecp256k1, _) => self.read::<dkls::Partial>(from, bytes).map(drop),
            (Scheme::Ed25519, Known::Ed25519(known)) => frost::check_form(self, from, bytes, Some(known)),
            (Scheme::Ed25519, _) => frost::check_form::<Ed25519>(self, from, bytes, None),
            (Scheme::Taproot, Known::Taproot(known)) => frost::check_form(self, from, bytes, Some(known)),
            (Scheme::Taproot, _) => frost::check_form::<Taproot>(self, from, bytes, None),
        }
    }

    fn header(&self) -> Result<Vec<u8>, Fault> {
        Ok(crate::wire::encode(&(VERSION, self.key.scheme.number()))?.to_vec())
    }

    /// A partial: version, scheme, and what the scheme has to say.
    fn seal(&self, body: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok([&self.header()?, body].concat())
    }

    fn open<'a>(&self, from: PartyIndex, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let header = self.header()?;
        if bytes.len() > PARTIAL_MAX_BYTES {
            Err(self.violation(from, BadMessage::Oversized))
        } else if bytes.len() < header.len() {
            Err(self.violation(from, BadMessage::Malformed))
        } else {
            bytes.strip_prefix(header.as_slice()).ok_or(self.violation(from, BadMessage::Version))
        }
    }

    fn read<P: Serialize + DeserializeOwned>(&self, from: PartyIndex, bytes: &[u8]) -> Result<P, Fault> {
        crate::wire::decode(self.open(from, bytes)?).ok_or(self.violation(from, BadMessage::Malformed))
    }

    fn combine(&self, partials: &BTreeMap<PartyIndex, Vec<u8>>, known: &Known) -> Result<Signature, Fault> {
        if !partials.keys().copied().eq(self.signers.iter()) {
            return Err(Fault::caller(Misuse::NotAllOfS));
        }
        let signature = match (self.key.scheme, known) {
            (Scheme::EcdsaSecp256k1, _) => dkls::combine(self, partials),
            (Scheme::Ed25519, Known::Ed25519(known)) => frost::combine(self, partials, Some(known)),
            (Scheme::Ed25519, _) => frost::combine::<Ed25519>(self, partials, None),
            (Scheme::Taproot, Known::Taproot(known)) => frost::combine(self, partials, Some(known)),
            (Scheme::Taproot, _) => frost::combine::<Taproot>(self, partials, None),
        }?;
        if verify(self.key.scheme, &self.derived.public_key, &self.input.message, &signature) {
            Ok(signature)
        } else {
            Err(self.mismatch(Disagreement::Signature))
        }
    }
}
