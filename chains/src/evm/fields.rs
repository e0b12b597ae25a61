//! Unsigned transactions for those who build one.

use super::unsigned::Unsigned;
use alloy_consensus::{TxEip1559, TxEip2930, TxLegacy};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall;
use tally_domain::facts::Amount;

/// The fields of an unsigned transaction of any type that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvmFields {
    /// EIP-155 chain id, not 0.
    pub chain_id: u64,
    /// The sender's transaction counter.
    pub nonce: u64,
    /// What is paid for gas; this makes the type.
    pub fees: EvmFees,
    /// Most gas used.
    pub gas_limit: u64,
    /// Destination; none creates a contract.
    pub to: Option<[u8; 20]>,
    /// Wei that go to the destination.
    pub value: Amount,
    /// Call data.
    pub input: Vec<u8>,
}

/// What is paid for gas, in wei for each unit, and what comes with that type of transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvmFees {
    /// A legacy transaction with EIP-155.
    Legacy {
        /// What is paid.
        gas_price: u128,
    },
    /// EIP-2930.
    AccessList {
        /// What is paid.
        gas_price: u128,
        /// What the transaction says it touches.
        access_list: Vec<AccessListItem>,
    },
    /// EIP-1559.
    FeeMarket {
        /// Most paid to the block's proposer.
        max_priority_fee_per_gas: u128,
        /// Most paid in all.
        max_fee_per_gas: u128,
        /// What the transaction says it touches.
        access_list: Vec<AccessListItem>,
    },
}

/// An account and the slots of its storage that a transaction says it touches (EIP-2930). It changes only the gas used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessListItem {
    /// The account.
    pub address: [u8; 20],
    /// Keys of its storage.
    pub storage_keys: Vec<[u8; 32]>,
}

/// The fields of an unsigned EIP-1559 transaction with an empty access list.
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
    evm_unsigned(&EvmFields {
        chain_id: fields.chain_id,
        nonce: fields.nonce,
        fees: EvmFees::FeeMarket {
            max_priority_fee_per_gas: fields.max_priority_fee_per_gas,
            max_fee_per_gas: fields.max_fee_per_gas,
            access_list: Vec::new(),
        },
        gas_limit: fields.gas_limit,
        to: fields.to,
        value: fields.value,
        input: fields.input.clone(),
    })
}

/// The unsigned payload with these fields: what [`crate::decode`] reads.
pub fn evm_unsigned(fields: &EvmFields) -> Vec<u8> {
    let (chain_id, nonce, gas_limit) = (fields.chain_id, fields.nonce, fields.gas_limit);
    let to = fields.to.map_or(TxKind::Create, |to| TxKind::Call(Address::from(to)));
    let (value, input) = (U256::from_be_bytes(fields.value.0), fields.input.clone().into());
    let tx = match &fields.fees {
        EvmFees::Legacy { gas_price } => {
            let (chain_id, gas_price) = (Some(chain_id), *gas_price);
            Unsigned::Legacy(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input })
        }
        EvmFees::AccessList { gas_price, access_list } => {
            let (gas_price, access_list) = (*gas_price, list(access_list));
            Unsigned::AccessList(TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input })
        }
        EvmFees::FeeMarket { max_priority_fee_per_gas, max_fee_per_gas, access_list } => {
            Unsigned::FeeMarket(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: *max_fee_per_gas,
                max_priority_fee_per_gas: *max_priority_fee_per_gas,
                to,
                value,
                access_list: list(access_list),
                input,
            })
        }
    };
    tx.encode()
}

/// Call data of an ERC-20 `transfer(to, amount)`.
pub fn erc20_transfer_input(to: [u8; 20], amount: Amount) -> Vec<u8> {
    super::call::transferCall { to: Address::from(to), amount: U256::from_be_bytes(amount.0) }.abi_encode()
}

fn list(items: &[AccessListItem]) -> alloy_eips::eip2930::AccessList {
    let item = |item: &AccessListItem| alloy_eips::eip2930::AccessListItem {
        address: Address::from(item.address),
        storage_keys: item.storage_keys.iter().map(|key| B256::from(*key)).collect(),
    };
    alloy_eips::eip2930::AccessList(items.iter().map(item).collect())
}
