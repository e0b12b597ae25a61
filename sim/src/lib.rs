//! The whole cluster in one thread, driven from a seed: the machines of `tally-signer`, a network that loses, repeats,
//! reorders and cuts, nodes that crash before and after a write, leaders that race, members that cheat,
//! and leaders that lie.
//!
//! Does: plays a schedule, keeps a history of what left every node, and says what the history breaks: one digest for a
//! request (I1), one partial for a nonce (I2, I3), certified claims disjoint and no limit exceeded (I4, I5), nothing
//! released or voted that is not durable (I7, I8), no ban of an honest node (I13), nothing used that the node knows to be
//! frozen or rejected or not approved by the persons whom the rule asks, one result for ever (I14), logs that verify together (I15), and that every request completes
//! after the faults have stopped. The same seed gives the same schedule.
//! Does not: sockets, files, clocks, threads. It plays what `node/` does around the machines in simplified form, so it
//! proves the machines and the order of steps, not the wiring. `dkls23-core` draws its own randomness: with ECDSA keys
//! the schedule is the same for a seed, the bytes are not.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation is a test: whatever cannot be must end the run loudly"
)]

pub mod byzantine;
pub mod check;
pub mod cluster;
pub mod evil;
pub mod faults;
pub mod genesis;
pub mod history;
pub mod journal;
pub mod persons;
pub mod world;

mod approve;
mod drive;
mod freeze;
mod lead;
mod limits;
mod member;
mod node;
mod packet;
mod recover;

pub use byzantine::Behaviour;
pub use cluster::Cluster;
pub use evil::Lie;
pub use faults::Faults;
pub use genesis::{Genesis, Silence};
pub use world::World;
