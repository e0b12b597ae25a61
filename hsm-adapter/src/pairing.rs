//! Two tokens become a pair: both get one transfer key, which neither gives out.
//!
//! It is born on the primary as a key of one session, leaves it under an RSA key of the standby and under one of the
//! primary's own, and is unwrapped on both for good. The RSA keys, and the key as it was born, end with their sessions.
//!
//! Each token may be in a process of its own, with an environment of its own: [`Partner`] is a token wherever it is, and
//! what passes between two is wrapped or public.

mod end;

use crate::config::{Config, Role, configuration};
use crate::desk::{Office, Proof};
use crate::hsm::{CONNECT_MAX, within};
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::HsmError;

pub use end::End;

/// Longest time to pair two tokens: each looks for the primes of an RSA key.
pub const PAIR_MAX: Duration = Duration::from_secs(60);

/// What is done, for errors.
pub const PAIRING: &str = "pairing two tokens";

/// What is known of a token that is to be one of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The token's label.
    pub label: String,
    /// The token's serial number.
    pub serial: String,
    /// Who made the token.
    pub manufacturer: String,
    /// Its identity key.
    pub identity: VerifyingKey,
    /// Whether it has a transfer key.
    pub is_paired: bool,
}

impl Met {
    fn names(&self) -> [&str; 3] {
        [&self.label, &self.serial, &self.manufacturer]
    }
}

/// One of the two tokens, wherever its module runs.
pub trait Partner {
    /// Makes an RSA key for [`Partner::take`]; gives its modulus.
    fn transport(&mut self) -> Result<Vec<u8>, HsmError>;
    /// Makes the transfer key and wraps it for both RSA keys.
    fn bear(&mut self, moduli: [&[u8]; 2]) -> Result<[Vec<u8>; 2], HsmError>;
    /// Keeps the transfer key that was wrapped for the last RSA key.
    fn take(&mut self, wrapped: &[u8]) -> Result<(), HsmError>;
    /// Removes the transfer key.
    fn forget(&mut self) -> Result<(), HsmError>;
    /// What only a token with the same transfer key can open.
    fn prove(&mut self) -> Result<Proof, HsmError>;
    /// Refuses what another token has not proved.
    fn must_open(&mut self, proof: &Proof) -> Result<(), HsmError>;
}

/// Makes the identity keys of both tokens if they have none, and a transfer key if neither has one; gives the public half
/// of the primary's identity key, which is the node's. Blocks.
///
/// The standby's identity key signs for nobody: it tells whether the token is there, as each token's does.
///
/// # Errors
/// [`HsmError`]; [`HsmError::Configuration`] when the tokens are one, or are parts of two pairs.
pub fn provision_pair(primary: Config, standby: Config) -> Result<VerifyingKey, HsmError> {
    within(PAIR_MAX, PAIRING, move |turn| {
        let (mut primary, one) = End::open(Config { role: Role::Primary, ..primary }, *turn)?;
        let (mut standby, other) = End::open(Config { role: Role::Standby, ..standby }, *turn)?;
        Ok(join((&mut primary, &one), (&mut standby, &other))?)
    })
}

/// Makes two tokens a pair, if they are not; gives the primary's identity.
pub fn join<P: Partner>(primary: (&mut P, &Met), standby: (&mut P, &Met)) -> Result<VerifyingKey, HsmError> {
    let ((primary, one), (standby, other)) = (primary, standby);
    must_differ(one.names(), other.names())?;
    match (one.is_paired, other.is_paired) {
        (true, true) => {}
        (false, false) => give_birth(primary, standby)?,
        (true, false) => return Err(half(one)),
        (false, true) => return Err(half(other)),
    }
    compare(primary, standby)?;
    Ok(one.identity.clone())
}

/// Refuses two tokens that do not have one transfer key. Blocks.
pub fn must_be_a_pair(primary: &Arc<Office>, standby: &Arc<Office>) -> Result<(), HsmError> {
    let (primary, standby) = (Arc::clone(primary), Arc::clone(standby));
    within(CONNECT_MAX, "comparing two tokens", move |turn| {
        Ok(compare(&mut End::at(primary, *turn), &mut End::at(standby, *turn))?)
    })
}

/// Refuses one token in two roles, by what tells tokens apart.
pub fn must_differ(one: [&str; 3], other: [&str; 3]) -> Result<(), HsmError> {
    if one == other {
        let [label, ..] = one;
        return Err(configuration(format!("`{label}` is configured as primary and as standby")));
    }
    Ok(())
}

fn give_birth<P: Partner>(primary: &mut P, standby: &mut P) -> Result<(), HsmError> {
    let to_standby = standby.transport()?;
    let to_primary = primary.transport()?;
    let [for_standby, for_primary] = primary.bear([&to_standby, &to_primary])?;
    standby.take(&for_standby)?;
    let kept = primary.take(&for_primary);
    if kept.is_err() {
        // Half a pair would be in the way of the next try.
        standby.forget()?;
    }
    kept
}

/// Refuses two tokens that do not have one transfer key.
pub fn compare<P: Partner>(primary: &mut P, standby: &mut P) -> Result<(), HsmError> {
    let proof = primary.prove()?;
    standby.must_open(&proof)
}

/// Whichever of the two is the right one, nothing is destroyed here that KEKs may be waiting under.
fn half(with: &Met) -> HsmError {
    let label = &with.label;
    let what = format!(
        "only the token `{label}` has a transfer key: it was paired with another token, or pairing was cut short. Remove \
         its key `tally-transfer` and pair again; KEKs that were not given to a standby by then cannot be any more"
    );
    configuration(what)
}
