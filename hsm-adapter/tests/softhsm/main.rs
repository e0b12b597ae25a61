//! The adapter on SoftHSM. SoftHSM's configuration belongs to a process, so each test runs in a process of its own: it
//! starts this very binary again for itself alone, with the variable set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod kek;
mod process;
mod resident;
