//! Modules in processes of their own: what callers see of them, and what examining one finds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod doctor;
mod pair;
mod remote;
mod world;
