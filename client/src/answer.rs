//! What nodes answer, as types of ours. Wire types end here.

mod approval;
mod bundle;
mod freeze;
mod judgement;
mod limit;
mod load;
mod node;
mod request;
mod token;
mod wrap;

pub use approval::{PathInfo, PendingInfo, SaidInfo};
pub(crate) use approval::{pending, said};
pub use bundle::{ChangeInfo, NotActive, ProposalInfo, Proposed, VetoedBundle};
pub(crate) use bundle::{history, proposal, proposed, vetoed};
pub use freeze::{FreezeInfo, Frozen, Told, Unfrozen};
pub(crate) use freeze::{freezes, frozen, unfrozen};
pub use judgement::{
    DecidedInfo, ExplainedInfo, HeardInfo, JudgementInfo, LimitChargeInfo, OutcomeInfo, ReplayCounts, ReplayedChange,
    Stands,
};
pub(crate) use judgement::{counts, explained, judgement, replayed};
pub(crate) use limit::limits;
pub use limit::{LimitInfo, LimitsInfo, LineInfo, together};
pub use load::{KeyUse, StageInfo, WorkInfo};
pub use node::{ActiveRule, BanInfo, HsmInfo, LatencyInfo, NodeInfo, PeerInfo, PolicyInfo, QuorumInfo};
pub(crate) use node::{node, policy};
pub use request::{RequestInfo, RequestPage, RequestState, Signed};
pub(crate) use request::{page, request, signed};
pub use token::{Deleted, DomainInfo, DomainKeyInfo, DoneBy, Found, Revealed, RotationInfo, TokenInfo, Tokenized};
pub(crate) use token::{deleted, domain, done_by, found, revealed, token, token_info, tokenized};
pub use wrap::{ChangedKek, CreatedKek, DataKey, KekInfo, KekVersionInfo, Unwrapped, Wrapped, WrappedBy};
pub(crate) use wrap::{changed_kek, created_kek, data_key, kek, rewrapped, unwrapped, wrapped};

use tally_domain::{Backing, Digest, Epoch, KeyName, NodeName, PublicKey, Purpose, Scheme, Threshold};
use tally_proto::v1;

/// The field of an answer that is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadField(pub(crate) &'static str);

/// What KEKs encrypt with.
const KEK_SCHEME: &str = "aes-256";

/// What a key is, as one node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: KeyName,
    /// Where it lives.
    pub backing: KeyBacking,
    /// Its one purpose.
    pub purpose: Purpose,
    /// `pending`, `active` or `frozen`; later versions have more words.
    pub state: String,
    /// In shares: secp256k1 33 bytes compressed, Ed25519 32 bytes, Taproot the output key, 32 bytes. In an HSM: SubjectPublicKeyInfo, DER; none of a KEK.
    pub public_key: Vec<u8>,
    /// EIP-55 address; secp256k1 only, and in an HSM only of keys for transactions.
    pub evm_address: Option<String>,
}

/// Where a key lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyBacking {
    /// In shares at many nodes.
    Threshold {
        /// Its scheme.
        scheme: Scheme,
        /// Signers and share-holders.
        threshold: Threshold,
        /// Generation of the shares.
        epoch: Epoch,
        /// Share-holders in the order of their party index.
        participants: Vec<NodeName>,
        /// BIP-32 extended public key; secp256k1 only.
        xpub: Option<String>,
        /// With it and the public key anyone computes the keys at all paths. Nodes of an older version do not tell it.
        chain_code: Option<Digest>,
    },
    /// In the HSM of one node.
    Hsm {
        /// The public key, and with it the scheme.
        public_key: PublicKey,
        /// That node.
        home: NodeName,
    },
    /// In the HSM of one node, and wraps other keys.
    Kek {
        /// Its first version's check value, six hex digits.
        check_value: String,
        /// That node.
        home: NodeName,
    },
}

impl KeyInfo {
    /// BIP-32 extended public key; threshold keys over secp256k1 only.
    pub fn xpub(&self) -> Option<&str> {
        match &self.backing {
            KeyBacking::Threshold { xpub, .. } => xpub.as_deref(),
            KeyBacking::Hsm { .. } | KeyBacking::Kek { .. } => None,
        }
    }

    /// Its public key, to be written in whichever form is wanted; nothing of a KEK, of a Taproot key, whose x alone has no
    /// such form, or if the node's bytes are none.
    pub fn to_public_key(&self) -> Option<PublicKey> {
        match &self.backing {
            KeyBacking::Threshold { scheme: Scheme::Taproot, .. } => None,
            KeyBacking::Threshold { .. } => PublicKey::from_threshold(&self.public_key).ok(),
            KeyBacking::Hsm { public_key, .. } => Some(public_key.clone()),
            KeyBacking::Kek { .. } => None,
        }
    }
}

impl KeyBacking {
    /// The scheme's name.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Threshold { scheme, .. } => scheme.as_str(),
            Self::Hsm { public_key, .. } => public_key.scheme().as_str(),
            Self::Kek { .. } => KEK_SCHEME,
        }
    }

    /// Where it lives, in a word.
    pub fn kind(&self) -> Backing {
        match self {
            Self::Threshold { .. } => Backing::Threshold,
            Self::Hsm { .. } | Self::Kek { .. } => Backing::Hsm,
        }
    }
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
    /// secp256k1: 33 bytes compressed. Ed25519: 32 bytes. Taproot: the output key, 32 bytes.
    pub public_key: Vec<u8>,
    /// EIP-55 address; secp256k1 only.
    pub evm_address: Option<String>,
}

pub(crate) fn key(k: Option<v1::Key>) -> Result<KeyInfo, BadField> {
    let k = k.ok_or(BadField("key"))?;
    let backing = match Backing::parse(&k.backing).map_err(|_| BadField("key.backing"))? {
        Backing::Threshold => {
            let participants = k.participants.iter().map(|p| NodeName::parse(p)).collect::<Result<_, _>>();
            KeyBacking::Threshold {
                scheme: Scheme::parse(&k.scheme).map_err(|_| BadField("key.scheme"))?,
                threshold: Threshold::new(k.t, k.n).map_err(|_| BadField("key.t"))?,
                epoch: Epoch(k.epoch),
                participants: participants.map_err(|_| BadField("key.participants"))?,
                xpub: some(k.xpub),
                chain_code: Digest::from_slice(&k.chain_code),
            }
        }
        Backing::Hsm if k.purpose == Purpose::Wrap.as_str() => {
            if k.scheme != KEK_SCHEME || !k.public_key.is_empty() {
                return Err(BadField("key.scheme"));
            }
            let home = NodeName::parse(&k.home).map_err(|_| BadField("key.home"))?;
            KeyBacking::Kek { check_value: k.check_value, home }
        }
        Backing::Hsm => {
            let public_key = PublicKey::from_spki(&k.public_key).map_err(|_| BadField("key.public_key"))?;
            if public_key.scheme().as_str() != k.scheme {
                return Err(BadField("key.scheme"));
            }
            let home = NodeName::parse(&k.home).map_err(|_| BadField("key.home"))?;
            KeyBacking::Hsm { public_key, home }
        }
    };
    Ok(KeyInfo {
        name: KeyName::parse(&k.name).map_err(|_| BadField("key.name"))?,
        backing,
        purpose: Purpose::parse(&k.purpose).map_err(|_| BadField("key.purpose"))?,
        state: k.state,
        public_key: k.public_key,
        evm_address: some(k.evm_address),
    })
}

pub(crate) fn child(c: v1::DeriveKeyResponse) -> Child {
    Child { public_key: c.public_key, evm_address: some(c.evm_address) }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
