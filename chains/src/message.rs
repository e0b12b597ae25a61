//! Messages: signed under the EIP-191 prefix by ECDSA, as they are by Ed25519, as a tagged hash by Taproot keys.

use crate::{ChainError, Decoded, ToSign};
use tally_domain::facts::{Facts, MessageFacts};

/// Contracts take a message of this length for a digest that was signed by `eth_sign` (Safe's and other wallets'), and some
/// chains take the digest of a transaction itself. Whoever wants one that reads like text tries until it does.
const DIGEST_BYTES: usize = 32;
use tally_domain::{Digest, Scheme};

pub(crate) fn decode(scheme: Scheme, content: &[u8]) -> Result<Decoded, ChainError> {
    if content.is_empty() {
        return Err(ChainError::Empty);
    }
    let to_sign = match scheme {
        // EIP-191 version 0x45: "\x19Ethereum Signed Message:\n" and the length keep a message from being a transaction.
        Scheme::EcdsaSecp256k1 => ToSign::Digest(Digest(alloy_primitives::eip191_hash_message(content).0)),
        Scheme::Ed25519 => ToSign::Message(content.to_vec()),
        Scheme::Taproot => ToSign::Digest(crate::bitcoin::message_digest(content)),
    };
    Ok(Decoded { facts: Facts::Message(facts(content)), to_sign })
}

/// What is known of a message. Text is what people can read and is no digest.
pub(crate) fn facts(content: &[u8]) -> MessageFacts {
    let readable = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let text = std::str::from_utf8(content).is_ok_and(|text| text.chars().all(readable));
    MessageFacts { bytes: content.len() as u64, text: text && content.len() != DIGEST_BYTES }
}
