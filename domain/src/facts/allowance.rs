//! Leave to move value: approvals, permits and operators.

use super::{Amount, AssetRef};

/// Leave that someone is given to move an asset, now or later. It moves nothing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// What may be moved.
    pub asset: AssetRef,
    /// How much of it in all.
    pub most: Most,
    /// Whose it is, where the content says so; empty where it is the signing key's own.
    pub owner: String,
    /// The contract that keeps the leave: the asset's own, or one that many assets trust.
    pub keeper: String,
    /// Who may move it, to anywhere.
    pub spender: String,
    /// Last moment at which the leave can be handed in, in seconds since 1970; none is any.
    pub use_by: Option<u64>,
    /// Moment at which it ends after it was handed in, in seconds since 1970; none is never.
    pub ends: Option<u64>,
}

/// How much may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// So much; of nothing the leave is taken back.
    UpTo(Amount),
    /// All there is and ever will be.
    Unlimited,
}

/// Typed data (EIP-712): what a contract will take as said by the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedDataFacts {
    /// CAIP-2 chain of the domain; empty where it names none, and every chain takes it.
    pub chain: String,
    /// The domain's name; empty where it has none.
    pub name: String,
    /// The domain's version; empty where it has none.
    pub version: String,
    /// The domain's contract, `0x` and 40 lower-case hex digits; empty where it names none, and every contract takes it.
    pub contract: String,
    /// The domain's salt, `0x` and 64 hex digits; empty where it has none.
    pub salt: String,
    /// What kind of statement it is.
    pub primary_type: String,
    /// What it gives leave to, where all of that is known. Where this is empty, nobody knows what it moves.
    pub allowances: Vec<Allowance>,
    /// Every value of the message, by its path: `details.amount`, `to[0]`.
    pub fields: Vec<(String, String)>,
}
