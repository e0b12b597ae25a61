//! What nodes answer, as types of ours. Wire types end here.

mod node;
mod request;

pub use node::{ActiveRule, BanInfo, HsmInfo, LatencyInfo, NodeInfo, PeerInfo, PolicyInfo};
pub(crate) use node::{node, policy};
pub use request::{RequestInfo, RequestPage, RequestState, Signed};
pub(crate) use request::{page, request, signed};

use tally_domain::{Epoch, KeyName, NodeName, Purpose, Scheme, Threshold};
use tally_proto::v1;

/// The field of an answer that is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadField(pub(crate) &'static str);

/// What a key is, as one node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: KeyName,
    /// Its scheme.
    pub scheme: Scheme,
    /// Its one purpose.
    pub purpose: Purpose,
    /// Signers and share-holders.
    pub threshold: Threshold,
    /// Generation of the shares.
    pub epoch: Epoch,
    /// `pending` or `active`; later versions have more words.
    pub state: String,
    /// Share-holders in the order of their party index.
    pub participants: Vec<NodeName>,
    /// secp256k1: 33 bytes compressed. Ed25519: 32 bytes.
    pub public_key: Vec<u8>,
    /// BIP-32 extended public key; secp256k1 only.
    pub xpub: Option<String>,
    /// EIP-55 address; secp256k1 only.
    pub evm_address: Option<String>,
}

/// A new key and the rule that permitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedKey {
    /// The key.
    pub key: KeyInfo,
    /// The rule.
    pub rule: String,
}

/// A non-hardened child of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// secp256k1: 33 bytes compressed. Ed25519: 32 bytes.
    pub public_key: Vec<u8>,
    /// EIP-55 address; secp256k1 only.
    pub evm_address: Option<String>,
}

pub(crate) fn key(k: Option<v1::Key>) -> Result<KeyInfo, BadField> {
    let k = k.ok_or(BadField("key"))?;
    let participants = k.participants.iter().map(|p| NodeName::parse(p)).collect::<Result<_, _>>();
    Ok(KeyInfo {
        name: KeyName::parse(&k.name).map_err(|_| BadField("key.name"))?,
        scheme: Scheme::parse(&k.scheme).map_err(|_| BadField("key.scheme"))?,
        purpose: Purpose::parse(&k.purpose).map_err(|_| BadField("key.purpose"))?,
        threshold: Threshold::new(k.t, k.n).map_err(|_| BadField("key.t"))?,
        epoch: Epoch(k.epoch),
        state: k.state,
        participants: participants.map_err(|_| BadField("key.participants"))?,
        public_key: k.public_key,
        xpub: some(k.xpub),
        evm_address: some(k.evm_address),
    })
}

pub(crate) fn child(c: v1::DeriveKeyResponse) -> Child {
    Child { public_key: c.public_key, evm_address: some(c.evm_address) }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
