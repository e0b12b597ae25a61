//! What a node decoded by itself out of an intent's content. Never taken from a client, a leader or a database.

mod allowance;
mod call;
mod payment;

pub use allowance::{Allowance, Most, TypedDataFacts};
pub use call::{PERMIT2, STANDARD_SELECTORS, UnreadCall};
pub use payment::{CreditTransfer, PaymentBlock, PaymentFacts, PaymentTerms};

/// What a chain's payload says, in the chain's own smallest units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// A transaction that was decoded down to its movements of value.
    Transaction(TransactionFacts),
    /// A message.
    Message(MessageFacts),
    /// A digest of something that is not known here. Only a rule for raw digests permits it.
    Raw(RawFacts),
    /// Well-formed, but what it does is not known. Only a rule that says so permits it.
    Opaque(OpaqueFacts),
    /// A file of bank payments, decoded in full.
    Payment(PaymentFacts),
    /// Typed data, decoded down to what it gives leave to, or to its values.
    TypedData(TypedDataFacts),
}

/// A decoded transaction: what it moves, and what it lets others move. At least one of the two is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFacts {
    /// CAIP-2 chain, such as `eip155:1`.
    pub chain: String,
    /// `transfer` for native and token transfers, else the name of the function that is called.
    pub method: String,
    /// Every movement of value.
    pub movements: Vec<Movement>,
    /// All that the transaction gives leave to move.
    pub allowances: Vec<Allowance>,
    /// The most that the transaction can cost in fees, in the chain's native smallest unit.
    pub fee_max: Amount,
    /// The sender's transaction counter.
    pub nonce: u64,
}

/// An unsigned 256-bit amount in the asset's smallest unit, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(pub [u8; 32]);

impl Amount {
    /// The most that 256 bits can say.
    pub const MAX: Self = Self([0xff; 32]);
}

impl From<u128> for Amount {
    fn from(n: u128) -> Self {
        let mut bytes = [0; 32];
        if let Some(low) = bytes.last_chunk_mut() {
            *low = n.to_be_bytes();
        }
        Self(bytes)
    }
}

/// In decimal digits.
impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        let mut digits = Vec::new();
        while rest.iter().any(|b| *b != 0) {
            // Long division by ten, from the most significant byte.
            let remainder = rest.iter_mut().fold(0u16, |carry, byte| {
                let part = carry * 256 + u16::from(*byte);
                *byte = (part / 10) as u8;
                part % 10
            });
            digits.push(char::from(b'0' + remainder as u8));
        }
        if digits.is_empty() {
            digits.push('0');
        }
        f.write_str(&digits.iter().rev().collect::<String>())
    }
}

/// One movement of one asset to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// What moves.
    pub asset: AssetRef,
    /// How much.
    pub amount: Amount,
    /// Out of whose hands, where the content says so; empty where it is the signing key's own.
    pub from: String,
    /// Destination as the chain writes it; EVM: `0x` and 40 lower-case hex digits.
    pub to: String,
}

/// An asset as the chain names it; the bundle's `assets.toml` gives it a symbol and decimals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AssetRef {
    /// The chain's own coin.
    Native,
    /// A token contract; EVM: `0x` and 40 lower-case hex digits. ERC-20 and ERC-721 share functions, so that with a
    /// contract of single pieces what is called the amount is the number of one piece.
    Contract(String),
    /// One piece, or one kind of pieces, of a contract (ERC-721, ERC-1155).
    Item {
        /// The contract.
        contract: String,
        /// Number of the piece or kind.
        id: Amount,
    },
    /// All pieces of a contract that the owner has or will have.
    Collection(String),
}

impl AssetRef {
    /// The contract, unless it is the chain's own coin.
    pub fn contract(&self) -> Option<&str> {
        match self {
            Self::Native => None,
            Self::Contract(contract) | Self::Item { contract, .. } | Self::Collection(contract) => Some(contract),
        }
    }
}

/// A message to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// Length in bytes.
    pub bytes: u64,
    /// Whether people can read it: UTF-8 without control characters but tabs and ends of lines; and not 32 bytes, which may be
    /// a digest.
    pub text: bool,
}

/// A digest that was given as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFacts {
    /// Length in bytes.
    pub bytes: u64,
}

/// A transaction that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpaqueFacts {
    /// CAIP-2 chain where it is known.
    pub chain: String,
    /// Destination contract where there is one; empty otherwise.
    pub to: String,
    /// What was not understood, for people: `contract call with selector 0xdeadbeef`.
    pub why: String,
    /// The call, where no standard has its selector: a bundle with the contract's ABI may understand it.
    pub call: Option<UnreadCall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_in_decimal() {
        for n in [0, 1, 9, 10, 255, 256, 250_000_000, u128::MAX] {
            assert_eq!(Amount::from(n).to_string(), n.to_string());
        }
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(Amount([0xff; 32]).to_string(), max);
    }
}
