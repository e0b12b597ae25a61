//! Each node's audit log: what its leaves say, how they are proven, and how anyone checks them offline.
//!
//! Does: events as canonical leaves ([`event`]), RFC 6962 hashing, frontiers and proofs ([`merkle`]), C2SP signed notes
//! and checkpoints ([`note`], [`checkpoint`]), the offline files ([`export`]), and the check of one log or of several
//! together ([`verify`]).
//! Does not: read or write files, hold keys, read clocks, cosign other nodes' checkpoints, or run policy again. It
//! trusts the roster it is given and nothing else.

pub mod checkpoint;
pub mod event;
pub mod export;
pub mod merkle;
pub mod note;
pub mod verify;

pub use checkpoint::Checkpoint;
pub use event::{Event, Origin, Verdict, What};
pub use merkle::Frontier;
