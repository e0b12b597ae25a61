//! What passes while two tokens are made a pair, or compared. Keys are wrapped; nothing here is secret.

use super::{Answer, Bytes, Carried};
use crate::desk::Proof;
use crate::iv::IV_BYTES;
use crate::pairing::Met;
use serde::{Deserialize, Serialize};
use tally_domain::dsse::VerifyingKey;

/// What a node asks of one of the two: a [`crate::pairing::Partner`]'s deeds.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub enum Part<'a> {
    Transport,
    Bear { one: Bytes<'a>, other: Bytes<'a> },
    Take { wrapped: Bytes<'a> },
    Forget,
    Prove,
    MustOpen(WireProof<'a>),
}

/// [`Proof`], borrowed.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct WireProof<'a> {
    wrapped: Bytes<'a>,
    iv: [u8; IV_BYTES],
    sealed: Bytes<'a>,
}

/// [`Met`].
#[derive(Serialize, Deserialize)]
pub struct WireMet {
    label: String,
    serial: String,
    manufacturer: String,
    identity: String,
    is_paired: bool,
}

impl<'a> From<&'a Proof> for WireProof<'a> {
    fn from(proof: &'a Proof) -> Self {
        Self { wrapped: Bytes(&proof.wrapped), iv: proof.iv, sealed: Bytes(&proof.sealed) }
    }
}

impl From<WireProof<'_>> for Proof {
    fn from(proof: WireProof<'_>) -> Self {
        Self { wrapped: proof.wrapped.0.to_vec(), iv: proof.iv, sealed: proof.sealed.0.to_vec() }
    }
}

impl Carried for Proof {
    fn pack(&self) -> Answer<'_> {
        Answer::Proof(self.into())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Proof(proof) = answer { Some(proof.into()) } else { None }
    }
}

impl Carried for [Vec<u8>; 2] {
    fn pack(&self) -> Answer<'_> {
        let [one, other] = self;
        Answer::Two(Bytes(one), Bytes(other))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        if let Answer::Two(one, other) = answer { Some([one, other].map(|bytes| bytes.0.to_vec())) } else { None }
    }
}

impl Carried for Met {
    fn pack(&self) -> Answer<'_> {
        Answer::Met(Box::new(WireMet {
            label: self.label.clone(),
            serial: self.serial.clone(),
            manufacturer: self.manufacturer.clone(),
            identity: self.identity.to_string(),
            is_paired: self.is_paired,
        }))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Met(met) = answer else { return None };
        let WireMet { label, serial, manufacturer, identity, is_paired } = *met;
        Some(Self { label, serial, manufacturer, identity: VerifyingKey::parse(&identity).ok()?, is_paired })
    }
}
