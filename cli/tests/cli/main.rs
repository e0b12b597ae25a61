//! The `tally` program from outside: arguments, exit codes, what it prints, and what it leaves on the disk. Nodes are
//! stand-ins here; the tour (`tally demo`) is the test with real ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail loudly"
)]

mod audit;
mod cards;
mod commands;
mod dev;
mod hsm;
mod intents;
mod manual;
mod policy;
mod world;
