//! The use cases through their public interface. Sessions are proved by `sim/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod admission;
mod approvals;
mod ballots;
mod frozen;
mod frozen_keks;
mod home;
mod keks;
mod limited;
mod recovery;
mod resident;
mod results;
mod types;
mod vetoes;
mod world;
