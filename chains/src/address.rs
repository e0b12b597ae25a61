//! EVM addresses, to and from text.

use crate::ChainError;
use alloy_primitives::Address;
use k256::elliptic_curve::sec1::ToSec1Point;

/// Longest part of a wrong address that an error repeats: an address and a little more.
const ADDRESS_SHOWN_MAX_CHARS: usize = 64;

/// The address of a public key, as `0x` and 40 hex digits with the EIP-55 checksum.
///
/// # Errors
/// [`ChainError::PublicKey`] when the bytes are no SEC1 point of secp256k1, compressed or not.
pub fn evm_address(public_key_sec1: &[u8]) -> Result<String, ChainError> {
    let key = k256::PublicKey::from_sec1_bytes(public_key_sec1).map_err(|_| ChainError::PublicKey)?;
    let point = key.to_sec1_point(false);
    // The point is 0x04, x, y; the address is hashed over x and y alone.
    let (_, coordinates) = point.as_bytes().split_first().ok_or(ChainError::PublicKey)?;
    Ok(Address::from_raw_public_key(coordinates).to_checksum(None))
}

/// Reads an address: `0x` and 40 hex digits, of one case, or of both with the right EIP-55 checksum.
///
/// # Errors
/// [`ChainError::Address`].
pub fn parse_evm_address(text: &str) -> Result<[u8; 20], ChainError> {
    let bad = || ChainError::Address { given: text.chars().take(ADDRESS_SHOWN_MAX_CHARS).collect() };
    let digits = text.strip_prefix("0x").ok_or_else(bad)?;
    let address: Address = digits.parse().map_err(|_| bad())?;
    let one_case = !digits.bytes().any(|b| b.is_ascii_uppercase()) || !digits.bytes().any(|b| b.is_ascii_lowercase());
    if digits.len() == 40 && (one_case || address.to_checksum(None) == text) {
        Ok(address.into_array())
    } else {
        Err(bad())
    }
}
