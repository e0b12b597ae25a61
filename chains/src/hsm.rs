//! What keys in an HSM sign: the bytes of a message as they are (JWS and COSE have their own framing), a file of bank
//! payments, a raw digest, or what is for an EVM chain exactly as a threshold key would. ECDSA and RSA sign SHA-256 of a
//! message, which is hashed here and not by the token.

use crate::{ChainError, Decoded, ToSign, evm, iso20022, typed_data};
use tally_domain::facts::{Facts, RawFacts};
use tally_domain::{ContentKind, Digest, HsmScheme, Scheme};

/// Reads the content of an intent for a key in an HSM, as [`crate::decode`] does for a threshold key.
///
/// # Errors
/// [`ChainError`] when the content is not of that kind, names a chain where there is none, or cannot be signed with that
/// scheme.
pub fn decode_hsm(kind: ContentKind, scheme: HsmScheme, chain: &str, content: &[u8]) -> Result<Decoded, ChainError> {
    match (kind, scheme) {
        (ContentKind::EvmTransaction, HsmScheme::EcdsaSecp256k1) => evm::decode(chain, content),
        (ContentKind::TypedData, HsmScheme::EcdsaSecp256k1) => typed_data::decode(chain, content),
        (ContentKind::Message | ContentKind::PersonalMessage | ContentKind::RawDigest, _) if !chain.is_empty() => {
            Err(ChainError::MessageForChain)
        }
        (ContentKind::Iso20022, _) if !chain.is_empty() => Err(ChainError::PaymentForChain),
        (ContentKind::PersonalMessage, HsmScheme::EcdsaSecp256k1) => {
            crate::message::decode(Scheme::EcdsaSecp256k1, content)
        }
        (ContentKind::EvmTransaction | ContentKind::TypedData | ContentKind::PersonalMessage, _) => {
            Err(ChainError::HsmKeyScheme { scheme })
        }
        (ContentKind::Message, _) => message(scheme, content),
        (ContentKind::Iso20022, _) => payment(scheme, content),
        (ContentKind::RawDigest, _) => raw(scheme, content),
        (
            ContentKind::KeySpec
            | ContentKind::HsmKeySpec
            | ContentKind::WrapSpec
            | ContentKind::KekSpec
            | ContentKind::FreezeSpec
            | ContentKind::UnfreezeSpec
            | ContentKind::VetoSpec
            | ContentKind::DomainSpec
            | ContentKind::DomainChange
            | ContentKind::TokenCall,
            _,
        ) => Err(ChainError::NothingToSign),
    }
}

fn message(scheme: HsmScheme, content: &[u8]) -> Result<Decoded, ChainError> {
    if content.is_empty() {
        return Err(ChainError::Empty);
    }
    Ok(Decoded { facts: Facts::Message(crate::message::facts(content)), to_sign: bytes(scheme, content) })
}

fn payment(scheme: HsmScheme, content: &[u8]) -> Result<Decoded, ChainError> {
    Ok(Decoded { facts: Facts::Payment(iso20022::payment(content)?), to_sign: bytes(scheme, content) })
}

/// What stands for bytes that are signed as they are.
fn bytes(scheme: HsmScheme, content: &[u8]) -> ToSign {
    match scheme {
        HsmScheme::Ed25519 => ToSign::Message(content.to_vec()),
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 | HsmScheme::Rsa3072 => ToSign::Digest(Digest::of(content)),
    }
}

fn raw(scheme: HsmScheme, content: &[u8]) -> Result<Decoded, ChainError> {
    // For ECDSA a digest of zero leaves r and s related by the key alone; nothing hashes to it, so nobody needs it.
    let digest = Digest::from_slice(content).filter(|d| d.0 != [0; 32]).ok_or(ChainError::RawDigest)?;
    let to_sign = match scheme {
        HsmScheme::Ed25519 => ToSign::Message(content.to_vec()),
        HsmScheme::EcdsaP256 | HsmScheme::EcdsaSecp256k1 | HsmScheme::Rsa3072 => ToSign::Digest(digest),
    };
    Ok(Decoded { facts: Facts::Raw(RawFacts { bytes: content.len() as u64 }), to_sign })
}
