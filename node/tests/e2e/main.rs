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

mod approvals;
mod attempts;
mod bad_approvals;
mod bad_freezes;
mod bad_input;
mod bundles;
mod canaries;
mod cancelled;
mod cards;
mod cards_bad;
mod cards_import;
mod cards_keys;
mod cards_limits;
mod cards_others;
mod check_config;
mod children;
mod evil;
mod evm;
mod freezes;
mod frozen_keks;
mod full_disk;
mod harness {
    pub mod admins;
    pub mod anvil;
    pub mod cards;
    pub mod certs;
    pub mod cluster;
    pub mod json_rpc;
    pub mod orders;
    pub mod people;
    pub mod raw;
    pub mod secrets;
    pub mod stock;
    pub mod vault;
    pub mod watch;
}
mod home_limits;
mod kills;
mod limits;
mod limits_votes;
mod main_job;
mod outages;
mod overload;
mod payments;
mod peers;
mod policies;
mod policy_crashes;
mod policy_questions;
mod policy_refusals;
mod processes;
mod reads;
mod reloads;
mod resident;
mod rollback;
mod rpc;
mod standby;
mod starts;
mod stock_clients;
mod storm;
mod streams;
mod tokens;
mod watched;
mod wrap;
mod wrap_life;
