//! `tallyd`, one node: reads its configuration, opens its token, store and bundle, and serves.
//!
//! Does: terminates mTLS and says who calls, converts wire types, drives the sessions of `tally-signer` with real
//! parts (tokio, SQLite, PKCS#11, peer links), and keeps the log's checkpoints.
//! Does not: decide (that is `tally-signer` with `tally-policy`), nor trust anything that another node says about a request.

mod admission;
mod approvals;
mod approve;
mod backoff;
mod boot;
mod bundle_news;
mod bundles;
mod caller;
mod calls;
mod cancel;
mod check;
mod checkpoint;
mod clock;
pub mod config;
mod connections;
mod convert;
mod deadline;
mod decisions;
mod drive;
mod explain;
mod failpoint;
mod first_bundle;
mod freeze_news;
mod freezes;
mod gate;
mod greet;
mod holds;
mod home_claims;
mod hsm_keys;
mod hsm_names;
mod inflight;
mod judgements;
mod kek_care;
mod keks;
mod keys;
mod lead_batch;
mod lead_bundle;
mod lead_domain;
mod lead_freeze;
mod lead_hsm;
mod lead_hsm_key;
mod lead_kek;
mod lead_key;
mod lead_sign;
mod lead_token;
mod lead_wrap;
mod limits;
mod lines;
mod log_check;
pub mod metrics;
mod node;
mod participate;
mod past;
mod peers;
mod recover;
mod reload;
mod replay;
mod reply;
mod rpc;
mod scrub;
mod serve;
mod services;
mod sessions;
mod signed;
mod stages;
mod standing;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod token;
pub mod traces;
mod turn;
mod typed_errors;
mod vault;
mod written;

pub use boot::{accept_restore, load_bundle};
pub use check::faults;
pub use scrub::scrubbed_stderr;
pub use serve::run;
pub use token::init_identity;
