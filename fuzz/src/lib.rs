//! One fuzz target for each decoder of what others send, store or configure, and a driver that changes examples at random.
//!
//! Does: names the targets ([`TARGETS`]), each with examples that must be read and with what must hold of whatever is read:
//! that it is written again as the same bytes, that nothing verifies which nobody signed, that a second reader agrees. Plays
//! them from a seed ([`play`]) in every run of all tests, and with coverage in `cargo xtask long fuzz` (`src/bin/guided.rs`).
//! Does not: read files but those of `corpus/`, which are bytes that once broke something or that no code here makes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fuzz target is a test: whatever cannot be must end it loudly"
)]

mod bodies;
mod bundle;
mod cards;
mod config;
mod corpus;
mod dice;
mod evm;
mod frames;
mod intent;
mod log;
mod payment;
mod play;
mod rounds;
mod rpc;
mod sealed;
mod signed;
mod target;
mod typed_data;
mod world;

pub use corpus::{examples, keep};
pub use play::{Budget, Failure, Played, play, smallest};
pub use target::{TARGETS, Target, Verdict, named};
