//! What a node decoded by itself out of an intent's content. Never taken from a client, a leader or a database.

/// What a chain's payload says, in the chain's own smallest units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// A transaction that was decoded down to its movements of value.
    Transaction(TransactionFacts),
    /// A message.
    Message(MessageFacts),
    /// Well-formed, but what it does is not known. Only a rule that says so permits it.
    Opaque(OpaqueFacts),
}

/// A decoded transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFacts {
    /// CAIP-2 chain, such as `eip155:1`.
    pub chain: String,
    /// `transfer` for native and token transfers.
    pub method: String,
    /// Every movement of value; never empty.
    pub movements: Vec<Movement>,
    /// The most that the transaction can cost in fees, in the chain's native smallest unit.
    pub fee_max: Amount,
    /// The sender's transaction counter.
    pub nonce: u64,
}

/// An unsigned 256-bit amount in the asset's smallest unit, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub [u8; 32]);

/// One movement of one asset to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// What moves.
    pub asset: AssetRef,
    /// How much.
    pub amount: Amount,
    /// Destination as the chain writes it; EVM: `0x` and 40 lower-case hex digits.
    pub to: String,
}

/// An asset as the chain names it; the bundle's `assets.toml` gives it a symbol and decimals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AssetRef {
    /// The chain's own coin.
    Native,
    /// A token contract; EVM: `0x` and 40 lower-case hex digits.
    Contract(String),
}

/// A message to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// Length in bytes.
    pub bytes: u64,
    /// Whether it is UTF-8 text.
    pub text: bool,
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
}
