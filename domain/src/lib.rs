//! The words of Tigertally, as types.
//!
//! Does: ids, thresholds, schemes, intents and the envelope they travel in, votes and certificates, key records,
//! freezes, facts, public keys and their signatures, reasons for refusal, secrets, and the ports that the edges implement.
//! Does not: any input or output. No clock, no operating system randomness, no sockets, no files.

pub mod account;
pub mod activation;
pub mod approval;
pub mod boot;
pub mod cancel;
pub mod claim;
pub mod currency;
pub mod digest;
pub mod dsse;
pub mod evidence;
pub mod facts;
pub mod freeze;
pub mod hsm_key;
pub mod ids;
pub mod intent;
pub mod kek;
pub mod key;
pub mod limit;
pub mod path;
pub mod ports;
pub mod quorum;
pub mod reason;
pub mod roster;
pub mod scheme;
pub mod secret;
pub mod spki;
pub mod threshold;
pub mod time;
pub mod token;
pub mod vote;
pub mod wrap;

pub use account::{Account, Agent};
pub use approval::Approval;
pub use claim::{Claims, Interval, LineClaim};
pub use currency::Currency;
pub use digest::Digest;
pub use freeze::{Freeze, FreezeId, FreezeName, Scope};
pub use hsm_key::{HsmKeyRecord, HsmKeySpec, Material};
pub use ids::{
    Attempt, ClientId, ClusterId, DomainName, Epoch, Incarnation, KeyName, LimitId, NodeName, PartyIndex, PersonName,
    RequestId, Subject, Tenant,
};
pub use intent::{Action, ContentKind, Intent, KeySpec};
pub use kek::{KekChange, KekEvent, KekNumber, KekSpec, KekState, KekVersion};
pub use limit::{Charge, LineId};
pub use path::DerivationPath;
pub use quorum::{Electorate, Quorum};
pub use reason::{Reason, Refusal};
pub use scheme::{Backing, HsmScheme, Purpose, Scheme};
pub use secret::SecretBytes;
pub use spki::PublicKey;
pub use threshold::{SignerSet, Threshold};
pub use time::UnixMillis;
pub use wrap::{EncryptionContext, WrapCall, WrapFacts, WrapKind, WrapLabel, WrapSpec, WrappedKey};
