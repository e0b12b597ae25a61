//! One of two tokens, with its module in a process of its own.

use super::child::Process;
use super::keeper::{attend, blamed};
use super::link::Link;
use super::{GRACE, RemoteConfig};
use crate::config::Role;
use crate::desk::Proof;
use crate::pairing::{Met, PAIR_MAX, PAIRING, Partner, compare, join};
use crate::wire::{Bytes, Carried, Opening, Part};
use std::sync::Arc;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::HsmError;

/// The token's process, for as long as this lives.
struct Far {
    process: Process,
    link: Arc<Link>,
}

/// As [`crate::provision_pair`], each module in a process of its own. Blocks.
///
/// # Errors
/// [`HsmError`].
pub fn provision_pair_remote(primary: &RemoteConfig, standby: &RemoteConfig) -> Result<VerifyingKey, HsmError> {
    let (mut primary, one) = Far::open(primary, Role::Primary)?;
    let (mut standby, other) = Far::open(standby, Role::Standby)?;
    let identity = join((&mut primary, &one), (&mut standby, &other))?;
    primary.leave();
    standby.leave();
    Ok(identity)
}

/// Refuses two tokens that are not a pair. Blocks.
pub fn compare_pair_remote(primary: &RemoteConfig, standby: &RemoteConfig) -> Result<(), HsmError> {
    let (mut primary, _) = Far::open(primary, Role::Primary)?;
    let (mut standby, _) = Far::open(standby, Role::Standby)?;
    compare(&mut primary, &mut standby)?;
    primary.leave();
    standby.leave();
    Ok(())
}

impl Far {
    fn open(config: &RemoteConfig, role: Role) -> Result<(Self, Met), HsmError> {
        let (process, socket) = Process::start(config)?;
        let link = Link::over(socket)?;
        let answer = link.call(PAIRING, PAIR_MAX + GRACE, &config.hello(Opening::Pair(config.chosen(role))));
        match attend(&link, answer, || false) {
            Ok(met) => Ok((Self { process, link }, met)),
            Err(e) => Err(blamed(e, config, process, &link)),
        }
    }

    fn ask<T: Carried>(&self, part: &Part<'_>) -> Result<T, HsmError> {
        attend(&self.link, self.link.call(PAIRING, PAIR_MAX + GRACE, part), || false)
    }

    /// The process lets the token go and ends.
    fn leave(mut self) {
        self.link.say_farewell();
        self.process.wait(GRACE);
    }
}

impl Partner for Far {
    fn transport(&mut self) -> Result<Vec<u8>, HsmError> {
        self.ask(&Part::Transport)
    }

    fn bear(&mut self, moduli: [&[u8]; 2]) -> Result<[Vec<u8>; 2], HsmError> {
        let [one, other] = moduli.map(Bytes);
        self.ask(&Part::Bear { one, other })
    }

    fn take(&mut self, wrapped: &[u8]) -> Result<(), HsmError> {
        self.ask(&Part::Take { wrapped: Bytes(wrapped) })
    }

    fn forget(&mut self) -> Result<(), HsmError> {
        self.ask(&Part::Forget)
    }

    fn prove(&mut self) -> Result<Proof, HsmError> {
        self.ask(&Part::Prove)
    }

    fn must_open(&mut self, proof: &Proof) -> Result<(), HsmError> {
        self.ask(&Part::MustOpen(proof.into()))
    }
}
