//! Examines a token that is to become a node's: what it offers, whether its answers are right, and how it differs. The
//! result is a capability file for the node's configuration, and a line for each check.
//!
//! Keys that are there are left alone. What is made lives in a session, or, where that was ordered, on the token under a
//! label of its own, and is removed again. The module is called in a process of its own ([`examine`] starts it and
//! [`attend`] is its life), so that a module that crashes or hangs is a finding.

mod attributes;
mod capability;
mod examine;
mod gcm;
mod hash;
mod limits;
mod patient;
mod random;
mod signing;
mod stored;
mod token;
mod unlisted;
mod wrap;

use crate::fault::{Class, Fault};
use patient::Patient;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use examine::{attend, examine};

/// What is to be examined, and how far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The token's serial number. May be left out only where a single token has the label.
    pub serial: Option<String>,
    /// File with the user PIN.
    pub pin_file: PathBuf,
    /// Whether objects may be stored on the token, and removed again.
    pub write_token_objects: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Longest that one check may take, in seconds.
    pub patience_s: u64,
}

/// What came of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One or more for each check.
    pub findings: Vec<Finding>,
    /// The capability file, if the token could be looked at.
    pub capability: Option<String>,
    /// Whether a node can use the token; unknown after a dry run.
    pub usable: Option<bool>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub check: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// Whether a node needs it.
    pub needed: bool,
    /// What was seen.
    pub what: String,
    /// What to do about it, if anything.
    pub todo: Option<String>,
}

/// What a finding comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not as elsewhere, and we can live with it.
    Differs,
    /// The token will not do it.
    Refused,
    /// The token has no such thing.
    NotOffered,
    /// It does it, and wrongly.
    Wrong,
    /// It fails.
    Failed,
    /// It ended the process.
    Crashed,
    /// It did not come back.
    Hangs,
    /// A dry run: it would be done.
    Planned,
}

impl Verdict {
    fn is_bad(self) -> bool {
        !matches!(self, Self::Ok | Self::Differs | Self::Planned)
    }
}

/// A check.
struct Check {
    name: &'static str,
    /// What it makes, and removes again.
    makes: &'static str,
    /// Whether a node cannot do without what is checked.
    needed: bool,
    /// Whether it stores objects on the token.
    stores: bool,
    run: fn(&Patient<'_>) -> Result<Vec<Finding>, Fault>,
}

const NOTHING: &str = "nothing";

const fn check(name: &'static str, makes: &'static str, run: fn(&Patient<'_>) -> Result<Vec<Finding>, Fault>) -> Check {
    Check { name, makes, needed: true, stores: false, run }
}

/// One that a node can do without, or without a part of.
const fn extra(name: &'static str, makes: &'static str, run: fn(&Patient<'_>) -> Result<Vec<Finding>, Fault>) -> Check {
    Check { name, makes, needed: false, stores: false, run }
}

const CHECKS: &[Check] = &[
    check("info", NOTHING, token::info),
    extra("mechanisms", NOTHING, token::mechanisms),
    check("random numbers", NOTHING, random::numbers),
    check("AES keys", "an AES key", attributes::sealing_template),
    extra("AES defaults", "an AES key", attributes::defaults),
    check("AES-GCM IV", "an AES key", gcm::who_makes_the_iv),
    check("AES-GCM vector", "an AES key with a published value", gcm::vector),
    extra("AES-GCM wrong tag", "an AES key", gcm::wrong_tag),
    extra("AES-GCM empty IV", "an AES key", gcm::empty_iv),
    extra("AES-KW lengths", "two AES keys", wrap::value_len),
    extra("AES-KW vector", "AES keys with published values", wrap::vector),
    extra("AES-KW odd length", "an AES key and a secret", wrap::odd_length),
    extra("AES-KWP number", "keys with published values", wrap::kwp),
    extra("HMAC-SHA-256", "secrets with published values", hash::hmac),
    check("Ed25519", "a pair of keys", signing::ed25519),
    extra("ECDSA P-256", "a pair of keys", signing::p256),
    extra("ECDSA secp256k1", "a pair of keys", signing::secp256k1),
    extra("RSA-PSS 3072", "a pair of keys", signing::rsa),
    check("EXTRACTABLE", "an AES key", attributes::extractable),
    check("MODIFIABLE", "an AES key", attributes::modifiable),
    extra("mechanism kept", "an AES key", attributes::allowed_mechanisms),
    extra("equal ids", "two AES keys", attributes::equal_ids),
    check("sessions", NOTHING, limits::sessions),
    extra("timing", "an AES key and a pair of keys", limits::timing),
    Check { stores: true, ..check("stored keys", "an AES key on the token", stored::keys) },
    extra("start anew", NOTHING, token::restart),
];

impl Check {
    fn finding(&self, verdict: Verdict, what: impl Into<String>) -> Finding {
        let Self { name, needed, .. } = self;
        Finding { check: (*name).into(), verdict, needed: *needed, what: what.into(), todo: None }
    }

    /// What a check that did not come to its end found.
    fn failed(&self, fault: &Fault) -> Finding {
        let verdict = if fault.class == Class::Refused { Verdict::Refused } else { Verdict::Failed };
        let todo = match (self.needed, verdict) {
            (true, Verdict::Refused) => "a node needs this: look for a setting or policy of the token that forbids it",
            (true, _) => "a node needs this: look at the token's own log",
            (false, _) => "what depends on it cannot be used with this token",
        };
        Finding { todo: Some(todo.into()), ..self.finding(verdict, fault.error.to_string()) }
    }
}

/// A finding of a check that has come to its end; the check's name and need are filled in by its caller.
fn found(verdict: Verdict, what: impl Into<String>) -> Finding {
    Finding { check: String::new(), verdict, needed: true, what: what.into(), todo: None }
}

impl Finding {
    fn so(self, todo: &str) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }

    /// Whatever it comes to, a node can do without.
    fn optional(self) -> Self {
        Self { needed: false, ..self }
    }
}
