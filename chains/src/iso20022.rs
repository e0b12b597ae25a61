//! Files of bank payments: ISO 20022 pain.001 (customer credit transfer initiation), versions 03, 09 and 11.
//!
//! **What is signed** is the file as it is, byte for byte: ECDSA over its SHA-256, Ed25519 over the bytes. There is no
//! XML canonicalisation (C14N): it would sign a second document that nobody sends, whose making is a parser of its own
//! with a history of forgeries (comments that split a text, renamed namespaces, wrapped elements). The facts come from
//! the same bytes, so whoever checks the signature of a file holds the file that policy and people decided about.
//!
//! The key is one for transactions: one for messages signs any bytes, a payment file too, under the rules for messages,
//! so no bank may be given such a key.
//!
//! **What is accepted** is a closed list of elements. What a bank acts on is in the facts: from which account and when,
//! to which account at which bank, how much in which currency, and how (service, instrument, charges, priority). What
//! says only why, or for whom in the end, is let by: addresses, ids and contact details of parties, ultimate debtor and
//! creditor, remittance information, purpose, regulatory reporting, batch booking, and the ids that only the sender
//! uses. All else is refused, never called opaque, so that only rules for payments permit payments: cheques,
//! equivalent amounts, exchange rates, intermediary and forwarding banks, account proxies, branches, proprietary
//! services, separate charges accounts, instructions in words to a bank, taxes, supplementary data. A file has one
//! currency. The count of the group must be there, other counts and control sums may be; all that are there must be right.
//!
//! **What is refused of XML** is all of it that readers differ on: document types and so every entity but the five
//! that XML predefines, character references, comments, CDATA, processing instructions, namespace prefixes.

mod fault;
mod fields;
mod pain001;
mod value;
mod xml;

pub use fault::{BadPayment, Fault};
pub use pain001::TRANSFERS_MAX;
pub use xml::{DEPTH_MAX, ELEMENTS_MAX, FILE_MAX_BYTES};

use crate::{ChainError, Decoded, ToSign};
use sha2::{Digest as _, Sha256};
use tally_domain::facts::{Facts, PaymentFacts};
use tally_domain::{Digest, Scheme};

/// Reads a payment file, whatever signs it. The bytes to sign are the file's own.
///
/// # Errors
/// [`ChainError::Empty`] or [`ChainError::Payment`].
pub fn payment(content: &[u8]) -> Result<PaymentFacts, ChainError> {
    if content.is_empty() {
        return Err(ChainError::Empty);
    }
    Ok(pain001::facts(xml::read(content)?)?)
}

pub(crate) fn decode(scheme: Scheme, content: &[u8]) -> Result<Decoded, ChainError> {
    let facts = Facts::Payment(payment(content)?);
    let to_sign = match scheme {
        Scheme::EcdsaSecp256k1 | Scheme::Taproot => ToSign::Digest(Digest(Sha256::digest(content).into())),
        Scheme::Ed25519 => ToSign::Message(content.to_vec()),
    };
    Ok(Decoded { facts, to_sign })
}
