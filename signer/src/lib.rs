//! The use cases: admit, claim, compute, release, record; and the sessions that drive them, as machines without I/O.
//!
//! Does: decides at this node whether a request may be signed, votes for it, computes and releases this node's partial
//! signature only after the certificate and only after it is durable, combines and verifies the signature, creates
//! keys, freezes them and lifts that, and says what to do with a request that an earlier attempt left unfinished.
//! Does not: read a clock, draw randomness of its own, touch a disk, a socket or a token. Every session is an event in,
//! actions out; the node drives it with real parts and a simulation drives it from a seed.
//!
//! The order of a signature is proved by types: [`admit::Opened`] -> [`admit::Permit`] -> [`claims::Claimed`] ->
//! [`claims::Certified`] -> [`release::Unreleased`] -> [`release::Released`]. Each is minted only by the step before it. A
//! key in an HSM is signed with by one node: [`admit::Opened`] -> [`hsm_sign::HsmPermit`] -> [`hsm_sign::HsmSigning`] ->
//! [`hsm_sign::Completed`]; and so is wrapped: [`admit::Opened`] -> [`wrap::WrapPermit`] -> [`wrap::Underway`] ->
//! [`wrap::WrapDone`]. Either goes on from its permit only with [`claims::Cleared`], leave of every limit that applies.

pub mod admit;
pub mod approval;
pub mod boot;
pub mod claims;
pub mod freeze;
pub mod hsm_key;
pub mod hsm_sign;
pub mod judge;
pub mod kek;
pub mod keygen_session;
pub mod recovery;
pub mod release;
pub mod result;
pub mod session;
pub mod sign_session;
pub mod tokens;
pub mod veto;
mod wire;
pub mod wrap;

pub use session::{Action, Failure, PersistId};
