//! The SDK through its public API: intents against the contract, profiles on a disk, calls against servers over mTLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod calls;
mod files;
mod intents;
mod profiles;
mod servers;
