//! Threshold protocols as machines without I/O: an event in, actions out; bytes in, bytes out.
//!
//! Does: key generation and signing by t of n nodes, for ECDSA over secp256k1 (DKLs23, ePrint 2023/765), Ed25519 (FROST,
//! RFC 9591) and Taproot (FROST with the challenge of BIP-340 and the tweak of BIP-341); presignatures that are used once and
//! re-randomised (Groth-Shoup, ePrint 2021/1330); non-hardened derivation, over secp256k1 that of BIP-32; verification of
//! every signature before it is given out; names the culprit of a failed check where the scheme can.
//!
//! Does not: send, store, wait or read a clock. It keeps no record of bans ([`Fault::bans`] says whom, the caller makes it
//! durable before anything observable, S-3.15), does not decide who votes or when a partial is released, and does not
//! catch panics of the libraries (the caller does, S-3.16). It does not refresh or reshare.
//!
//! The sender of a message is an argument, taken from the authenticated channel (S-3.20); no message is believed about who
//! sent it. Every message carries a hash of the session, round, sender and receiver (S-3.19). Messages are secret: they
//! belong in an encrypted channel between exactly two nodes.
//!
//! One exception to purity: `dkls23-core` draws its randomness from its own thread-local generator, seeded by the
//! operating system, and offers no way to pass one in. The generator that callers pass is used by FROST only.

pub mod derive;
mod dkls;
pub mod fault;
mod frost;
pub mod keygen;
mod machine;
pub mod offline;
pub mod online;
pub mod session;
pub mod share;
pub mod signature;
mod wire;

pub use derive::{Derived, derive, derive_output, output_key, xpub};
pub use fault::Fault;
pub use keygen::{Keygen, KeygenOutput};
pub use machine::{Outgoing, Progress};
pub use offline::{Offline, Presignature};
pub use online::{Combiner, SignInput, combine, partial};
pub use session::{Protocol, SessionContext, SessionId};
pub use share::KeyShare;
pub use signature::{Signature, verify};
pub use wire::{HEADER_BYTES, MESSAGE_MAX_BYTES};
