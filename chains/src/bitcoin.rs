//! What Taproot keys sign, and their addresses. Transactions of Bitcoin are not decoded: what is signed of them is a digest
//! that nobody here looks behind.

use crate::{ChainError, Decoded, ToSign};
use bech32::{Fe32, Hrp, hrp, segwit};
use sha2::{Digest as _, Sha256};
use tally_domain::Digest;
use tally_domain::facts::{Facts, RawFacts};

/// What messages are hashed under. BIP-340 asks for a tag of one's own, so that no message is a transaction's digest.
const MESSAGE_TAG: &str = "tally/message";

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitcoinNetwork {
    /// `bc1p...`
    Main,
    /// `tb1p...`: testnet and signet.
    Test,
}

/// The address of an output key (BIP-341), as BIP-350 writes it.
///
/// # Errors
/// [`ChainError::PublicKey`] when no point has that x.
pub fn taproot_address(output_key: &[u8], network: BitcoinNetwork) -> Result<String, ChainError> {
    k256::schnorr::VerifyingKey::from_slice(output_key).map_err(|_| ChainError::PublicKey)?;
    let hrp: Hrp = match network {
        BitcoinNetwork::Main => hrp::BC,
        BitcoinNetwork::Test => hrp::TB,
    };
    segwit::encode(hrp, Fe32::P, output_key).map_err(|_| ChainError::PublicKey)
}

/// The tagged hash of a message (BIP-340).
pub(crate) fn message_digest(content: &[u8]) -> Digest {
    let tag = Sha256::digest(MESSAGE_TAG);
    Digest(Sha256::new().chain_update(tag).chain_update(tag).chain_update(content).finalize().into())
}

/// A digest as it is, or one and the Merkle root of the scripts that the output commits to.
pub(crate) fn raw(content: &[u8]) -> Result<Decoded, ChainError> {
    let (digest, root) = content.split_at_checked(32).ok_or(ChainError::RawOutput)?;
    let digest = Digest::from_slice(digest).filter(|d| d.0 != [0; 32]).ok_or(ChainError::RawOutput)?;
    let to_sign = match Digest::from_slice(root) {
        Some(merkle_root) => ToSign::Output { digest, merkle_root },
        None if root.is_empty() => ToSign::Digest(digest),
        None => return Err(ChainError::RawOutput),
    };
    Ok(Decoded { facts: Facts::Raw(RawFacts { bytes: content.len() as u64 }), to_sign })
}
