//! The crate through its public interface, with card numbers that others have published.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests fail loudly"
)]

mod bindings;
mod calls;
mod cards;
mod formats;
mod guards;
mod helpers;
mod lives;
mod plain;
mod rotations;
mod scrubbing;
mod specs;
mod types;
