//! Unsigned transactions as nodes read and hash them:
//! - legacy with EIP-155: `rlp([nonce, gas_price, gas_limit, to, value, data, chain_id, 0, 0])`;
//! - EIP-2930: `0x01 || rlp([chain_id, nonce, gas_price, gas_limit, to, value, data, access_list])`;
//! - EIP-1559: `0x02 || rlp([chain_id, nonce, max_priority_fee_per_gas, max_fee_per_gas, gas_limit, to, value, data,
//!   access_list])`.
//!
//! The signing hash is Keccak-256 over exactly these bytes.

use crate::ChainError;
use alloy_consensus::transaction::{RlpEcdsaDecodableTx, RlpEcdsaEncodableTx};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_primitives::{Address, B256, Signature, U256};

/// EIP-2718 type bytes.
const ACCESS_LIST_TYPE: u8 = 0x01;
const FEE_MARKET_TYPE: u8 = 0x02;
const BLOB_TYPE: u8 = 0x03;
const SET_CODE_TYPE: u8 = 0x04;

/// First byte of an RLP list: a legacy transaction has no type byte (EIP-2718).
const RLP_LIST: u8 = 0xc0;

/// An unsigned transaction in its one encoding.
pub(super) enum Unsigned {
    Legacy(TxLegacy),
    AccessList(TxEip2930),
    FeeMarket(TxEip1559),
}

/// What any type of transaction says.
pub(super) struct Parts<'a> {
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    /// The most that is paid for a unit of gas, in wei.
    pub(super) fee_per_gas: u128,
    /// None creates a contract.
    pub(super) to: Option<Address>,
    pub(super) value: U256,
    pub(super) input: &'a [u8],
}

impl Unsigned {
    /// Reads a transaction and refuses it unless encoding what was read gives the same bytes (S-2.2 step 9).
    pub(super) fn parse(content: &[u8]) -> Result<Self, ChainError> {
        let (&first_byte, rest) = content.split_first().ok_or(ChainError::Empty)?;
        let tx = match first_byte {
            ACCESS_LIST_TYPE => Self::AccessList(fields(rest)?),
            FEE_MARKET_TYPE => Self::FeeMarket(fields(rest)?),
            BLOB_TYPE => return Err(ChainError::Blob),
            SET_CODE_TYPE => return Err(ChainError::SetCode),
            RLP_LIST.. => {
                let mut rest = content;
                // Alloy takes any nine fields for these, signed ones too: the comparison below refuses all but one.
                Self::Legacy(alloy_rlp::Decodable::decode(&mut rest).map_err(|_| ChainError::TxFields)?)
            }
            _ => return Err(ChainError::TxType { first_byte }),
        };
        if tx.encode() == content { Ok(tx) } else { Err(ChainError::TxNotCanonical) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let tx = self.signable();
        let mut out = Vec::with_capacity(tx.payload_len_for_signature());
        tx.encode_for_signing(&mut out);
        out
    }

    /// The chain that the transaction is bound to. Before EIP-155 there was none, so that every chain took it.
    pub(super) fn chain_id(&self) -> Result<u64, ChainError> {
        self.signable().chain_id().ok_or(ChainError::NoReplayProtection)
    }

    pub(super) fn signature_hash(&self) -> B256 {
        self.signable().signature_hash()
    }

    pub(super) fn signed(&self, signature: &Signature) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Legacy(tx) => tx.eip2718_encode(signature, &mut out),
            Self::AccessList(tx) => tx.eip2718_encode(signature, &mut out),
            Self::FeeMarket(tx) => tx.eip2718_encode(signature, &mut out),
        }
        out
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        let tx = self.signable();
        Parts {
            nonce: tx.nonce(),
            gas_limit: tx.gas_limit(),
            fee_per_gas: tx.max_fee_per_gas(),
            to: tx.kind().to().copied(),
            value: tx.value(),
            input: match self {
                Self::Legacy(tx) => &tx.input,
                Self::AccessList(tx) => &tx.input,
                Self::FeeMarket(tx) => &tx.input,
            },
        }
    }

    fn signable(&self) -> &dyn SignableTransaction<Signature> {
        match self {
            Self::Legacy(tx) => tx,
            Self::AccessList(tx) => tx,
            Self::FeeMarket(tx) => tx,
        }
    }
}

fn fields<T: RlpEcdsaDecodableTx>(mut rest: &[u8]) -> Result<T, ChainError> {
    T::rlp_decode(&mut rest).map_err(|_| ChainError::TxFields)
}
