//! Messages: signed under the EIP-191 prefix by ECDSA, as they are by Ed25519, as a tagged hash by Taproot keys.

use crate::{ChainError, Decoded, ToSign};
use tally_domain::facts::{Facts, MessageFacts};
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
    let facts = MessageFacts { bytes: content.len() as u64, text: std::str::from_utf8(content).is_ok() };
    Ok(Decoded { facts: Facts::Message(facts), to_sign })
}
