//! What kind of key it is and what it may be used for.

use std::fmt;

/// Signature scheme and curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// ECDSA over secp256k1 by DKLs23.
    EcdsaSecp256k1,
    /// Ed25519 by FROST (RFC 9591).
    Ed25519,
}

/// A key has exactly one purpose: a raw "message" of one could be a transaction of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Transactions of a chain, decoded at every node.
    Transaction,
    /// Messages, under their standard's prefix where there is one.
    Message,
}

/// A word that names no scheme, purpose or kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}: use one of {allowed}")]
pub struct UnknownWord {
    /// What kind of word was expected.
    pub what: &'static str,
    /// What was given.
    pub given: String,
    /// The words that exist.
    pub allowed: &'static str,
}

impl Scheme {
    /// The name in commands, configuration and policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaSecp256k1 => "ecdsa-secp256k1",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Reads the name.
    ///
    /// # Errors
    /// [`UnknownWord`] for any other text.
    pub fn parse(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "ecdsa-secp256k1" => Ok(Self::EcdsaSecp256k1),
            "ed25519" => Ok(Self::Ed25519),
            _ => Err(UnknownWord { what: "scheme", given: s.into(), allowed: "ecdsa-secp256k1, ed25519" }),
        }
    }
}

impl Purpose {
    /// The name in commands, configuration and policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Message => "message",
        }
    }

    /// Reads the name.
    ///
    /// # Errors
    /// [`UnknownWord`] for any other text.
    pub fn parse(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "transaction" => Ok(Self::Transaction),
            "message" => Ok(Self::Message),
            _ => Err(UnknownWord { what: "purpose", given: s.into(), allowed: "transaction, message" }),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
