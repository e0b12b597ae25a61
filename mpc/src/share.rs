//! A node's share of a key: the secret, and the public data to use it with.

use crate::derive;
use crate::fault::{Fault, Misuse};
use crate::frost::{self, Ed25519, Suite, Taproot};
use crate::wire;
use dkls23_core::protocols::Party;
use frost_core::keys::{KeyPackage, PublicKeyPackage, VerifyingShare};
use k256::{ProjectivePoint, PublicKey, Secp256k1};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use tally_domain::key::KeyRecord;
use tally_domain::{Digest, PartyIndex, Scheme, SecretBytes, Threshold};

/// First byte of a stored share.
const VERSION: u8 = 1;

/// A node's share. Borrowed for every use and never copied: it has no `Clone`, `Debug`, `Serialize` or `PartialEq`, and
/// both kinds of secret inside are zeroed when dropped.
pub struct KeyShare {
    me: PartyIndex,
    public: KeyPublic,
    secret: Secret,
}

/// The scheme's own secret data. Boxed, so that moving a share leaves no copies of it on the stack.
pub(crate) enum Secret {
    /// Polynomial share, zero-share seeds and pairwise OT state; 50 KB for each other party.
    Dkls(Box<Party<Secp256k1>>),
    /// Polynomial share, as the next one is.
    Ed25519(Box<FrostShare<Ed25519>>),
    Taproot(Box<FrostShare<Taproot>>),
}

/// A share of FROST, and beside it what all know of the key, read once: each point of it costs a multiplication to read.
pub(crate) struct FrostShare<C: Suite> {
    package: KeyPackage<C>,
    public: OnceLock<PublicKeyPackage<C>>,
}

impl<C: Suite> FrostShare<C> {
    pub(crate) fn new(package: KeyPackage<C>) -> Self {
        Self { package, public: OnceLock::new() }
    }

    pub(crate) fn package(&self) -> &KeyPackage<C> {
        &self.package
    }

    /// What all know of the key that this is a share of.
    pub(crate) fn public(&self, key: &KeyPublic) -> Result<&PublicKeyPackage<C>, Fault> {
        match self.public.get() {
            Some(public) => Ok(public),
            None => frost::public_keys(key).map(|public| self.public.get_or_init(|| public)),
        }
    }
}

/// What all nodes know about a key, as far as signing needs it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyPublic {
    pub(crate) scheme: Scheme,
    pub(crate) threshold: Threshold,
    pub(crate) public_key: Vec<u8>,
    pub(crate) public_shares: Vec<Vec<u8>>,
}

/// The public part of a stored share.
#[derive(Serialize, Deserialize)]
struct Stored {
    me: PartyIndex,
    t: u8,
    n: u8,
    public_key: Vec<u8>,
    public_shares: Vec<Vec<u8>>,
}

impl KeyPublic {
    pub(crate) fn of_record(record: &KeyRecord) -> Self {
        Self {
            scheme: record.scheme,
            threshold: record.threshold,
            public_key: record.public_key.clone(),
            public_shares: record.public_shares.clone(),
        }
    }

    /// A party's public share.
    pub(crate) fn share_of(&self, party: PartyIndex) -> Option<&[u8]> {
        self.public_shares.get(usize::from(party.get()) - 1).map(Vec::as_slice)
    }
}

impl KeyShare {
    /// A share that has just been made or read; refuses one that is not consistent in itself.
    pub(crate) fn new(me: PartyIndex, public: KeyPublic, secret: Secret) -> Result<Self, Fault> {
        let share = Self { me, public, secret };
        if share.is_consistent() { Ok(share) } else { Err(Fault::caller(Misuse::BadShare)) }
    }

    /// Whose share it is.
    pub fn party(&self) -> PartyIndex {
        self.me
    }

    /// The key's scheme.
    pub fn scheme(&self) -> Scheme {
        self.public.scheme
    }

    /// Signers and share-holders of the key.
    pub fn threshold(&self) -> Threshold {
        self.public.threshold
    }

    /// The key's public key.
    pub fn public_key(&self) -> &[u8] {
        &self.public.public_key
    }

    /// Whether this is the share that the record says party `me` holds: the secret times the generator is that party's
    /// public share, and all else is the same (S-4.1). Checked whenever a share is unsealed, before it is used.
    #[must_use]
    pub fn matches(&self, record: &KeyRecord, me: PartyIndex) -> bool {
        let chain_code = match &self.secret {
            Secret::Dkls(party) => Digest(*party.chain_code()) == record.chain_code,
            // FROST knows of none: it lives in the record alone, which all have signed.
            Secret::Ed25519(_) | Secret::Taproot(_) => true,
        };
        self.me == me && self.public == KeyPublic::of_record(record) && chain_code && self.is_consistent()
    }

    /// The share as bytes to be sealed: version, scheme, public part, secret part.
    ///
    /// # Errors
    /// [`Fault::Bug`] when the library cannot encode its own data.
    pub fn to_bytes(&self) -> Result<SecretBytes, Fault> {
        let stored = Stored {
            me: self.me,
            t: self.public.threshold.t(),
            n: self.public.threshold.n(),
            public_key: self.public.public_key.clone(),
            public_shares: self.public.public_shares.clone(),
        };
        let scheme = self.public.scheme.number();
        let mut bytes = match &self.secret {
            Secret::Dkls(party) => wire::encode(&(VERSION, scheme, &stored, party.as_ref())),
            Secret::Ed25519(share) => wire::encode(&(VERSION, scheme, &stored, share.package())),
            Secret::Taproot(share) => wire::encode(&(VERSION, scheme, &stored, share.package())),
        }?;
        Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
    }

    /// Reads a share back. The bytes come out of the HSM's seal, so that anything but a share means tampering or a bug.
    ///
    /// # Errors
    /// [`Misuse::BadShare`].
    pub fn from_bytes(bytes: &SecretBytes) -> Result<Self, Fault> {
        let bad = Fault::caller(Misuse::BadShare);
        let scheme = match bytes.expose() {
            [VERSION, scheme, ..] => Scheme::from_number(u32::from(*scheme)).ok_or(bad)?,
            _ => return Err(bad),
        };
        let (stored, secret) = match scheme {
            Scheme::EcdsaSecp256k1 => read(bytes, |party| Secret::Dkls(Box::new(party))),
            Scheme::Ed25519 => read(bytes, Ed25519::secret),
            Scheme::Taproot => read(bytes, Taproot::secret),
        }
        .ok_or(bad)?;
        let threshold = Threshold::new(u32::from(stored.t), u32::from(stored.n)).map_err(|_| bad)?;
        let Stored { me, public_key, public_shares, .. } = stored;
        Self::new(me, KeyPublic { scheme, threshold, public_key, public_shares }, secret)
    }

    pub(crate) fn public(&self) -> &KeyPublic {
        &self.public
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    fn is_consistent(&self) -> bool {
        let KeyPublic { threshold, public_key, public_shares, .. } = &self.public;
        if self.me.get() > threshold.n() || public_shares.len() != usize::from(threshold.n()) {
            return false;
        }
        let inside = match &self.secret {
            Secret::Dkls(party) => is_complete(party, self.me, *threshold, public_key),
            Secret::Ed25519(share) => is_of(share.package(), self.me, *threshold, public_key),
            Secret::Taproot(share) => is_of(share.package(), self.me, *threshold, public_key),
        };
        inside && self.own_public_share().as_deref() == self.public.share_of(self.me)
    }

    /// The secret share times the generator.
    fn own_public_share(&self) -> Option<Vec<u8>> {
        match &self.secret {
            Secret::Dkls(party) => {
                let point = ProjectivePoint::GENERATOR * party.poly_point;
                PublicKey::from_affine(point.to_affine()).ok().map(|key| derive::encode(&key))
            }
            Secret::Ed25519(share) => VerifyingShare::from(*share.package().signing_share()).serialize().ok(),
            Secret::Taproot(share) => VerifyingShare::from(*share.package().signing_share()).serialize().ok(),
        }
    }
}

fn read<S: Serialize + DeserializeOwned>(
    bytes: &SecretBytes,
    secret: impl Fn(S) -> Secret,
) -> Option<(Stored, Secret)> {
    let (_, _, stored, inner) = wire::decode::<(u8, u32, Stored, S)>(bytes.expose())?;
    Some((stored, secret(inner)))
}

/// Whether the library's package is that party's of the key.
fn is_of<C: Suite>(package: &KeyPackage<C>, me: PartyIndex, threshold: Threshold, public_key: &[u8]) -> bool {
    let same_key = package.verifying_key().serialize().is_ok_and(|key| key == *public_key);
    let same_party = frost::identifier(me).is_ok_and(|id| id == *package.identifier());
    same_key && same_party && *package.min_signers() == u16::from(threshold.t())
}

/// Whether the library's party is whole: it takes its own state on trust and panics or blames peers where it is not.
fn is_complete(party: &Party<Secp256k1>, me: PartyIndex, threshold: Threshold, public_key: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_affine(party.pk) else { return false };
    let others: Vec<u8> = threshold.parties().filter(|p| *p != me).map(PartyIndex::get).collect();
    let senders = party.mul_senders.keys().map(|p| p.as_u8());
    let receivers = party.mul_receivers.keys().map(|p| p.as_u8());
    let seeds = party.zero_share.seeds.iter().map(|seed| seed.index_counterparty.as_u8());
    party.party_index.as_u8() == me.get()
        && (party.parameters.threshold, party.parameters.share_count) == (threshold.t(), threshold.n())
        && derive::encode(&key) == public_key
        && party.derivation_data.pk == party.pk
        && party.derivation_data.poly_point == party.poly_point
        && senders.eq(others.iter().copied())
        && receivers.eq(others.iter().copied())
        && seeds.eq(others.iter().copied())
        && party.mul_senders.values().all(|sender| sender.check_state().is_ok())
        && party.mul_receivers.values().all(|receiver| receiver.check_state(None).is_ok())
}
