//! Claims: what only one request may have, and how that is made certain without trusting anyone.
//!
//! A voter gives one vote for one object and writes it down before anyone hears of it. The objects are an attempt at a
//! request with its exact signers, digest and one-time material ([`ballot`]), and the pieces of limits' lines that the
//! same vote takes ([`voter`], [`placement`], [`room`]). All of S must vote, and where a limit applies a quorum of all voters: any
//! two such sets share a voter that neither lies nor has forgotten, so two certificates never contradict each other
//! (DESIGN 5.1, reference 2.5). Whoever votes twice leaves the proof of it ([`tally_domain::evidence`]).
//!
//! Which claims exclude each other is [`tally_domain::claim`], which the store asks too.

pub mod ballot;
pub mod home;
pub mod placement;
pub mod room;
pub mod standing;
pub mod voter;

pub(crate) use ballot::wanted;
pub use ballot::{BadVote, Ballot, Binding, Certified, Unclosed, vote, vote_body};
pub(crate) use home::decide_home_asked;
pub use home::{Cleared, HomeBallot, HomeCertified, HomeClaim, HomeWork, decide_home};
pub use placement::{NoRoom, Part, Placer};
pub use room::{Room, Search, Seen};
pub use standing::{stands, stood};
pub use voter::{Claimed, Concurring, InTheWay, NotAccepted, claim, concur, in_the_way};
