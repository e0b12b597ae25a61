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

mod answers;
mod bodies;
mod bundle;
mod callers;
mod cards;
mod cast;
mod certificates;
mod config;
mod corpus;
mod dice;
mod edits;
mod evm;
mod frames;
mod intent;
mod late;
mod log;
mod payment;
mod play;
mod rounds;
mod rows;
mod rpc;
mod sealed;
mod sessions;
mod signed;
mod state;
mod target;
mod typed_data;
mod words;
mod world;

pub use corpus::{examples, keep};
pub use play::{Budget, Failure, Played, play, smallest};
pub use target::{TARGETS, Target, Verdict, named};
