//! What passes for token domains.

use super::{Answer, Bytes, Carried};
use serde::{Deserialize, Serialize};
use tally_domain::SecretBytes;
use tally_domain::ports::hsm::{IndexKeyId, KekId, RowSeal, StrictKey, VaultKey};
use tally_domain::token::Fingerprint;

/// What a node asks for a token domain.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub enum VaultAsk<'a> {
    Create(WireKey),
    Replicate { key: WireKey, transfer: Bytes<'a> },
    Destroy(WireKey),
    Fingerprints { key: [u8; 16], inputs: Vec<Bytes<'a>> },
    CreateStrictKey { kek: [u8; 16] },
    RewrapStrictKey { key: WireStrict<'a>, to: [u8; 16] },
    SealRows { key: WireStrict<'a>, rows: Vec<(Bytes<'a>, Bytes<'a>)> },
    OpenRows { key: WireStrict<'a>, rows: Vec<(Bytes<'a>, Made<'a>)> },
    ForgetStrictKeys,
}

/// [`VaultKey`].
#[derive(Serialize, Deserialize)]
pub enum WireKey {
    Wrapping([u8; 16]),
    Index([u8; 16]),
}

/// [`StrictKey`], borrowed.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct WireStrict<'a> {
    kek: [u8; 16],
    wrapped: Bytes<'a>,
}

/// [`RowSeal`], borrowed.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Made<'a> {
    pub iv: [u8; 12],
    pub ciphertext: Bytes<'a>,
}

impl From<VaultKey> for WireKey {
    fn from(key: VaultKey) -> Self {
        match key {
            VaultKey::Wrapping(id) => Self::Wrapping(id.0),
            VaultKey::Index(id) => Self::Index(id.0),
        }
    }
}

impl From<WireKey> for VaultKey {
    fn from(key: WireKey) -> Self {
        match key {
            WireKey::Wrapping(id) => Self::Wrapping(KekId(id)),
            WireKey::Index(id) => Self::Index(IndexKeyId(id)),
        }
    }
}

impl<'a> From<&'a StrictKey> for WireStrict<'a> {
    fn from(key: &'a StrictKey) -> Self {
        Self { kek: key.kek.0, wrapped: Bytes(&key.wrapped) }
    }
}

impl From<WireStrict<'_>> for StrictKey {
    fn from(key: WireStrict<'_>) -> Self {
        Self { kek: KekId(key.kek), wrapped: key.wrapped.0.to_vec() }
    }
}

impl<'a> From<&'a RowSeal> for Made<'a> {
    fn from(seal: &'a RowSeal) -> Self {
        Self { iv: seal.iv, ciphertext: Bytes(&seal.ciphertext) }
    }
}

impl From<Made<'_>> for RowSeal {
    fn from(made: Made<'_>) -> Self {
        Self { iv: made.iv, ciphertext: made.ciphertext.0.to_vec() }
    }
}

/// A key under the transfer key, where there is one.
impl Carried for Option<Vec<u8>> {
    fn pack(&self) -> Answer<'_> {
        Answer::Transfer(self.as_deref().map(Bytes))
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Transfer(transfer) = answer else { return None };
        Some(transfer.map(|transfer| transfer.0.to_vec()))
    }
}

impl Carried for Vec<Fingerprint> {
    fn pack(&self) -> Answer<'_> {
        Answer::Fingerprints(self.iter().map(|fingerprint| fingerprint.0).collect())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Fingerprints(all) = answer else { return None };
        Some(all.into_iter().map(Fingerprint).collect())
    }
}

impl Carried for Vec<RowSeal> {
    fn pack(&self) -> Answer<'_> {
        Answer::Sealed(self.iter().map(Made::from).collect())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Sealed(rows) = answer else { return None };
        Some(rows.into_iter().map(RowSeal::from).collect())
    }
}

impl Carried for Vec<Option<SecretBytes>> {
    fn pack(&self) -> Answer<'_> {
        Answer::Opened(self.iter().map(|row| row.as_ref().map(|row| Bytes(row.expose()))).collect())
    }
    fn unpack(answer: Answer<'_>) -> Option<Self> {
        let Answer::Opened(rows) = answer else { return None };
        Some(rows.into_iter().map(|row| row.map(|row| SecretBytes::new(row.0.to_vec()))).collect())
    }
}
