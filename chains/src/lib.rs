//! Payload bytes to [`Facts`] and the exact digest to sign, both from the same parsed value.
//!
//! Does: decodes unsigned EVM transactions (legacy with EIP-155, EIP-2930, EIP-1559) and the calls of token contracts in
//! them, typed data (EIP-712), files of bank payments (ISO 20022 pain.001) and messages, says what they move and what they
//! give others leave to move, computes what is signed (a transaction's signing hash, EIP-712's or EIP-191's hash, SHA-256
//! of a file, or the bytes themselves for Ed25519; for Taproot BIP-340's tagged hash, or a digest as it is; for keys in an HSM SHA-256 of a message, or a digest as it is), puts a
//! signature back into a transaction, and writes addresses (EIP-55).
//! Does not: hold keys, sign, or ask a chain anything. What it cannot read it refuses; what it can read but does not
//! understand it calls [`Facts::Opaque`], and only a rule that says so permits that. Transactions with blobs (EIP-4844) or
//! delegations (EIP-7702), and those that are bound to no chain, are refused. A payment file is understood in full or refused.

mod address;
mod bitcoin;
mod error;
mod evm;
mod hsm;
pub mod iso20022;
mod message;
mod typed_data;

pub use address::{evm_address, parse_evm_address};
pub use bitcoin::{BitcoinNetwork, taproot_address};
pub use error::ChainError;
pub use evm::{
    AccessListItem, BadTransactionRequest, Eip1559, EvmFees, EvmFields, SentTransaction, TransactionRequest,
    eip1559_unsigned, erc20_transfer_input, evm_unsigned, signed_transaction,
};
pub use hsm::decode_hsm;
pub use typed_data::{BadTypedData, SHOWN_MAX_BYTES, VALUES_MAX};

use tally_domain::facts::Facts;
use tally_domain::{ContentKind, Digest, Scheme};

/// What a payload says and what a signature over it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// What the payload says: for policy and for people.
    pub facts: Facts,
    /// What the key signs.
    pub to_sign: ToSign,
}

/// What goes into the signature scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSign {
    /// ECDSA, Taproot keys and RSA sign this digest.
    Digest(Digest),
    /// A Taproot key signs this digest with the key of an output that commits to scripts.
    Output {
        /// What is signed.
        digest: Digest,
        /// The scripts.
        merkle_root: Digest,
    },
    /// Ed25519 signs these bytes; it hashes them itself.
    Message(Vec<u8>),
}

impl ToSign {
    /// The bytes of it all: a digest, or the message. For an output that commits to scripts their Merkle root follows the
    /// digest and says with which key it is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Digest(digest) => digest.0.to_vec(),
            Self::Output { digest, merkle_root } => [digest.0, merkle_root.0].concat(),
            Self::Message(message) => message.clone(),
        }
    }

    /// One digest that stands for it all.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Digest(digest) => *digest,
            Self::Output { .. } => Digest::of(&self.to_bytes()),
            Self::Message(message) => Digest::of(message),
        }
    }

    /// What goes into the signing equation.
    pub fn message(&self) -> &[u8] {
        match self {
            Self::Digest(digest) | Self::Output { digest, .. } => &digest.0,
            Self::Message(message) => message,
        }
    }

    /// The scripts that the output commits to, if it is one that does.
    pub fn merkle_root(&self) -> Option<Digest> {
        match self {
            Self::Output { merkle_root, .. } => Some(*merkle_root),
            Self::Digest(_) | Self::Message(_) => None,
        }
    }
}

/// Reads the content of an intent: what it says, and what is to be signed, from one parsed value.
///
/// `chain` is the intent's CAIP-2 chain: the chain id of the transaction or of the typed data's domain must be the same, and it
/// is empty for anything else.
///
/// # Errors
/// [`ChainError`] when the content is not of that kind, is for another chain, or cannot be signed with that scheme.
pub fn decode(kind: ContentKind, scheme: Scheme, chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    match (kind, scheme) {
        (ContentKind::EvmTransaction, Scheme::EcdsaSecp256k1) => evm::decode(chain, content),
        (ContentKind::TypedData, Scheme::EcdsaSecp256k1) => typed_data::decode(chain, content),
        (
            ContentKind::EvmTransaction | ContentKind::TypedData | ContentKind::PersonalMessage,
            Scheme::Ed25519 | Scheme::Taproot,
        ) => Err(ChainError::KeyScheme { scheme }),
        (ContentKind::Message | ContentKind::PersonalMessage, _) if !chain.is_empty() => {
            Err(ChainError::MessageForChain)
        }
        (ContentKind::Message | ContentKind::PersonalMessage, _) => message::decode(scheme, content),
        (ContentKind::Iso20022, _) if !chain.is_empty() => Err(ChainError::PaymentForChain),
        (ContentKind::Iso20022, _) => iso20022::decode(scheme, content),
        (ContentKind::RawDigest, Scheme::Taproot) if !chain.is_empty() => Err(ChainError::MessageForChain),
        (ContentKind::RawDigest, Scheme::Taproot) => bitcoin::raw(content),
        (ContentKind::RawDigest, _) => Err(ChainError::RawNeedsHsm),
        (
            ContentKind::KeySpec
            | ContentKind::HsmKeySpec
            | ContentKind::WrapSpec
            | ContentKind::KekSpec
            | ContentKind::FreezeSpec
            | ContentKind::UnfreezeSpec
            | ContentKind::VetoSpec
            | ContentKind::DomainSpec
            | ContentKind::DomainChange
            | ContentKind::TokenCall,
            _,
        ) => Err(ChainError::NothingToSign),
    }
}

/// The CAIP-2 chain that a transaction or typed data names by itself; empty for typed data that names none.
///
/// # Errors
/// [`ChainError`] when [`decode`] refuses the content whatever the intent says.
pub fn chain_of(kind: ContentKind, content: &[u8]) -> Result<String, ChainError> {
    let scheme = Scheme::EcdsaSecp256k1;
    // The one decoder says it, by saying that it is not the empty one.
    let chain = match decode(kind, scheme, "", content) {
        Err(ChainError::ChainMismatch { chain_id, .. }) => format!("eip155:{chain_id}"),
        other => return other.map(|_| String::new()),
    };
    decode(kind, scheme, &chain, content).map(|_| chain)
}
