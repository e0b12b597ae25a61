//! Real clusters: `tallyd` processes with SoftHSM tokens, mTLS and SQLite, called from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests fail loudly"
)]

mod attempts;
mod bad_freezes;
mod bad_input;
mod bundles;
mod freezes;
mod harness {
    pub mod certs;
    pub mod cluster;
    pub mod orders;
    pub mod raw;
}
mod kills;
mod main_job;
mod outages;
mod payments;
mod peers;
mod reads;
mod resident;
mod rollback;
mod starts;
mod tokens;
