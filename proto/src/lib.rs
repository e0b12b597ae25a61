//! The `tally.v1` contract as Rust: messages, clients, servers and a descriptor set.
//!
//! Does: holds what `cargo xtask codegen` generates from `tally/v1/*.proto` and commits to `src/generated`.
//! Does not: validate, convert or interpret anything. Wire types stay at the edge; whoever receives one turns it into a
//! domain type before use.

/// Package `tally.v1`.
#[rustfmt::skip]
pub mod v1 {
    #![allow(clippy::all, clippy::restriction, missing_docs, reason = "generated; the contract is what is reviewed")]

    include!("generated/tally.v1.rs");
}

/// All files of the contract as an encoded `google.protobuf.FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/tally.bin");
