//! What kind of key it is and what it may be used for.

use std::fmt;

/// Signature scheme and curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// ECDSA over secp256k1 by DKLs23.
    EcdsaSecp256k1,
    /// Ed25519 by FROST (RFC 9591).
    Ed25519,
    /// Schnorr over secp256k1 (BIP-340) by FROST, under the output key of BIP-341.
    Taproot,
}

/// What a key that lives in an HSM signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HsmScheme {
    /// ECDSA over P-256 (JOSE: ES256).
    EcdsaP256,
    /// ECDSA over secp256k1 (JOSE: ES256K).
    EcdsaSecp256k1,
    /// Ed25519 (JOSE: EdDSA).
    Ed25519,
    /// RSA of 3072 bits with exponent 65537, PSS with SHA-256 and a salt of 32 bytes (JOSE: PS256).
    Rsa3072,
}

/// Where a key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backing {
    /// In shares, at n nodes; no machine ever has it.
    Threshold,
    /// In the token of one node, its home.
    Hsm,
}

/// A key has exactly one purpose: a raw "message" of one could be a transaction of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Transactions of a chain, decoded at every node.
    Transaction,
    /// Messages, under their standard's prefix where there is one.
    Message,
    /// Digests that nobody here can look behind. Only for keys that live in an HSM or are for Taproot, and only by a rule that
    /// says so.
    Raw,
    /// Other keys, wrapped: a KEK. Only for keys that live in an HSM; it signs nothing.
    Wrap,
    /// Card numbers, kept under tokens: a token domain. Only for keys that live in an HSM; it signs nothing.
    Tokenize,
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
            Self::Taproot => "schnorr-secp256k1-taproot",
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
            "schnorr-secp256k1-taproot" => Ok(Self::Taproot),
            _ => {
                let allowed = "ecdsa-secp256k1, ed25519, schnorr-secp256k1-taproot";
                Err(UnknownWord { what: "scheme", given: s.into(), allowed })
            }
        }
    }
}

impl HsmScheme {
    /// The name in commands, configuration and policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaSecp256k1 => "ecdsa-secp256k1",
            Self::Ed25519 => "ed25519",
            Self::Rsa3072 => "rsa-3072",
        }
    }

    /// Reads the name.
    ///
    /// # Errors
    /// [`UnknownWord`] for any other text.
    pub fn parse(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "ecdsa-p256" => Ok(Self::EcdsaP256),
            "ecdsa-secp256k1" => Ok(Self::EcdsaSecp256k1),
            "ed25519" => Ok(Self::Ed25519),
            "rsa-3072" => Ok(Self::Rsa3072),
            _ => {
                let allowed = "ecdsa-p256, ecdsa-secp256k1, ed25519, rsa-3072";
                Err(UnknownWord { what: "scheme of an HSM key", given: s.into(), allowed })
            }
        }
    }
}

impl Backing {
    /// The name in commands and policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Hsm => "hsm",
        }
    }

    /// Reads the name.
    ///
    /// # Errors
    /// [`UnknownWord`] for any other text.
    pub fn parse(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "threshold" => Ok(Self::Threshold),
            "hsm" => Ok(Self::Hsm),
            _ => Err(UnknownWord { what: "backing", given: s.into(), allowed: "threshold, hsm" }),
        }
    }
}

impl Purpose {
    /// The name in commands, configuration and policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Message => "message",
            Self::Raw => "raw",
            Self::Wrap => "wrap",
            Self::Tokenize => "tokenize",
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
            "raw" => Ok(Self::Raw),
            "wrap" => Ok(Self::Wrap),
            "tokenize" => Ok(Self::Tokenize),
            _ => {
                let allowed = "transaction, message, raw, wrap, tokenize";
                Err(UnknownWord { what: "purpose", given: s.into(), allowed })
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for HsmScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
