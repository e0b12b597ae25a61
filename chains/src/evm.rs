//! EVM transactions: read, said what they do, hashed for signing, and put together with a signature.

mod call;
mod fields;
mod json;
mod sent;
mod unsigned;

pub use fields::{AccessListItem, Eip1559, EvmFees, EvmFields, eip1559_unsigned, erc20_transfer_input, evm_unsigned};
pub use json::{BadTransactionRequest, TransactionRequest};
pub use sent::SentTransaction;

use crate::{ChainError, Decoded, ToSign};
use alloy_primitives::{Address, B256, Signature, U256, address};
use call::Effects;
use tally_domain::Digest;
use tally_domain::facts::{Amount, Facts, Most, OpaqueFacts, TransactionFacts, UnreadCall};
use unsigned::{Parts, Unsigned};

/// Uniswap's Permit2, at one address on every chain that it was deployed to by its deployer. Elsewhere it is not known.
pub(crate) const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");

/// The raw signed transaction, ready to be broadcast: of a legacy one the RLP list with EIP-155's `v`, of the others the
/// type byte and the RLP list with `y_parity`, `r` and `s` at its end.
///
/// # Errors
/// [`ChainError`] when `content` is not an unsigned transaction, or no chain accepts the signature: r and s
/// must be within the curve's order, s low (EIP-2), and the recovery id 0 or 1 (r was not reduced).
pub fn signed_transaction(content: &[u8], r: [u8; 32], s: [u8; 32], recovery_id: u8) -> Result<Vec<u8>, ChainError> {
    let tx = Unsigned::parse(content)?;
    let in_range = k256::ecdsa::Signature::from_scalars(r, s).map_err(|_| ChainError::Signature)?;
    if in_range.normalize_s() != in_range || recovery_id > 1 {
        return Err(ChainError::Signature);
    }
    Ok(tx.signed(&Signature::from_scalars_and_parity(B256::from(r), B256::from(s), recovery_id == 1)))
}

pub(crate) fn decode(chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    let tx = Unsigned::parse(content)?;
    let chain_id = tx.chain_id()?;
    if chain_id == 0 || format!("eip155:{chain_id}") != chain {
        return Err(ChainError::ChainMismatch { chain_id: chain_id.to_string(), intent: chain.into() });
    }
    let to_sign = ToSign::Digest(Digest(tx.signature_hash().0));
    Ok(Decoded { facts: facts(chain, &tx), to_sign })
}

/// What the transaction does, from the same value that its digest is computed from.
fn facts(chain: &str, tx: &Unsigned) -> Facts {
    let parts = tx.parts();
    match call::effects(&parts) {
        Ok(Effects { method, movements, allowances }) => Facts::Transaction(TransactionFacts {
            chain: chain.into(),
            method: method.into(),
            movements,
            allowances,
            fee_max: fee_max(&parts),
            nonce: parts.nonce,
        }),
        Err(why) => {
            let to = parts.to.map(lower).unwrap_or_default();
            let call = call::of_no_standard(&parts).then(|| UnreadCall {
                value: amount(parts.value),
                input: parts.input.to_vec(),
                fee_max: fee_max(&parts),
                nonce: parts.nonce,
            });
            Facts::Opaque(OpaqueFacts { chain: chain.into(), to, why, call })
        }
    }
}

fn fee_max(parts: &Parts<'_>) -> Amount {
    amount(U256::from(parts.gas_limit).saturating_mul(U256::from(parts.fee_per_gas)))
}

pub(crate) fn amount(n: U256) -> Amount {
    Amount(n.to_be_bytes())
}

/// Types that contracts keep allowances in, by their bits: most tokens 256, those made after Compound's 96, Permit2 160.
const ALLOWANCE_BITS: [usize; 4] = [96, 128, 160, 256];

/// How much an approval lets go. By convention the largest number of a type is no number but "all": nothing is ever taken off
/// it. Which type the contract has is not known here, so that the largest of each is taken for it.
pub(crate) fn most(n: U256) -> Most {
    let all = ALLOWANCE_BITS.iter().any(|bits| n == U256::MAX >> (U256::BITS - bits));
    if all { Most::Unlimited } else { Most::UpTo(amount(n)) }
}

pub(crate) fn lower(address: Address) -> String {
    alloy_primitives::hex::encode_prefixed(address)
}
