//! Why content is refused. All but [`ChainError::PublicKey`] and [`ChainError::Signature`] are the caller's fault.

use crate::iso20022::BadPayment;
use crate::typed_data::BadTypedData;
use tally_domain::{HsmScheme, Reason, Scheme};

/// Why content cannot be signed, or a signature not be put into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No bytes at all.
    #[error("the content is empty")]
    Empty,
    /// A type of transaction that is not known.
    #[error(
        "the content starts with 0x{first_byte:02x}, which is no transaction of a known type; build one of EIP-1559 (0x02), \
         EIP-2930 (0x01) or a legacy one with EIP-155"
    )]
    TxType {
        /// First byte of the content, where EIP-2718 has the type.
        first_byte: u8,
    },
    /// A transaction with blobs.
    #[error("transactions with blobs (EIP-4844, type 0x03) are not signed; build one of EIP-1559 (type 0x02)")]
    Blob,
    /// A transaction that delegates accounts.
    #[error(
        "transactions that delegate accounts (EIP-7702, type 0x04) are not signed: the code that an account is given can \
         move all of it; build one of EIP-1559 (type 0x02)"
    )]
    SetCode,
    /// A legacy transaction without a chain id.
    #[error(
        "a legacy transaction without EIP-155 holds on every chain and is not signed; add the chain id, or build one of \
         EIP-1559 (type 0x02)"
    )]
    NoReplayProtection,
    /// Not the fields of an unsigned transaction of its type.
    #[error(
        "the content is not the RLP fields of an unsigned transaction of its type: nine of EIP-1559, eight of EIP-2930, or \
         six, the chain id and two zeros of a legacy one; a signed one has three more"
    )]
    TxFields,
    /// Readable, but encoding what was read gives other bytes.
    #[error("the transaction is not in its one canonical RLP encoding, or bytes follow it")]
    TxNotCanonical,
    /// The transaction or typed data is for another chain than the intent says, or for none.
    #[error("the content is for chain id {chain_id}, but the intent names chain `{intent}`")]
    ChainMismatch {
        /// Chain id in the content; 0 and `none` are none.
        chain_id: String,
        /// Chain in the intent.
        intent: String,
    },
    /// The key's scheme does not sign this kind of content.
    #[error("a key of scheme `{scheme}` cannot sign for an EVM chain; use one of scheme `ecdsa-secp256k1`")]
    KeyScheme {
        /// The key's scheme.
        scheme: Scheme,
    },
    /// The HSM key's scheme does not sign this kind of content.
    #[error("an HSM key of scheme `{scheme}` cannot sign for an EVM chain; use one of scheme `ecdsa-secp256k1`")]
    HsmKeyScheme {
        /// The key's scheme.
        scheme: HsmScheme,
    },
    /// A raw digest for a threshold key: no node could tell what it would sign.
    #[error(
        "a raw digest is signed only with a key that has the purpose `raw` and lives in an HSM or is of scheme \
         `schnorr-secp256k1-taproot`"
    )]
    RawNeedsHsm,
    /// Neither a digest nor a digest and a Merkle root.
    #[error(
        "for a Taproot key a raw digest is 32 bytes, not all zero, and for an output with scripts their Merkle root, \
         another 32"
    )]
    RawOutput,
    /// Not 32 bytes, or all of them zero.
    #[error("a raw digest is 32 bytes, not all zero")]
    RawDigest,
    /// A message whose intent names a chain: a message is for none.
    #[error("the intent names a chain, but its content is a message; leave the chain empty")]
    MessageForChain,
    /// A payment file whose intent names a chain: a payment is for none.
    #[error("the intent names a chain, but its content is a payment file; leave the chain empty")]
    PaymentForChain,
    /// Not a payment file that is understood in full.
    #[error("payment file: {0}")]
    Payment(#[from] BadPayment),
    /// Not typed data that every wallet reads alike.
    #[error("typed data: {0}")]
    TypedData(#[from] BadTypedData),
    /// The content is of a kind that is not signed.
    #[error("the content is a key specification, which is not signed with a key")]
    NothingToSign,
    /// Text that is no EVM address.
    #[error("`{given}` is not an EVM address: 0x, 40 hex digits, and the EIP-55 checksum if both cases are used")]
    Address {
        /// What was given, cut to a sane length.
        given: String,
    },
    /// Bytes that are no secp256k1 public key.
    #[error("the public key is not a SEC1 point of secp256k1")]
    PublicKey,
    /// Numbers that no chain accepts as a signature.
    #[error("r, s or the recovery id is out of range, or s is high (EIP-2)")]
    Signature,
}

impl ChainError {
    /// The reason that goes to the caller.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Blob | Self::SetCode | Self::NoReplayProtection => Reason::TxType,
            Self::TypedData(_) => Reason::TypedDataInvalid,
            Self::TxType { .. } | Self::TxFields | Self::TxNotCanonical => Reason::TxUnparseable,
            Self::ChainMismatch { .. } => Reason::ChainMismatch,
            Self::KeyScheme { .. } | Self::HsmKeyScheme { .. } => Reason::KeyScheme,
            Self::RawNeedsHsm => Reason::KeyPurpose,
            Self::RawDigest | Self::RawOutput => Reason::ParameterRange,
            Self::Payment(_) => Reason::PaymentInvalid,
            Self::Empty
            | Self::MessageForChain
            | Self::PaymentForChain
            | Self::NothingToSign
            | Self::Address { .. } => Reason::Malformed,
            Self::PublicKey | Self::Signature => Reason::Bug,
        }
    }
}
