//! The Rust SDK of Tigertally: signs intents, sends them, and sends them again where that is safe.
//!
//! Does: loads a profile ([`Profile`]), builds and signs intents ([`Order`]), calls any node over mutual TLS and goes on
//! to the next one when a node is away, and to a key's home when the key lives in one node's HSM ([`Client`]), and turns answers and refusals into types of its own.
//! Does not: hold shares, decode transactions, or decide anything. It does not verify signatures either: what a node
//! answers is to be checked by whoever relies on it, with the chain's own library and the key's public key.
//!
//! A retry always sends the *same* envelope. The request id in it names one intent for ever, so that sending it twice,
//! to whichever nodes, can give one signature only.

mod answer;
mod approvals;
mod audit;
mod batch;
mod cancel;
mod channel;
mod client;
mod error;
mod freezes;
mod homes;
mod limits;
mod order;
mod policy;
mod profile;
mod retry;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;
mod tokens;
mod watch;
mod witnesses;
mod wrap;

pub use answer::{
    ActiveRule, BanInfo, ChangeInfo, ChangedKek, Child, CreatedKek, CreatedKey, DataKey, DecidedInfo, Deleted,
    DomainInfo, DomainKeyInfo, DoneBy, ExplainedInfo, Found, FreezeInfo, Frozen, HeardInfo, HsmInfo, JudgementInfo,
    KekInfo, KekVersionInfo, KeyBacking, KeyInfo, KeyUse, LatencyInfo, LimitChargeInfo, LimitInfo, LimitsInfo,
    LineInfo, NodeInfo, NotActive, OutcomeInfo, PathInfo, PeerInfo, PendingInfo, PolicyInfo, ProposalInfo, Proposed,
    QuorumInfo, ReplayCounts, ReplayedChange, RequestInfo, RequestPage, RequestState, Revealed, RotationInfo, SaidInfo,
    Signed, StageInfo, Stands, TokenInfo, Tokenized, Told, Unfrozen, Unwrapped, VetoedBundle, WorkInfo, Wrapped,
    WrappedBy, together,
};
pub use audit::LogCheckpoint;
pub use client::Client;
pub use error::{ClientError, Exit, Refused};
pub use order::{APPROVAL_TIME_MAX_MS, Order, SealedIntent, VALIDITY_MS};
pub use profile::{ENDPOINTS_MAX, Profile, ProfileError, signing_key};
pub use retry::ATTEMPTS_MAX;
pub use streams::{CardRow, CardStream, GivenToken, MESSAGE_ROWS_MAX, Row, RowRefused, TokenStream};
pub use tokens::BoundCard;
pub use tonic::Code;
pub use watch::Watched;
pub use wrap::Plain;
