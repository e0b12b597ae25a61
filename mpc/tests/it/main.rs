//! The protocols through their public API: keys made, signatures checked by libraries that are not ours, and peers that lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod derivation;
mod harness;
mod hostile;
mod keys;
mod rfc9591;
mod signing;
mod taproot;
mod types;
mod wycheproof;
