//! Calls of contracts that no standard explains. A bundle may: it can have the ABI of a contract.

use super::Amount;

/// The calls that are understood without any ABI, by their selectors, in the order of their signatures. A contract's own ABI
/// never gives them another meaning.
pub const STANDARD_SELECTORS: [[u8; 4]; 12] = [
    [0x09, 0x5e, 0xa7, 0xb3], // approve(address,uint256)
    [0x87, 0x51, 0x7c, 0x45], // approve(address,address,uint160,uint48)
    [0xac, 0x96, 0x50, 0xd8], // multicall(bytes[])
    [0xd5, 0x05, 0xac, 0xcf], // permit(address,address,uint256,uint256,uint8,bytes32,bytes32)
    [0x8f, 0xcb, 0xaf, 0x0c], // permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)
    [0x2e, 0xb2, 0xc2, 0xd6], // safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)
    [0x42, 0x84, 0x2e, 0x0e], // safeTransferFrom(address,address,uint256)
    [0xb8, 0x8d, 0x4f, 0xde], // safeTransferFrom(address,address,uint256,bytes)
    [0xf2, 0x42, 0x43, 0x2a], // safeTransferFrom(address,address,uint256,uint256,bytes)
    [0xa2, 0x2c, 0xb4, 0x65], // setApprovalForAll(address,bool)
    [0xa9, 0x05, 0x9c, 0xbb], // transfer(address,uint256)
    [0x23, 0xb8, 0x72, 0xdd], // transferFrom(address,address,uint256)
];

/// Permit2, whose calls no ABI explains: all but `approve` are opaque.
pub const PERMIT2: &str = "0x000000000022d473030f116ddee9f6b43ac78ba3";

/// A call with the selector of no standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadCall {
    /// Coins that are sent along.
    pub value: Amount,
    /// The call data, at least a selector.
    pub input: Vec<u8>,
    /// The most that the transaction can cost in fees, in the chain's native smallest unit.
    pub fee_max: Amount,
    /// The sender's transaction counter.
    pub nonce: u64,
}
