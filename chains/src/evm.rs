//! Unsigned EIP-1559 transactions: `0x02 || rlp([chain_id, nonce, max_priority_fee_per_gas, max_fee_per_gas, gas_limit,
//! to, value, data, access_list])`. The signing hash is Keccak-256 over exactly these bytes.

use crate::{ChainError, Decoded, ToSign};
use alloy_consensus::transaction::{RlpEcdsaDecodableTx, RlpEcdsaEncodableTx};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use alloy_sol_types::SolCall;
use tally_domain::Digest;
use tally_domain::facts::{Amount, AssetRef, Facts, Movement, OpaqueFacts, TransactionFacts};

/// EIP-2718 type byte of EIP-1559.
const EIP1559_TYPE: u8 = 0x02;

mod erc20 {
    alloy_sol_types::sol! {
        /// The one token call that is understood.
        function transfer(address to, uint256 amount) external returns (bool);
    }
}

/// The fields of an unsigned EIP-1559 transaction, for those who build one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eip1559 {
    /// EIP-155 chain id, not 0.
    pub chain_id: u64,
    /// The sender's transaction counter.
    pub nonce: u64,
    /// Most paid to the block's proposer, in wei for each unit of gas.
    pub max_priority_fee_per_gas: u128,
    /// Most paid in all, in wei for each unit of gas.
    pub max_fee_per_gas: u128,
    /// Most gas used.
    pub gas_limit: u64,
    /// Destination; none creates a contract.
    pub to: Option<[u8; 20]>,
    /// Wei that go to the destination.
    pub value: Amount,
    /// Call data.
    pub input: Vec<u8>,
}

/// The unsigned payload with these fields and an empty access list: what [`crate::decode`] reads.
pub fn eip1559_unsigned(fields: &Eip1559) -> Vec<u8> {
    encode(&TxEip1559 {
        chain_id: fields.chain_id,
        nonce: fields.nonce,
        gas_limit: fields.gas_limit,
        max_fee_per_gas: fields.max_fee_per_gas,
        max_priority_fee_per_gas: fields.max_priority_fee_per_gas,
        to: fields.to.map_or(TxKind::Create, |to| TxKind::Call(Address::from(to))),
        value: U256::from_be_bytes(fields.value.0),
        access_list: Default::default(),
        input: fields.input.clone().into(),
    })
}

/// Call data of an ERC-20 `transfer(to, amount)`.
pub fn erc20_transfer_input(to: [u8; 20], amount: Amount) -> Vec<u8> {
    erc20::transferCall { to: Address::from(to), amount: U256::from_be_bytes(amount.0) }.abi_encode()
}

/// The raw signed transaction, ready to be broadcast: `0x02 || rlp([.. nine fields, y_parity, r, s])`.
///
/// # Errors
/// [`ChainError`] when `content` is not an unsigned EIP-1559 transaction, or no chain accepts the signature: r and s
/// must be within the curve's order, s low (EIP-2), and the recovery id 0 or 1 (r was not reduced).
pub fn signed_transaction(content: &[u8], r: [u8; 32], s: [u8; 32], recovery_id: u8) -> Result<Vec<u8>, ChainError> {
    let tx = parse(content)?;
    let in_range = k256::ecdsa::Signature::from_scalars(r, s).map_err(|_| ChainError::Signature)?;
    if in_range.normalize_s() != in_range || recovery_id > 1 {
        return Err(ChainError::Signature);
    }
    let signature = Signature::from_scalars_and_parity(B256::from(r), B256::from(s), recovery_id == 1);
    let mut out = Vec::new();
    tx.eip2718_encode(&signature, &mut out);
    Ok(out)
}

pub(crate) fn decode(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    let tx = parse(content)?;
    if tx.chain_id == 0 || format!("eip155:{}", tx.chain_id) != chain {
        return Err(ChainError::ChainMismatch { chain_id: tx.chain_id, intent: chain.into() });
    }
    let to_sign = ToSign::Digest(Digest(tx.signature_hash().0));
    Ok(Decoded { facts: facts(chain, &tx), to_sign })
}

/// Reads the transaction and refuses it unless encoding what was read gives the same bytes (S-2.2 step 9).
fn parse(content: &[u8]) -> Result<TxEip1559, ChainError> {
    let mut rest = match content.split_first() {
        None => return Err(ChainError::Empty),
        Some((&EIP1559_TYPE, rest)) => rest,
        Some((&first_byte, _)) => return Err(ChainError::TxType { first_byte }),
    };
    let tx = TxEip1559::rlp_decode(&mut rest).map_err(|_| ChainError::TxFields)?;
    if encode(&tx) == content { Ok(tx) } else { Err(ChainError::TxNotCanonical) }
}

fn encode(tx: &TxEip1559) -> Vec<u8> {
    let mut out = Vec::with_capacity(tx.payload_len_for_signature());
    tx.encode_for_signing(&mut out);
    out
}

/// What the transaction does, from the same value that its digest is computed from.
fn facts(chain: &str, tx: &TxEip1559) -> Facts {
    match movements(tx) {
        Ok(movements) => Facts::Transaction(TransactionFacts {
            chain: chain.into(),
            method: "transfer".into(),
            movements,
            fee_max: amount(U256::from(tx.gas_limit).saturating_mul(U256::from(tx.max_fee_per_gas))),
            nonce: tx.nonce,
        }),
        Err(why) => {
            Facts::Opaque(OpaqueFacts { chain: chain.into(), to: tx.to.to().map(lower).unwrap_or_default(), why })
        }
    }
}

/// Every movement of value, or why that is not known.
fn movements(tx: &TxEip1559) -> Result<Vec<Movement>, String> {
    let TxKind::Call(contract) = tx.to else { return Err("contract creation".into()) };
    let native = Movement { asset: AssetRef::Native, amount: amount(tx.value), to: lower(&contract) };
    if tx.input.is_empty() {
        return Ok(vec![native]);
    }
    let (to, token_amount) = erc20_transfer(&tx.input)?;
    let token = Movement { asset: AssetRef::Contract(lower(&contract)), amount: amount(token_amount), to: lower(&to) };
    // Coins sent along with a token call stay with the contract: a movement of their own.
    Ok(if tx.value.is_zero() { vec![token] } else { vec![native, token] })
}

/// The destination and amount of exact ERC-20 `transfer` call data: 68 bytes with zero padding. A contract may read
/// anything else in its own way, so it is not understood.
fn erc20_transfer(input: &[u8]) -> Result<(Address, U256), String> {
    let Some((selector, _)) = input.split_first_chunk::<4>() else {
        return Err(format!("contract call with {} bytes of call data, too few for a selector", input.len()));
    };
    if *selector != erc20::transferCall::SELECTOR {
        return Err(format!("contract call with selector {}", alloy_primitives::hex::encode_prefixed(selector)));
    }
    let call = erc20::transferCall::abi_decode(input).ok().filter(|call| call.abi_encode() == input);
    call.map(|c| (c.to, c.amount))
        .ok_or_else(|| "token transfer whose call data is not the exact 68 bytes of transfer(address,uint256)".into())
}

fn amount(n: U256) -> Amount {
    Amount(n.to_be_bytes())
}

fn lower(address: &Address) -> String {
    alloy_primitives::hex::encode_prefixed(address)
}
